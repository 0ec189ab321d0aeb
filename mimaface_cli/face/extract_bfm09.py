"""Motion extraction in the bfm09 space: aligned crops, batches through D3DFR, a motion track."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from mimaface_cli.face import alignment, topology
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT, split_coefficients
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import SQUARE
from mimaface_cli.face.shots import FrameType, track_face
from mimaface_cli.face.warp import images_to_tensor, warp_image, warp_tensor
from mimaface_cli.motion import smoothing
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import TrackMeta
from mimaface_cli.progress import ProgressCallback, ignore_progress

EXTRACTOR = "d3dfr+bfm09"
REVISION = 2  # part of the cache key: increase it when results change, so that older cached tracks are not reused
CROP = 256
BATCH = 16  # crops per batch of the network
MAX_SAMPLING_STEP = 2.0  # input pixels per pixel of the square, above which bilinear sampling would alias


@dataclass(frozen=True)
class AlignedFace:
    """A face in the frames of reference of the released networks. Transforms have pixel centers at integers.

    Attributes:
        square: (512, 512, 3) uint8, the face's box at 80..432, black outside the input.
        to_square: (2, 3) transform of the input to the square.
        to_crop: (2, 3) transform of the square to the 256 crop.
    """

    square: np.ndarray
    to_square: np.ndarray
    to_crop: np.ndarray

    @property
    def input_to_crop(self) -> np.ndarray:
        """(2, 3) transform of the input to the 256 crop, in a track's convention (pixel centers at i + 0.5)."""
        return alignment.to_corner_origin(alignment.compose(self.to_crop, self.to_square))


def align_face(image: np.ndarray, face: Face) -> AlignedFace:
    """Align a face of an image for the released networks.

    Args:
        image: (H, W, 3) uint8.
        face: A face of the image.

    Raises:
        InputError: When the landmarks are not finite or all in one place.
    """
    points = topology.five_points(face.points) - 0.5
    to_square = alignment.box_similarity(alignment.face_square(alignment.fit_similarity(points)))
    to_crop = alignment.fit_similarity(alignment.transform_points(to_square, points))
    return AlignedFace(warp_square(image, to_square), to_square, to_crop)


def warp_square(image: np.ndarray, to_square: np.ndarray) -> np.ndarray:
    """Warp an image to the 512 square.

    Large images are first halved until the bilinear warp does not skip pixels.

    Args:
        image: (H, W, 3) uint8.
        to_square: (2, 3) transform of the image to the square (pixel centers at integers).

    Returns:
        (512, 512, 3) uint8.
    """
    while 1 / np.sqrt(np.abs(np.linalg.det(to_square[:, :2]))) > MAX_SAMPLING_STEP:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        image = cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        to_square = alignment.compose(to_square, np.array([[2.0, 0, 0.5], [0, 2.0, 0.5]]))
    return warp_image(image, to_square, SQUARE)


def predict_coefficients(net: nn.Module, faces: Sequence[AlignedFace]) -> np.ndarray:
    """Predict the coefficients of aligned faces.

    Args:
        net: The network.
        faces: B faces.

    Returns:
        (B, 261) float32 in the order of `d3dfr.COEFFICIENT_WIDTHS`.
    """
    first = next(net.parameters())
    squares = images_to_tensor(np.stack([face.square for face in faces]))
    crops = warp_tensor(squares, np.stack([face.to_crop for face in faces]), CROP)
    with torch.inference_mode():
        return net(crops.to(first.device, first.dtype)).float().cpu().numpy()


def extract_video(
    frames: Iterable[FrameType],
    frame_rate: Fraction,
    net: nn.Module,
    version: str,
    options: ExtractOptions,
    name: str = "video",
    progress: ProgressCallback = ignore_progress,
    observe: Callable[[FrameType, Face | None, bool], None] | None = None,
    **meta: Any,
) -> MotionTrack:
    """Extract the motion of one person from a video in the bfm09 space.

    Each frame is cropped separately by five landmarks, like the training data of the network.

    Args:
        frames: Frames with `image` (H, W, 3) uint8 RGB and `pts` in seconds.
        frame_rate: Nominal frames per second.
        net: The coefficient network.
        version: Version of the network's weights.
        options: Face selector and smoothing; skin tracking is not used.
        name: Name of the input in error messages.
        progress: Called for each frame.
        observe: Called with each frame, the tracked face in it and whether it starts a shot.
        **meta: Further fields of the track's metadata, such as `source_hash`.

    Returns:
        A track. Frames without the face are interpolated and not `valid`.

    Raises:
        InputError: When there are no frames or none shows the face.
    """
    builder = _TrackBuilder(net)
    for count, (frame, face, starts_shot) in enumerate(track_face(frames, options.face, name), 1):
        builder.add(frame.pts, frame.image, face, starts_shot)
        if observe is not None:
            observe(frame, face, starts_shot)
        progress("extracting motion", count, None)
    return builder.finish(version, options, frame_rate, meta)


