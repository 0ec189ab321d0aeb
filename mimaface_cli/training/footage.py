"""Footage to training clips: the paper's square around the face, its coefficients, a photo of another moment of the same
shot, and what the engine of that space would draw of it as condition renders. Memory: one clip and the photos.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from mimaface_cli.engines.diffusion.photo_render import render_of
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.prepared_portrait import prepare_portrait
from mimaface_cli.face import alignment as align
from mimaface_cli.face import topology
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.shards import Clip

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
Points = dict[int, np.ndarray]  # of a frame: 478 × 2 float32, pixels of the video


class Space(Protocol):
    """How a coefficient space reads footage and draws conditions."""

    def track(self, path: Path, observe: Callable[[object, Face | None, bool], None]) -> MotionTrack:
        """The coefficients of a video."""

    def matrix(self, points: np.ndarray) -> np.ndarray:
        """(2, 3): pixels of the video to the 512 square around a face, in a track's convention."""

    def square(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """The 512 square of a frame, uint8."""

    def renders(
        self,
        image: np.ndarray,
        points: np.ndarray,
        seen: Mapping[str, np.ndarray],
        track: MotionTrack,
        at: int,
        span: range,
    ) -> Iterator[np.ndarray]:
        """Conditions (512, 512, 3) uint8 for the frames of `span`, of the photo that is frame `at`; seen: as of `seen`."""

    def seen(self, image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        """Fields of `Clip` that tell what the released networks see of the photo, as far as this space has them."""


class MeshSpace:
    """face478; its condition is the mesh engine's textured frame, or the paper's render of coefficients alone, as in
    `mimaface_cli.engines.diffusion.small`.
    """

    def __init__(self, condition: str = "textured") -> None:
        from mimaface_cli.face import face478

        self.model: Face478 = face478.load()
        self.condition = condition

    def track(self, path: Path, observe: Callable) -> MotionTrack:
        rate = probe(path).frame_rate
        return extract_video(read_frames(path), rate, self.model, ExtractOptions(), str(path), observe=observe)

    def matrix(self, points: np.ndarray) -> np.ndarray:
        return align.box_similarity(align.square_box(points))

    def square(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        return self._portrait(image).warped(matrix, SQUARE, SQUARE).image

    def renders(
        self,
        image: np.ndarray,
        points: np.ndarray,
        seen: Mapping[str, np.ndarray],
        track: MotionTrack,
        at: int,
        span: range,
    ) -> Iterator[np.ndarray]:
        own = (getattr(track, name)[at].astype(np.float64) for name in ("crop", "expression", "pose", "gaze"))
        crop, expression, pose, gaze = own
        identity = track.identity.astype(np.float64)
        square = replace(
            self._portrait(image),
            points=points,
            to_crop=crop,
            identity=identity,
            expression=expression,
            pose=pose,
            gaze=gaze,
        ).square()
        if self.condition == "render":
            draw = render_of(square, self.model)
            for k in span:
                yield draw(track.expression[k].astype(np.float64), track.pose[k].astype(np.float64))
            return
        still = prepare_portrait(square, self.model)
        lids = measure_lid_openness(self.model, identity, track.expression[span.start : span.stop].astype(np.float64))
        for k, lid in zip(span, lids):
            values = (getattr(track, name)[k].astype(np.float64) for name in ("expression", "pose", "gaze"))
            yield renderer.render_frame(still, self.model, *values, lid)[..., :3]

    def seen(self, image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        return {}

    def _portrait(self, image: np.ndarray) -> Portrait:
        none = np.zeros(0)
        return Portrait(image, None, np.zeros((0, 2)), np.eye(2, 3), none, none, none, none)


class BaselSpace:
    """bfm09; its condition is the paper's render of the Basel model. Raises WeightsError where its weights are not; the
    identity network, which the release's condition tokens alone want, may be missing.
    """

    def __init__(self, condition: str = "render") -> None:
        from mimaface_cli.engines.diffusion import checkpoint

        self.net, self.version = checkpoint.load_coefficient_net()
        self.model = checkpoint.load_face_model()
        self.identity = checkpoint.load_identity_net() if checkpoint.has_identity_net() else None

    def track(self, path: Path, observe: Callable) -> MotionTrack:
        from mimaface_cli.face.extract_bfm09 import extract_video

        rate = probe(path).frame_rate
        options = ExtractOptions()
        return extract_video(read_frames(path), rate, self.net, self.version, options, str(path), observe=observe)

    def matrix(self, points: np.ndarray) -> np.ndarray:
        five = topology.five_points(points) - 0.5
        return align.to_corner_origin(align.box_similarity(align.face_square(align.fit_similarity(five))))

    def square(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        from mimaface_cli.face.extract_bfm09 import warp_square

        return warp_square(image, align.to_center_origin(matrix))

    def renders(
        self,
        image: np.ndarray,
        points: np.ndarray,
        seen: Mapping[str, np.ndarray],
        track: MotionTrack,
        at: int,
        span: range,
    ) -> Iterator[np.ndarray]:
        from mimaface_cli.engines.diffusion.condition_render import render_condition
        from mimaface_cli.face.d3dfr import pack_coefficients, split_coefficients

        to_square = align.to_center_origin(self.matrix(points))
        of_photo = split_coefficients(
            seen["photo_coefficients"]
        )  # who is shown, and in which light, as `animate` draws it
        still = {name: of_photo[name][None] for name in ("identity", "texture", "illumination")}
        for k in span:
            moved = {name: getattr(track, name)[k][None] for name in ("expression", "pose", "gaze")}
            coefficients = pack_coefficients({**still, **moved})[0]
            place = align.compose(to_square, align.invert(align.to_center_origin(track.crop[k])))
            drawn = render_condition(self.model, coefficients, place, SQUARE)
            yield ((drawn.permute(1, 2, 0) * 0.5 + 0.5) * 255 + 0.5).clamp(0, 255).byte().numpy()

    def seen(self, image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        from mimaface_cli.engines.diffusion.portrait_features import extract_identity
        from mimaface_cli.face.extract_bfm09 import align_face, predict_coefficients

        face = align_face(image, Face(points, np.zeros(52), np.eye(3)))
        found = {"photo_coefficients": predict_coefficients(self.net, [face])[0]}
        if self.identity is not None:
            found["photo_features"] = extract_identity(self.identity, face)[0].numpy()
        return found


SPACES = {"face478": MeshSpace, "bfm09": BaselSpace}
CONDITIONS = {"face478": ("textured", "render"), "bfm09": ("render",)}  # the first is the default


@dataclass(frozen=True)
class Cutting:
    """size: pixels of the crop; frames: of a clip; per_video: clips of a video at most. condition: textured (the
    mesh engine's frame) or render (the paper's, of coefficients alone); empty for the space's own, see CONDITIONS.
    """

    size: int = 512
    frames: int = 24
    per_video: int = 20
    condition: str = ""


def read_clips(path: Path, space: Space, key: str, identity: str, cutting: Cutting) -> Iterator[Clip]:
    """The clips of a video, in order: stretches of one shot that show the face throughout. Raises InputError."""
    points: Points = {}

    def observe(frame: object, face: Face | None, is_cut: bool) -> None:
        nonlocal count
        if face is not None:
            points[count] = face.points.astype(np.float32)
        count += 1

    count = 0
    track = space.track(path, observe)
    shots = shots_of(track)
    starts = starts_of(track, shots, cutting.frames, cutting.per_video)
    rng = np.random.default_rng(len(track))
    sources = [int(rng.choice(others_of(track, shots, start, cutting.frames))) for start in starts]
    photos = {k: frame.image for k, frame in enumerate(read_frames(path)) if k in sources} if starts else {}
    frames = enumerate(read_frames(path))
    for number, (start, at) in enumerate(zip(starts, sources)):
        span = range(start, start + cutting.frames)
        own = points[at].astype(np.float64)
        matrix = space.matrix(own)
        small = lambda image: _small(space.square(image, matrix), cutting.size)  # noqa: E731,B023
        shown = [small(frame.image) for k, frame in _until(frames, span.stop) if k >= start]
        seen = space.seen(photos[at], own)
        drawn = space.renders(photos[at], own, seen, track, at, span)
        scaled = matrix * (cutting.size / SQUARE)
        yield Clip(
            f"{key}-{number:03d}",
            identity,
            path.name,
            np.stack(shown),
            _cut(track, span, scaled, cutting.size),
            np.stack([transform_points(scaled, points[k]) for k in span]).astype(np.float32),
            small(photos[at]),
            np.stack([_small(render, cutting.size) for render in drawn]),
            **seen,
        )


def _until(frames: Iterator, stop: int) -> Iterator:
    """Frames with their numbers up to one, taking none beyond it."""
    for number, frame in frames:
        yield number, frame
        if number + 1 == stop:
            return


def shots_of(track: MotionTrack) -> np.ndarray:
    """The shot of each frame, counted from 0."""
    shots = np.zeros(len(track), int)
    for cut in track.meta.cuts:
        shots[cut:] += 1
    return shots


def starts_of(track: MotionTrack, shots: np.ndarray, frames: int, most: int) -> list[int]:
    """First frames of clips that lie within a shot and show the face throughout, spread over the video."""
    good, start = [], 0
    while start + frames <= len(track):
        if track.valid[start : start + frames].all() and shots[start] == shots[start + frames - 1]:
            good.append(start)
            start += frames
        else:
            start += 1
    keep = np.linspace(0, len(good) - 1, min(most, len(good))).round().astype(int)
    return [good[k] for k in keep]


def others_of(track: MotionTrack, shots: np.ndarray, start: int, frames: int) -> np.ndarray:
    """Frames of the same shot that may serve as the photo: outside the clip where the shot is long enough."""
    same = np.flatnonzero(track.valid & (shots == shots[start]))
    outside = same[(same < start) | (same >= start + frames)]
    return outside if len(outside) else same


def _cut(track: MotionTrack, span: range, matrix: np.ndarray, size: int) -> MotionTrack:
    """A stretch of a track, its crops taken from pixels of the clip's pictures. matrix: the video's pixels to those."""
    part = slice(span.start, span.stop)
    per_frame = {
        name: getattr(track, name)[part] for name in ("expression", "illumination", "pose", "gaze", "pts", "valid")
    }
    back = align.invert(matrix)
    crops = np.stack([align.compose(crop.astype(np.float64), back) for crop in track.crop[part]])
    return replace(track, **per_frame, crop=crops, meta=replace(track.meta, width=size, height=size, cuts=()))


def _small(picture: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(picture), (size, size), interpolation=cv2.INTER_AREA)
