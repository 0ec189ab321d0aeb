"""Landmarks of faces with MediaPipe's FaceLandmarker."""

import importlib
import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mimaface_cli.motion.rotation import rotation_matrix

# The landmarker assumes a camera with this vertical field of view. A face that is moved to the side or up in the image
# is measured as turned by these shares of the angle (seven portraits, each at seven places).
_FIELD_OF_VIEW = np.radians(63.0)
_PITCH_SHARE, _YAW_SHARE = 0.3, 0.24
MAX_SIDE = 1280  # pixels; the network works at 256, larger frames only cost time


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face.

    Attributes:
        points: (478, 2) landmarks in pixels (pixel centers at i + 0.5).
        scores: (52,) blendshape scores in 0..1.
        rotation: (3, 3) canonical face to camera axes (x right, y up, z to the camera).
        depth: (478,) landmark depths that the landmarker estimates, in pixels toward the camera from the middle of the
            head, or None.
        apparent_turn: Turn about the camera's x and y axes, in radians, by which the face's place in the image changes
            its rotation.
    """

    points: np.ndarray
    scores: np.ndarray
    rotation: np.ndarray
    depth: np.ndarray | None = None
    apparent_turn: tuple[float, float] = (0.0, 0.0)

    @property
    def head(self) -> np.ndarray:
        """Rotation (3, 3) without the share that depends on the place of the face in the image."""
        return rotation_matrix([*self.apparent_turn, 0.0]) @ self.rotation

    @property
    def box(self) -> np.ndarray:
        """Bounding box (4,): left, top, right, bottom in pixels."""
        return np.concatenate([self.points.min(0), self.points.max(0)])

    @property
    def size(self) -> float:
        """Diagonal of the bounding box in pixels."""
        return float(np.linalg.norm(self.box[2:] - self.box[:2]))


def select_face(faces: list[Face], selector: str) -> Face | None:
    """Return the face that a selector means, or None if there are too few faces.

    Args:
        faces: All faces of an image.
        selector: Face selector, see `extract_options.check_face_selector`.
    """
    if not faces:
        return None
    if selector == "largest":
        return max(faces, key=lambda face: face.size)
    left_to_right = sorted(faces, key=lambda face: face.box[0] + face.box[2])
    position = {"left": 0, "right": len(left_to_right) - 1}.get(selector)
    if position is None:
        position = int(selector) - 1
    return left_to_right[position] if position < len(left_to_right) else None


class _ErrorStream:
    """The standard error stream of native libraries, which several threads may silence at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._silencers = 0
        self._saved = -1

    def silence(self) -> None:
        """Hide what is written, until each silencer has called `restore`. Raises OSError without a real stream."""
        with self._lock:
            if not self._silencers:
                sys.stderr.flush()
                self._saved = os.dup(2)
                null_device = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null_device, 2)
                os.close(null_device)
            self._silencers += 1

    def restore(self) -> None:
        """End the silence of one silencer."""
        with self._lock:
            self._silencers -= 1
            if not self._silencers:
                os.dup2(self._saved, 2)
                os.close(self._saved)


_ERROR_STREAM = _ErrorStream()
_IMPORT_LOCK = threading.Lock()


@contextmanager
def native_silence() -> Generator[None, None, None]:
    """Hide what native libraries write to the standard error stream while the block runs."""
    try:
        _ERROR_STREAM.silence()
    except (OSError, ValueError, AttributeError):  # without a real stream there is nothing to silence
        yield
        return
    try:
        yield
    finally:
        _ERROR_STREAM.restore()


