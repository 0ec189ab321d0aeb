"""The embedded renderer: a photo on its fitted head, posed by a track, in front of its background.

It needs no weights but face478 and runs on a CPU. It never sees the driver's pixels, only its track.
"""

import os
from collections.abc import Generator, Iterable
from functools import partial

import numpy as np

from mimaface_cli.concurrency import ordered_map
from mimaface_cli.engines.mesh.blend_kernels import compose_opaque
from mimaface_cli.engines.mesh.contact import match_lids, separate_lips
from mimaface_cli.engines.mesh.face_presence import blend_frame
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.occluder_layer import COVERED_MOUTH_SHARES
from mimaface_cli.engines.mesh.person_render import PersonLayer, render_person
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait
from mimaface_cli.engines.mesh.rest_correction import RestCorrection
from mimaface_cli.engines.mesh.video_layers import SourceFrame
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import Coefficients

NAME = "mesh"
_MAX_THREADS = 8


def render_photo(
    prepared: PreparedPortrait, model: Face478, motion: MeshMotion, cutout: bool = False
) -> Generator[np.ndarray, None, None]:
    """Render a photo under a planned motion.

    Args:
        prepared: The photo.
        model: The face model.
        motion: The motion, N frames.
        cutout: Whether to render the person alone.

    Yields:
        N frames (H, W, 3) uint8; (H, W, 4) for a photo with alpha and for a cutout.
    """
    if cutout:
        render = partial(_cut_out_frame, prepared, model, motion)
    else:
        render = partial(_correct_frame, prepared, model, motion, _rest_correction(prepared, model, motion))
    yield from ordered_map(render, range(len(motion)), _count_workers())


