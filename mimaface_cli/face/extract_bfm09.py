"""Pixels to coefficients of the released models: the aligned crops, the network's batches, a MotionTrack in bfm09."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import torch

from mimaface_cli.face import alignment as align
from mimaface_cli.face import topology
from mimaface_cli.face.d3dfr import SIZE, CoefficientNet, split
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import SQUARE
from mimaface_cli.face.shots import follow
from mimaface_cli.face.warp import image_tensor, warp, warp_tensor
from mimaface_cli.motion import smoothing
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import TrackMeta

EXTRACTOR = "d3dfr+bfm09"
REVISION = 1  # raise it when the numbers change: cached tracks are then made anew
CROP = 256
BATCH = 16  # crops that the network takes at once
WIDEST_STEP = 2.0  # input pixels per pixel of the square beyond which bilinear sampling alone would alias


@dataclass(frozen=True)
class Aligned:
    """A face as the released networks see it. square: 512×512×3 uint8, the face's box at 80..432, black outside the
    input. to_square: (2, 3) input to square; to_crop: (2, 3) square to 256 crop; both from pixel centers at
    integers.
    """

    square: np.ndarray
    to_square: np.ndarray
    to_crop: np.ndarray

    @property
    def input_to_crop(self) -> np.ndarray:
        """(2, 3) input pixels to the 256 crop, in a track's convention."""
        return align.to_corner_origin(align.compose(self.to_crop, self.to_square))


def align_face(image: np.ndarray, face: Face) -> Aligned:
    """Cut the square and find the crop of a face in a picture H×W×3 uint8. Raises InputError for senseless points."""
    points = topology.five_points(face.points) - 0.5
    to_square = align.box_similarity(align.face_square(align.fit_similarity(points)))
    square = square_picture(image, to_square)
    return Aligned(square, to_square, align.fit_similarity(align.transform_points(to_square, points)))


def square_picture(image: np.ndarray, to_square: np.ndarray) -> np.ndarray:
    """The 512 square of a picture. Large pictures are halved first as often as the bilinear warp would skip pixels."""
    while 1 / np.sqrt(np.abs(np.linalg.det(to_square[:, :2]))) > WIDEST_STEP:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        image = cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        to_square = align.compose(to_square, np.array([[2.0, 0, 0.5], [0, 2.0, 0.5]]))
    return warp(image, to_square, SQUARE)


def read_coefficients(net: CoefficientNet, faces: Sequence[Aligned]) -> np.ndarray:
    """What D3DFR sees in each face, (B, 261) float32 in the order of `d3dfr.FIELDS`."""
    first = next(net.parameters())
    crops = warp_tensor(image_tensor(np.stack([f.square for f in faces])), np.stack([f.to_crop for f in faces]), CROP)
    with torch.inference_mode():
        return net(crops.to(first.device, first.dtype)).float().cpu().numpy()


def extract_video(
    frames: Iterable,
    frame_rate: Fraction,
    net: CoefficientNet,
    version: str,
    options: ExtractOptions,
    name: str = "video",
    progress: Callable[[int], None] | None = None,
    observe: Callable[[Any, Face | None, bool], None] | None = None,
    **meta,
) -> MotionTrack:
    """A track in the bfm09 space from frames with `image` (H×W×3 uint8 RGB) and `pts` (s). version: of the network's
    weights; observe: as in `face.extract.extract_video`; meta: further TrackMeta fields. Each frame has its own crop,
    found from five landmarks as the network was trained. Frames without the face are interpolated. Raises InputError
    when no frame shows it.
    """
    pts, cuts, rows, crops = [], [], [], []
    waiting: list[tuple[int, Aligned]] = []
    size = (0, 0)

    def read() -> None:
        if waiting:
            for (index, _), row in zip(waiting, read_coefficients(net, [face for _, face in waiting])):
                rows[index] = row
            waiting.clear()

    for frame, face, is_cut in follow(frames, options.face, name):
        if is_cut:
            cuts.append(len(pts))
        size = frame.image.shape[1], frame.image.shape[0]
        pts.append(frame.pts)
        rows.append(None)
        crops.append(np.zeros((2, 3)))
        if face is not None:
            aligned = align_face(frame.image, face)
            crops[-1] = aligned.input_to_crop
            waiting.append((len(pts) - 1, aligned))
            if len(waiting) == BATCH:
                read()
        if observe is not None:
            observe(frame, face, is_cut)
        if progress is not None:
            progress(len(pts))
    read()
    return _track(np.array(pts), cuts, rows, np.stack(crops), frame_rate, version, options, size, meta)


def _track(
    pts: np.ndarray,
    cuts: list[int],
    rows: list[np.ndarray | None],
    crops: np.ndarray,
    rate: Fraction,
    version: str,
    options: ExtractOptions,
    size: tuple[int, int],
    meta: dict,
) -> MotionTrack:
    valid = np.array([row is not None for row in rows])
    groups = split(np.stack([np.zeros(SIZE) if row is None else row.astype(np.float64) for row in rows]))
    pose = np.concatenate([groups["angles"], groups["translation"]], 1)
    per_second = 1.0 / max(float(np.median(np.diff(pts))), 1e-3) if len(pts) > 1 else float(rate)
    by_shot = lambda values, smooth: smoothing.smooth_by_shot(  # noqa: E731
        values, valid, pts, cuts, lambda v, _: smooth(v, per_second, options.smooth)
    )
    return MotionTrack(
        # Who somebody is does not change: the middle over the frames is not moved by a few bad ones.
        identity=np.median(groups["identity"][valid], 0),
        texture=np.median(groups["texture"][valid], 0),
        expression=by_shot(groups["expression"], smoothing.smooth_expression),
        illumination=by_shot(groups["illumination"], smoothing.smooth_illumination),
        pose=by_shot(pose, smoothing.smooth_pose),
        gaze=by_shot(groups["gaze"], smoothing.smooth_gaze),
        # The crop takes part of the head's motion out of the pose: both are smoothed alike.
        crop=by_shot(crops.reshape(-1, 6), smoothing.smooth_crop).reshape(-1, 2, 3),
        pts=pts,
        valid=valid,
        meta=TrackMeta(
            space="bfm09",
            extractor=EXTRACTOR,
            extractor_version=f"{REVISION}+{version}",
            frame_rate=rate,
            width=size[0],
            height=size[1],
            options={"face": options.face, "smooth": options.smooth},
            cuts=tuple(cut for cut in cuts if cut > 0),
            **meta,
        ),
    )
