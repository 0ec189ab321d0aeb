"""Motion planning for the diffusion engine: the portrait's and the driver's coefficients mixed, frame by frame."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mimaface_cli.engines.diffusion.condition_render import render_condition
from mimaface_cli.engines.diffusion.face_placement import place_faces
from mimaface_cli.engines.diffusion.portrait_features import PortraitFeatures
from mimaface_cli.face.bfm import Bfm09
from mimaface_cli.face.bfm_regions import expression_parts
from mimaface_cli.face.d3dfr import pack_coefficients, split_coefficients
from mimaface_cli.face.portrait import SQUARE
from mimaface_cli.motion.retarget import reference_coefficients, retarget_bfm09
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack


@dataclass(frozen=True)
class DiffusionMotion:
    """The motion of N frames for the diffusion engine.

    Attributes:
        coefficients: (N, 261) float32 mixed coefficients.
        places: (N, 2, 3) transform of each frame's 256 crop to the 512 square.
    """

    coefficients: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.coefficients)


def plan_diffusion_motion(
    model: Bfm09, portrait: PortraitFeatures, track: MotionTrack, options: RetargetOptions
) -> DiffusionMotion:
    """Mix portrait and driver: identity, texture and light of the portrait, motion according to the options.

    Absolute motion is mixed as in the release.

    Args:
        model: The face model.
        portrait: Features of the portrait.
        track: Motion of the driver in the bfm09 space.
        options: Mode, region and strength.
    """
    reference = reference_coefficients(track, options, portrait.motion)
    moved = retarget_bfm09(portrait.motion, track, options, reference, expression_parts(model))
    portrait_groups = split_coefficients(portrait.coefficients)
    still = {name: portrait_groups[name] for name in ("identity", "texture", "illumination")}
    mixed = pack_coefficients({**still, "expression": moved.expression, "pose": moved.pose, "gaze": moved.gaze})
    return DiffusionMotion(mixed, place_faces(track, portrait.place, options, portrait.motion))


def stream_condition_renders(model: Bfm09, motion: DiffusionMotion) -> Callable[[int], Generator[Tensor, None, None]]:
    """Return a function that renders the conditions (3, 512, 512) of a motion from a given frame on."""

    def render_from(first: int) -> Generator[Tensor, None, None]:
        for coefficients, place in zip(motion.coefficients[first:], motion.places[first:], strict=True):
            yield render_condition(model, coefficients, place, SQUARE)

    return render_from