@dataclass
class _TrackBuilder:
    """Builder of a track: collects frames and predicts their coefficients in batches."""

    net: nn.Module
    size: tuple[int, int] = (0, 0)
    pts: list[float] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)
    coefficients: list[np.ndarray | None] = field(default_factory=list)  # None: not predicted yet, or no face
    batch: list[tuple[int, AlignedFace]] = field(default_factory=list)

    def add(self, pts: float, image: np.ndarray, face: Face | None, starts_shot: bool) -> None:
        """Add the next frame; `face` is None where the person is not visible."""
        index = len(self.pts)
        if starts_shot:
            self.cuts.append(index)
        self.size = image.shape[1], image.shape[0]
        self.pts.append(pts)
        self.coefficients.append(None)
        self.crops.append(np.zeros((2, 3)))
        if face is not None:
            aligned = align_face(image, face)
            self.crops[-1] = aligned.input_to_crop
            self.batch.append((index, aligned))
            if len(self.batch) == BATCH:
                self._predict_batch()

    def _predict_batch(self) -> None:
        if self.batch:
            rows = predict_coefficients(self.net, [face for _, face in self.batch])
            for (index, _), row in zip(self.batch, rows, strict=True):
                self.coefficients[index] = row
            self.batch.clear()

    def finish(self, version: str, options: ExtractOptions, frame_rate: Fraction, meta: dict[str, Any]) -> MotionTrack:
        """Predict the last batch, fill frames without the face, smooth each shot and return the track."""
        self._predict_batch()
        pts, valid = np.array(self.pts), np.array([row is not None for row in self.coefficients])
        no_face = np.zeros(COEFFICIENT_COUNT)
        rows = [no_face if row is None else row.astype(np.float64) for row in self.coefficients]
        groups = split_coefficients(np.stack(rows))
        pose = np.concatenate([groups["angles"], groups["translation"]], 1)
        rate = 1.0 / max(float(np.median(np.diff(pts))), 1e-3) if len(pts) > 1 else float(frame_rate)

        def by_shot(values: np.ndarray, smooth: Callable[[np.ndarray, float, float], np.ndarray]) -> np.ndarray:
            def smooth_shot(shot_values: np.ndarray, _: slice) -> np.ndarray:
                return smooth(shot_values, rate, options.smooth)

            return smoothing.smooth_by_shot(values, valid, pts, self.cuts, smooth_shot)

        return MotionTrack(
            # The median over all frames is robust to a few bad ones.
            identity=np.median(groups["identity"][valid], 0),
            texture=np.median(groups["texture"][valid], 0),
            expression=by_shot(groups["expression"], smoothing.smooth_expression),
            illumination=by_shot(groups["illumination"], smoothing.smooth_illumination),
            pose=by_shot(pose, smoothing.smooth_pose),
            gaze=by_shot(groups["gaze"], smoothing.smooth_gaze),
            # The crop takes a part of the head's motion out of the pose, so both get the same smoothing.
            crop=by_shot(np.stack(self.crops).reshape(-1, 6), smoothing.smooth_crop).reshape(-1, 2, 3),
            pts=pts,
            valid=valid,
            meta=TrackMeta(
                space="bfm09",
                extractor=EXTRACTOR,
                extractor_version=f"{REVISION}+{version}",
                frame_rate=frame_rate,
                width=self.size[0],
                height=self.size[1],
                options={"face": options.face, "smooth": options.smooth},
                cuts=tuple(cut for cut in self.cuts if cut > 0),
                **meta,
            ),
        )
