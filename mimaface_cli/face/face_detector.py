"""Face detection alone, with scores: the first network of MediaPipe's FaceLandmarker."""

import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.face.landmarks import load_mediapipe, locate_landmark_model, native_silence, silence_first_call

MIN_FACE = 40  # pixels: height of the smallest face that is detected
MIN_SCORE = 0.5  # of a detection
CLOSE_SCORE = 0.75  # of a small face in a view around it; patterns that resemble faces score less there
_MODEL = "face_detector.tflite"
_INPUT_SIDE = 128  # of the network
# Score from which a face counts as upright without a comparison: most upright faces reach it, other faces do not.
CLEAR_SCORE = 0.86
_TURNED_SCORE, _TURN_MARGIN = 0.75, 0.05  # lowest score of a turned face, and of its lead over the image as it is
_TILE_FACE = 0.17  # height of a face that is reliably detected, relative to the side of its tile
_TILE_STEP, _LEVEL_STEP = 0.7, 0.55  # distance of tiles relative to their side; ratio of the sides of two levels
_OVERLAP = 0.3  # overlap (intersection over union) from which two detections are the same face


@dataclass(frozen=True)
class Detection:
    """A detected face.

    Attributes:
        box: (4,) left, top, right and bottom in pixels, from the brows to the chin.
        score: Confidence in 0..1.
    """

    box: np.ndarray
    score: float


class FaceDetector:
    """BlazeFace for short distances.

    Args:
        asset: The landmark model (.task), which contains it; by default the installed one.
    """

    def __init__(self, asset: Path | None = None) -> None:
        with zipfile.ZipFile(asset or locate_landmark_model()) as bundle:
            model = bundle.read(_MODEL)
        with native_silence():
            self._mediapipe, base_options, vision = load_mediapipe()
            options = vision.FaceDetectorOptions(
                base_options=base_options(model_asset_buffer=model), min_detection_confidence=MIN_SCORE
            )
            self._detector = vision.FaceDetector.create_from_options(options)
        self._detect = silence_first_call(self._detector.detect)

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Detect the faces of an image (H, W, 3) uint8 RGB that take at least a tenth of its longer side."""
        height, width = image.shape[:2]
        scale = 2 * _INPUT_SIDE / max(height, width)
        if scale < 0.5:  # the network would skip pixels
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        network_image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, np.ascontiguousarray(image))
        result = self._detect(network_image)
        scale = width / image.shape[1]
        detections = []
        for detection in result.detections:
            box = detection.bounding_box
            corners = np.array([box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height])
            detections.append(Detection(corners * scale, float(detection.categories[0].score)))
        return detections

    def close(self) -> None:
        """Release the native detector."""
        with native_silence():
            self._detector.close()


def best_score(detections: list[Detection]) -> float:
    """Return the score of the clearest detection; 0 if there is none."""
    return max((detection.score for detection in detections), default=0.0)


def find_turns(image: np.ndarray, detector: FaceDetector, clear_score: float = CLEAR_SCORE) -> int:
    """Return the quarter turns counterclockwise that make the clearest face of an image upright.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: The detector.
        clear_score: Score from which a face counts as upright without a comparison.

    Returns:
        0 to 3; 0 where no turned face is clearer than the image as it is.
    """
    scores = [best_score(detector(image))]
    if scores[0] >= clear_score:
        return 0
    scores += [best_score(detector(np.rot90(image, turns))) for turns in (1, 2, 3)]
    best = int(np.argmax(scores))
    is_turned = scores[best] >= max(_TURNED_SCORE, scores[0] + _TURN_MARGIN)
    return best if is_turned else 0


def find_small_faces(image: np.ndarray, detector: FaceDetector) -> Generator[list[Detection], None, None]:
    """Detect faces that are too small for the whole image, on overlapping tiles.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: The detector.

    Yields:
        The detections for each size of tiles, from the largest on, the clearest detection first.
    """
    smallest, side = MIN_FACE / _TILE_FACE, float(max(image.shape[:2]))
    while side > smallest:
        side = max(_LEVEL_STEP * side, smallest)
        yield _merge(list(_detect_on_tiles(image, side, detector)))


def _detect_on_tiles(image: np.ndarray, side: float, detector: FaceDetector) -> Generator[Detection, None, None]:
    """Yield the detections on square tiles with a side in pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, _INPUT_SIDE / side)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    reduced = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    tile = min(round(side * scale), max(size))
    offset_scale = np.array([width / size[0], height / size[1]] * 2)
    for top in _tile_starts(size[1], tile):
        for left in _tile_starts(size[0], tile):
            for detection in detector(reduced[top : top + tile, left : left + tile]):
                yield Detection((detection.box + np.array([left, top, left, top])) * offset_scale, detection.score)


def _tile_starts(length: int, tile: int) -> list[int]:
    """Return the starts of tiles that cover a length with overlap."""
    last = max(length - tile, 0)
    count = 1 + int(np.ceil(last / (_TILE_STEP * tile)))
    return [round(start) for start in np.linspace(0, last, count)]


def _merge(detections: list[Detection]) -> list[Detection]:
    """Return one detection for each face, the clearest first."""
    merged: list[Detection] = []
    for detection in sorted(detections, key=lambda item: -item.score):
        if all(_overlap(detection.box, other.box) < _OVERLAP for other in merged):
            merged.append(detection)
    return merged


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (first, second)]
    return common / max(sum(areas) - common, 1e-6)
