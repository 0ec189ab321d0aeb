"""Motion extraction and condition renders of each coefficient space."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mimaface_cli.engines.diffusion.photo_render import photo_renderer
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.face import alignment, face478, topology
from mimaface_cli.face.extract_face478 import extract_video as extract_face478_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.motion.track import MotionTrack

FrameObserver = Callable[[object, Face | None, bool], None]
"""Called with each frame, its face or None, and whether a new shot begins with the frame."""

CONDITIONS = {"face478": ("textured", "render"), "bfm09": ("render",)}
"""Kinds of condition renders in each space; the first is the default."""


class FootageSpace(Protocol):
    """A coefficient space: motion extraction, the face square, and condition renders."""

    def extract_track(self, path: Path, observe: FrameObserver) -> MotionTrack:
        """Extract the motion of a video, and call `observe` for each frame."""

    def square_matrix(self, points: np.ndarray) -> np.ndarray:
        """Return the (2, 3) transform from pixels of the video to the 512 square around a face.

        Args:
            points: (478, 2) landmarks in pixels of the video.
        """

    def warp_square(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Return the 512 square of a frame, (512, 512, 3) uint8."""

    def describe_photo(self, image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        """Estimate the photo's fields of `TrainingClip` with the released networks.

        Args:
            image: (H, W, 3) uint8, a frame of the video.
            points: (478, 2) landmarks in its pixels.
        """

    def render_conditions(
        self,
        image: np.ndarray,
        points: np.ndarray,
        photo_arrays: Mapping[str, np.ndarray],
        track: MotionTrack,
        photo_frame: int,
        span: range,
    ) -> Iterator[np.ndarray]:
        """Yield the condition renders (512, 512, 3) uint8 of some frames.

        Args:
            image: (H, W, 3) uint8, the source image, a frame of the video.
            points: (478, 2) landmarks in its pixels.
            photo_arrays: The result of `describe_photo`.
            track: Motion of the video.
            photo_frame: Number of the source image's frame.
            span: Frames to render.
        """


class MeshSpace:
    """The face478 space of the mesh engine.

    Args:
        condition: "textured" for the mesh engine's frame, or "render" for the paper's render from coefficients alone.
    """

    def __init__(self, condition: str = "textured") -> None:
        self.model: Face478 = face478.load()
        self.condition = condition

    def extract_track(self, path: Path, observe: FrameObserver) -> MotionTrack:
        """Extract the motion of a video in the face478 space."""
        rate, options = probe(path).frame_rate, ExtractOptions()
        return extract_face478_video(read_frames(path), rate, self.model, options, str(path), observe=observe)

    def square_matrix(self, points: np.ndarray) -> np.ndarray:
        """Return the transform to the square around the landmarks' box."""
        return alignment.box_similarity(alignment.square_box(points))

    def warp_square(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Return the 512 square of a frame, as the mesh engine warps a portrait."""
        return _bare_portrait(image).warped(matrix, SQUARE, SQUARE).image

    def describe_photo(self, image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        """Return no arrays: this space uses no released networks."""
        return {}

    def render_conditions(
        self,
        image: np.ndarray,
        points: np.ndarray,
        photo_arrays: Mapping[str, np.ndarray],
        track: MotionTrack,
        photo_frame: int,
        span: range,
    ) -> Iterator[np.ndarray]:
        """Yield the mesh engine's frames, or plain renders from coefficients."""
        names = "expression", "pose", "gaze"
        photo: dict[str, Any] = {name: _frame_values(track, name, photo_frame) for name in names}
        to_crop, identity = _frame_values(track, "crop", photo_frame), track.identity.astype(np.float64)
        portrait = replace(_bare_portrait(image), points=points, to_crop=to_crop, identity=identity, **photo).square()
        if self.condition == "render":
            render = photo_renderer(portrait, self.model)
            for k in span:
                yield render(_frame_values(track, "expression", k), _frame_values(track, "pose", k))
            return
        source = prepare_photo(portrait, self.model)
        lids = measure_lid_openness(self.model, identity, track.expression[span.start : span.stop].astype(np.float64))
        for k, lid in zip(span, lids, strict=True):
            expression, pose, gaze = (_frame_values(track, name, k) for name in ("expression", "pose", "gaze"))
            yield renderer.render_frame(source, self.model, expression, pose, gaze, lid)[..., :3]


def _frame_values(track: MotionTrack, name: str, frame: int) -> np.ndarray:
    return getattr(track, name)[frame].astype(np.float64)


def _bare_portrait(image: np.ndarray) -> Portrait:
    """Return a portrait without landmarks and coefficients."""
    empty = np.zeros(0)
    return Portrait(image, None, np.zeros((0, 2)), np.eye(2, 3), empty, empty, empty, empty)


class BaselSpace:
    """The bfm09 space of the paper; its condition is the paper's render of the Basel model.

    The identity network is optional, because only the release's condition tokens use it. Modules that import torch are
    imported on first use: the face478 space does not need them.

    Args:
        condition: "render", the only kind.

    Raises:
        WeightsError: The weights are not installed.
    """

    def __init__(self, condition: str = "render") -> None:
        from mimaface_cli.engines.diffusion import checkpoint

        self.net, self.version = checkpoint.load_coefficient_net()
        self.model = checkpoint.load_face_model()
        self.identity = checkpoint.load_identity_net() if checkpoint.has_identity_net() else None

    def extract_track(self, path: Path, observe: FrameObserver) -> MotionTrack:
        """Extract the motion of a video in the bfm09 space."""
        from mimaface_cli.face.extract_bfm09 import extract_video

        rate, options = probe(path).frame_rate, ExtractOptions()
        return extract_video(read_frames(path), rate, self.net, self.version, options, str(path), observe=observe)

    def square_matrix(self, points: np.ndarray) -> np.ndarray:
        """Return the transform to the release's square, from five landmarks."""
        five_points = topology.five_points(points) - 0.5
        square = alignment.face_square(alignment.fit_similarity(five_points))
        return alignment.to_corner_origin(alignment.box_similarity(square))

    def warp_square(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Return the 512 square of a frame, as the release warps it."""
        from mimaface_cli.face.extract_bfm09 import warp_square

        return warp_square(image, alignment.to_center_origin(matrix))

    def describe_photo(self, image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        """Return the photo's coefficients and, with the identity network, its identity features."""
        from mimaface_cli.engines.diffusion.portrait_features import extract_identity
        from mimaface_cli.face.extract_bfm09 import align_face, predict_coefficients

        face = align_face(image, Face(points, np.zeros(52), np.eye(3)))
        arrays = {"photo_coefficients": predict_coefficients(self.net, [face])[0]}
        if self.identity is not None:
            arrays["photo_features"] = extract_identity(self.identity, face)[0].numpy()
        return arrays

    def render_conditions(
        self,
        image: np.ndarray,
        points: np.ndarray,
        photo_arrays: Mapping[str, np.ndarray],
        track: MotionTrack,
        photo_frame: int,
        span: range,
    ) -> Iterator[np.ndarray]:
        """Yield renders of the photo's face with the frames' motion, as in `animate`.

        Identity, texture and illumination are those of the photo.
        """
        from mimaface_cli.engines.diffusion.condition_render import render_condition
        from mimaface_cli.face.d3dfr import pack_coefficients, split_coefficients

        to_square = alignment.to_center_origin(self.square_matrix(points))
        photo = split_coefficients(photo_arrays["photo_coefficients"])
        appearance = {name: photo[name][None] for name in ("identity", "texture", "illumination")}
        for k in span:
            motion = {name: getattr(track, name)[k][None] for name in ("expression", "pose", "gaze")}
            coefficients = pack_coefficients({**appearance, **motion})[0]
            from_crop = alignment.invert(alignment.to_center_origin(track.crop[k]))
            render = render_condition(self.model, coefficients, alignment.compose(to_square, from_crop), SQUARE)
            yield ((render.permute(1, 2, 0) * 0.5 + 0.5) * 255 + 0.5).clamp(0, 255).byte().numpy()


SPACES: dict[str, Callable[[str], FootageSpace]] = {"face478": MeshSpace, "bfm09": BaselSpace}
"""Constructors of the spaces, called with the kind of condition render."""