def render_photo_with_alpha(
    prepared: PreparedPortrait, model: Face478, motion: MeshMotion
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Render a photo as `render_photo` does, and the alpha of the person.

    Yields:
        N pairs of a frame (H, W, 3) or (H, W, 4) uint8 and the person's alpha (H, W) uint8.
    """
    correct = _rest_correction(prepared, model, motion)

    def render(k: int) -> tuple[np.ndarray, np.ndarray]:
        person = _render_person(model, prepared, motion, k)
        return correct(compose_frame(prepared, person), k), cut_out_person(prepared, person)[..., 3].copy()

    yield from ordered_map(render, range(len(motion)), _count_workers())


def _cut_out_frame(prepared: PreparedPortrait, model: Face478, motion: MeshMotion, k: int) -> np.ndarray:
    return cut_out_person(prepared, _render_person(model, prepared, motion, k))


def _render_frame(prepared: PreparedPortrait, model: Face478, motion: MeshMotion, k: int = 0) -> np.ndarray:
    return compose_frame(prepared, _render_person(model, prepared, motion, k))


def _correct_frame(
    prepared: PreparedPortrait, model: Face478, motion: MeshMotion, correct: RestCorrection, k: int
) -> np.ndarray:
    return correct(_render_frame(prepared, model, motion, k), k)


def _rest_correction(prepared: PreparedPortrait, model: Face478, motion: MeshMotion) -> RestCorrection:
    return RestCorrection(prepared, model, motion, partial(_render_frame, prepared, model))


def render_video(
    source_frames: Iterable[SourceFrame], model: Face478, motion: MeshMotion, weights: np.ndarray
) -> Generator[np.ndarray, None, None]:
    """Render a source that changes from frame to frame.

    Args:
        source_frames: The frames of the source, at least as many as the motion has. They are taken one by one, and
            prepared on several threads.
        model: The face model.
        motion: The motion, N frames.
        weights: (N,) share of the motion in each frame, see `face_presence`.

    Yields:
        N frames (H, W, 3) uint8; (H, W, 4) with alpha.
    """

    def render(job: tuple[int, SourceFrame]) -> np.ndarray:
        k, frame = job
        if frame.prepare is None:
            return frame.image
        prepared = frame.prepare()
        rendered = compose_frame(prepared, _render_person(model, prepared, motion, k))
        return blend_frame(rendered, frame.image, float(weights[k]))

    # Not strict: the source may be longer. Never more than a few frames ahead of the consumer.
    yield from ordered_map(render, zip(range(len(motion)), source_frames, strict=False), _count_workers())


def render_frame(
    prepared: PreparedPortrait,
    model: Face478,
    expression: np.ndarray,
    pose: np.ndarray,
    gaze: np.ndarray,
    lids: np.ndarray,
) -> np.ndarray:
    """Render one frame.

    Args:
        prepared: The prepared portrait.
        model: The face model.
        expression: (64,) expression coefficients.
        pose: (6,) rotation (radians) and translation (model units).
        gaze: (4,) yaw and pitch of the left and right eye, radians.
        lids: (2,) openness of the left and right eye: 0 closed, 1 open.

    Returns:
        (H, W, 3) uint8, (H, W, 4) with alpha.
    """
    coefficients = Coefficients(expression[None], pose[None], gaze[None])
    return compose_frame(prepared, _render_person(model, prepared, MeshMotion(coefficients, lids[None]), 0))


def _count_workers() -> int:
    return min(_MAX_THREADS, os.cpu_count() or 1)


def _render_person(model: Face478, prepared: PreparedPortrait, motion: MeshMotion, k: int) -> PersonLayer | None:
    """Render the moving person of frame k."""
    frames = motion.coefficients
    change = frames.expression[k] - prepared.portrait.expression
    if prepared.is_mouth_covered:
        change = change * COVERED_MOUTH_SHARES
    head = match_lids(prepared.head + model.expression_basis @ change, model, prepared.lid_heights(motion.lids[k]))
    if not prepared.is_mouth_covered:
        head = separate_lips(head)
    return render_person(prepared, head, frames.pose[k], frames.gaze[k], frames.expression[k])


def compose_frame(prepared: PreparedPortrait, person: PersonLayer | None) -> np.ndarray:
    """Lay the moving person over the background.

    Args:
        prepared: The prepared portrait.
        person: The person, or None where the frame does not show it.

    Returns:
        (H, W, 3) uint8, (H, W, 4) for a photo with alpha.
    """
    layers = prepared.layers
    frame = _compose(layers.background, layers.background_alpha, person, prepared.rim)
    if prepared.front is not None:
        prepared.front.overlay(frame)
    return frame


def cut_out_person(prepared: PreparedPortrait, person: PersonLayer | None) -> np.ndarray:
    """Return the person alone, (H, W, 4) uint8, colors not multiplied by alpha; arguments as in `compose_frame`."""
    frame = _compose(prepared.still, prepared.layers.still_alpha, person, None)
    if prepared.front is not None:
        prepared.front.overlay(frame)
    return frame


def _compose(
    base: np.ndarray, base_alpha: np.ndarray | None, person: PersonLayer | None, rim: np.ndarray | None
) -> np.ndarray:
    """Lay a person over a base.

    Args:
        base: (H, W, 3) uint8.
        base_alpha: (H, W) uint8, or None for an opaque base.
        person: The person, or None for the base alone.
        rim: (H, W, 3) int16, what to add to the composition as long as the head does not move, or None.

    Returns:
        (H, W, 3) uint8, (H, W, 4) for a base with alpha.
    """
    frame = base.copy() if base_alpha is None else np.dstack([base, base_alpha])
    if person is None:
        return frame
    left, top, right, bottom = person.box
    box = np.s_[top:bottom, left:right]
    region = frame[box]
    if base_alpha is None:
        rest_share = 0.0 if rim is None else person.rest_share
        rest = np.zeros((1, 1, 3), np.int16) if rim is None else rim[box]
        compose_opaque(region, person.colors, person.alpha[..., 0], rest, rest_share)
        return frame
    under = region[..., :3].astype(np.float32)
    under_alpha = region[..., 3:].astype(np.float32) / 255
    alpha = person.alpha + (1 - person.alpha) * under_alpha
    colors = under + person.alpha / np.maximum(alpha, 1e-6) * (person.colors - under)
    region[..., 3:] = np.clip(alpha * 255 + 0.5, 0, 255)
    if rim is not None and person.rest_share > 0:
        colors += person.rest_share * rim[box]
    region[..., :3] = np.clip(colors + 0.5, 0, 255)
    return frame