def silence_first_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a native function with its first call silenced: the first inference logs to the error stream."""
    is_warm = False

    def call(*arguments: Any) -> Any:
        nonlocal is_warm
        if is_warm:
            return function(*arguments)
        with native_silence():
            result = function(*arguments)
        is_warm = True
        return result

    return call


def load_mediapipe() -> tuple[ModuleType, type, ModuleType]:
    """Import MediaPipe; takes half a second the first time. Several threads may call it.

    Returns:
        The package, its BaseOptions class and its vision tasks module.
    """
    with _IMPORT_LOCK:
        return _import_mediapipe()


@cache
def _import_mediapipe() -> tuple[ModuleType, type, ModuleType]:
    """Import MediaPipe without matplotlib and sounddevice.

    MediaPipe imports matplotlib for its drawing functions, which would take another half second. A placeholder module
    replaces matplotlib during the import and loads the real one on first use. It imports sounddevice for microphones,
    which starts a dozen processes to search for a library. Without sounddevice, MediaPipe has no microphone input.
    """
    matplotlib, pyplot = ModuleType("matplotlib"), ModuleType("matplotlib.pyplot")
    matplotlib.__dict__["pyplot"] = pyplot
    # Another thread may look for matplotlib meanwhile.
    for module in (matplotlib, pyplot):
        module.__spec__ = ModuleSpec(module.__name__, None)
    pyplot.__dict__["__getattr__"] = lambda name: getattr(importlib.import_module("matplotlib.pyplot"), name)
    placeholders: dict[str, Any] = {}
    if "matplotlib" not in sys.modules:
        placeholders |= {"matplotlib": matplotlib, "matplotlib.pyplot": pyplot}
    if "sounddevice" not in sys.modules:
        placeholders["sounddevice"] = None  # an import of it raises ModuleNotFoundError
    sys.modules.update(placeholders)
    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    finally:
        for name in placeholders:
            sys.modules.pop(name, None)
    return mediapipe, BaseOptions, vision


class FaceLandmarker:
    """MediaPipe's FaceLandmarker for single images or for a video.

    Args:
        asset: The model file (.task).
        is_video: Whether to track faces from call to call; needs increasing times.
        max_faces: Largest number of faces to detect.
    """

    def __init__(self, asset: Path, *, is_video: bool, max_faces: int) -> None:
        with native_silence():
            self._mediapipe, base_options, vision = load_mediapipe()
            mode = vision.RunningMode.VIDEO if is_video else vision.RunningMode.IMAGE
            self._landmarker = vision.FaceLandmarker.create_from_options(
                vision.FaceLandmarkerOptions(
                    # A buffer, because the native code cannot open every path that Python can.
                    base_options=base_options(model_asset_buffer=asset.read_bytes()),
                    running_mode=mode,
                    num_faces=max_faces,
                    output_face_blendshapes=True,
                    output_facial_transformation_matrixes=True,
                )
            )
        self._is_video = is_video
        self._detect = silence_first_call(self._landmarker.detect_for_video if is_video else self._landmarker.detect)

    def __call__(self, image: np.ndarray, milliseconds: int = 0) -> list[Face]:
        """Detect the faces of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            milliseconds: Time of the frame, used in video mode only.

        Returns:
            The faces, with landmarks in pixels of the image.
        """
        height, width = image.shape[:2]
        array = resize_for_network(image)
        network_image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, array)
        result = self._detect(network_image, milliseconds) if self._is_video else self._detect(network_image)
        # Not strict: a face without scores or matrix is dropped.
        detections = zip(
            result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes, strict=False
        )
        return [_to_face(landmarks, scores, matrix, width, height) for landmarks, scores, matrix in detections]

    def close(self) -> None:
        """Release the native landmarker."""
        with native_silence():
            self._landmarker.close()


def _to_face(landmarks: Any, scores: Any, matrix: Any, width: int, height: int) -> Face:
    """Convert the landmarker's result for one face to pixels of an image of that size."""
    positions = np.array([(point.x, point.y, point.z) for point in landmarks]) * [width, height, -width]
    middle = positions[:, :2].mean(0) - [width / 2, height / 2]
    right, down = np.arctan(middle * (2 * np.tan(_FIELD_OF_VIEW / 2) / height))
    return Face(
        np.ascontiguousarray(positions[:, :2]),
        np.array([category.score for category in scores]),
        np.asarray(matrix, np.float64)[:3, :3],
        positions[:, 2].copy(),
        (_PITCH_SHARE * float(down), _YAW_SHARE * float(right)),
    )


def resize_for_network(image: np.ndarray) -> np.ndarray:
    """Return a contiguous image with no side above MAX_SIDE.

    In arrays with gaps between rows, the landmarker detects no face and raises no error.

    Args:
        image: (H, W, 3) uint8.
    """
    import cv2

    longest = max(image.shape[:2])
    if longest > MAX_SIDE:
        scale = MAX_SIDE / longest
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)


def locate_landmark_model() -> Path:
    """Return the path of the installed landmark model.

    Raises:
        WeightsError: When the landmark model is not installed.
    """
    from mimaface_cli.weights.locate import locate

    return locate("face_landmarker")
