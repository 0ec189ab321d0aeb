"""A small convolutional network that segments the occluders of a face.

It sees an upright crop around the face and the landmarks' regions, and returns for each pixel the logit that it belongs
to an occluder. `mimaface_cli.builders.occlusion` trains it.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.face import topology
from mimaface_cli.face.face_outline import face_axes
from mimaface_cli.weights.model_file import read_model_file

SIDE = 64  # pixels of the crop
INPUTS = 6  # red, green, blue, face, lips, eyes
FACE_PLANE, LIPS_PLANE, EYES_PLANE = 3, 4, 5
SCALE = 1.6  # side of the crop, in heights of the face
# Layers as (name, inputs, outputs, size of the kernel): three stages down, three up with a link to the stage down.
LAYERS = (
    ("down0", INPUTS, 16, 3),
    ("down1a", 16, 24, 3),
    ("down1b", 24, 24, 3),
    ("down2a", 24, 32, 3),
    ("down2b", 32, 32, 3),
    ("bottom_a", 32, 64, 3),
    ("bottom_b", 64, 64, 3),
    ("up2", 96, 32, 3),
    ("up1", 56, 24, 3),
    ("up0", 40, 12, 3),
    ("head", 12, 1, 1),
)
_SHIFT = 4  # fractional bits of polygon coordinates


@dataclass(frozen=True)
class OcclusionNetwork:
    """The network.

    Attributes:
        weights: Kernels (outputs, inputs, size, size) float32 by layer.
        biases: (outputs,) float32 by layer.
        version: Version of the build, derived from its content.
    """

    weights: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]
    version: str

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            planes: (6, 64, 64) float32, see `crop_face`.

        Returns:
            (64, 64) float32 logits.
        """
        first = self._convolve("down0", planes)
        second = self._convolve("down1b", self._convolve("down1a", _halve(first)))
        third = self._convolve("down2b", self._convolve("down2a", _halve(second)))
        values = self._convolve("bottom_b", self._convolve("bottom_a", _halve(third)))
        for name, link in (("up2", third), ("up1", second), ("up0", first)):
            values = self._convolve(name, np.concatenate([_double(values), link]))
        return self._convolve("head", values, is_last=True)[0]

    def _convolve(self, name: str, values: np.ndarray, *, is_last: bool = False) -> np.ndarray:
        """Convolve (C, H, W) values with zeros around them, and clip at zero except in the last layer."""
        kernel, bias = self.weights[name], self.biases[name]
        count, height, width = values.shape
        size = kernel.shape[-1]
        if size == 1:
            columns = values.reshape(count, -1)
        else:
            padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
            windows = [padded[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
            columns = np.stack(windows, 1).reshape(count * size * size, -1)
        result = kernel.reshape(len(kernel), -1) @ columns + bias[:, None]
        result = result.reshape(-1, height, width)
        return result if is_last else np.maximum(result, 0)


def _halve(values: np.ndarray) -> np.ndarray:
    """Return the largest of each 2×2 pixels."""
    count, height, width = values.shape
    return values.reshape(count, height // 2, 2, width // 2, 2).max((2, 4))


def _double(values: np.ndarray) -> np.ndarray:
    """Repeat each pixel twice in both directions."""
    return values.repeat(2, 1).repeat(2, 2)


def crop_matrix(points: np.ndarray) -> np.ndarray:
    """Return the (2, 3) similarity from image pixels (centers at i + 0.5) to the upright crop around a face.

    Args:
        points: (478, 2) landmarks in pixels.
    """
    center, up, height = face_axes(points)
    scale = SIDE / (SCALE * height)
    rotation = scale * np.array([[-up[1], up[0]], [-up[0], -up[1]]])
    return np.concatenate([rotation, (SIDE / 2 - rotation @ center)[:, None]], 1)


def crop_face(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crop a face for the network.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks in pixels.

    Returns:
        (6, 64, 64) float32 colors and regions, -0.5 to 0.5 (a region is positive inside), and the (2, 3) matrix of
        `crop_matrix`.
    """
    matrix = crop_matrix(points)
    cv2_matrix = matrix.copy()
    cv2_matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV has pixel centers at integers
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.5:  # sampling alone would skip pixels
        factor = 2 * scale
        size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
        ratio = np.array([size[0] / image.shape[1], size[1] / image.shape[0]])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        cv2_matrix = matrix.copy()
        cv2_matrix[:, :2] = matrix[:, :2] / ratio
        cv2_matrix[:, 2] += cv2_matrix[:, :2] @ [0.5, 0.5] - 0.5
    colors = cv2.warpAffine(image, cv2_matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    placed = points @ matrix[:, :2].T + matrix[:, 2]
    return stack_planes(colors, placed), matrix


def stack_planes(colors: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """Stack the colors of a crop and the regions of its landmarks.

    Args:
        colors: (64, 64, 3) uint8 RGB.
        placed: (478, 2) landmarks in pixels of the crop.

    Returns:
        (6, 64, 64) float32.
    """
    face = cv2.convexHull(placed.astype(np.float32))[:, 0]
    regions = [
        _draw_polygons([face]),
        _draw_polygons([placed[topology.OUTER_LIPS]]),
        _draw_polygons([placed[topology.RIGHT_EYE], placed[topology.LEFT_EYE]]),
    ]
    planes = np.moveaxis(colors, -1, 0).astype(np.float32) / 255 - 0.5
    return np.concatenate([planes, np.stack(regions).astype(np.float32) / 255 - 0.5])


def _draw_polygons(polygons: list[np.ndarray]) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    corners = [np.round((polygon - 0.5) * (1 << _SHIFT)).astype(np.int32) for polygon in polygons]
    for polygon in corners:
        cv2.fillPoly(mask, [polygon], (255,), cv2.LINE_AA, _SHIFT)
    return mask


def load_occlusion_network(path: Path | None = None) -> OcclusionNetwork:
    """Load the network.

    Args:
        path: The .npz file, by default the one that ships with the package.

    Raises:
        WeightsError: When the file is missing or damaged.
    """
    if path is None:
        from mimaface_cli.weights.locate import locate

        path = locate("occlusion")
    return _load(Path(path))


@lru_cache(maxsize=2)
def _load(path: Path) -> OcclusionNetwork:
    return read_model_file(path, "an occlusion network", _build)


def _build(file: dict[str, np.ndarray]) -> OcclusionNetwork | None:
    weights = {name: file[f"{name}.weight"].astype(np.float32) for name, *_ in LAYERS}
    biases = {name: file[f"{name}.bias"].astype(np.float32) for name, *_ in LAYERS}
    return OcclusionNetwork(weights, biases, str(file["version"])) if _is_valid(weights, biases) else None


def _is_valid(weights: dict[str, np.ndarray], biases: dict[str, np.ndarray]) -> bool:
    for name, inputs, outputs, size in LAYERS:
        if weights[name].shape != (outputs, inputs, size, size) or biases[name].shape != (outputs,):
            return False
        if not (np.isfinite(weights[name]).all() and np.isfinite(biases[name]).all()):
            return False
    return True
