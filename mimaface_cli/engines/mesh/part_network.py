"""A small convolutional network that corrects a rendered part of the face in a frame.

It sees the crop around the part as the engine renders it, the same crop of the photo, and the coefficients of both,
and returns what to add to the rendered crop. `mimaface_cli.builders` trains it: `mouth478` and `eyelid478`.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from mimaface_cli.engines.mesh.convolution import PackedKernel, convolve, join, pack_kernel
from mimaface_cli.engines.mesh.face_part import PLANES, FacePart
from mimaface_cli.engines.mesh.image_patch import LUMA
from mimaface_cli.engines.mesh.part_option import LEARNED, PAINTED
from mimaface_cli.errors import InputError, WeightsError, brief
from mimaface_cli.files import check_input_file

BLOCK = 2  # pixels of the crop in each direction that form one cell of the network's grid
CONDITION = "condition"
_FRAME_INPUTS = PLANES // 2 * BLOCK**2
_OUTPUTS = 3 * BLOCK**2
_SLOPE = 0.1  # of the leaky ReLU
_STRIDED = ("e1a", "e2a", "e3a")  # layers that halve the size
_PHOTO_PART = "e0 photo"
_MAX_CHANNELS = 512
_LARGEST = 255.0  # gray levels: a change that counts as infinite
_VERSION_DIGITS = 12
_MAX_BYTES = 64_000_000  # of a model file, packed and unpacked


@dataclass(frozen=True)
class PartNetwork:
    """The network, a U-Net of four stages on cells of 2×2 pixels.

    Attributes:
        part: The part of the face that it corrects. Its crop has H×W pixels, its condition K coefficients.
        weights: Kernels (outputs, inputs, 3, 3) float32 by layer; for "condition" (outputs, K).
        biases: (outputs,) float32 by layer.
        condition_low: (K,) float32, lowest coefficients of the training.
        condition_high: (K,) float32, highest coefficients of the training.
        name: Name of the shipped model, or of the file.
        version: Version of the build.
        sha256: SHA-256 (hex) of the file.
    """

    part: FacePart
    weights: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]
    condition_low: np.ndarray
    condition_high: np.ndarray
    name: str
    version: str
    sha256: str

    def embed_photo(self, planes: np.ndarray) -> np.ndarray:
        """Compute the photo's part of the first layer, which is the same for all frames.

        Args:
            planes: (4, H, W) float32, see `face_part.stack_planes`.

        Returns:
            (C0, H/2, W/2) float32.
        """
        kernel = self._kernels[_PHOTO_PART]
        return convolve(_to_cells(planes), kernel, np.zeros(kernel.outputs, np.float32))

    def __call__(self, planes: np.ndarray, photo: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            planes: (4, H, W) float32 crop of the frame, see `face_part.stack_planes`.
            photo: (C0, H/2, W/2) float32, see `embed_photo`.
            condition: (K,) coefficients, limited to the range of the training.

        Returns:
            (3, H, W) float32, what to add to the colors of the frame; 1 stands for 127.5.
        """
        x0 = convolve(_to_cells(planes), self._kernels["e0"], self.biases["e0"])
        x0 += photo
        np.maximum(x0, np.float32(_SLOPE) * x0, out=x0)
        x1 = self._layer("e1b", self._layer("e1a", x0))
        x2 = self._layer("e2b", self._layer("e2a", x1))
        limited = np.clip(condition, self.condition_low, self.condition_high)
        offset = self.weights[CONDITION] @ limited + self.biases[CONDITION]
        x3 = self._layer("e3a", x2, offset)
        for name in ("m0", "m1"):
            x3 += self._layer(name, x3)
        values = x3
        for name, link in (("d2", x2), ("d1", x1), ("d0", x0)):
            values = self._layer(name, join(values, link), doubled=len(values))
        return _to_pixels(convolve(values, self._kernels["o"], self.biases["o"]))

    def correct(self, planes: np.ndarray, photo: np.ndarray, condition: np.ndarray, chroma: float) -> np.ndarray:
        """Run the network for an image that may be gray, with weights that may be huge.

        Args:
            planes: As in a call of the network.
            photo: As in a call of the network.
            condition: As in a call of the network.
            chroma: Saturation of the image, 0 (gray) to 1.

        Returns:
            (H, W, 3) float32, what to add to the colors of the frame, in gray levels.
        """
        # A model file with huge weights must not crash the renderer.
        with np.errstate(over="ignore", invalid="ignore"):
            residual = 127.5 * np.moveaxis(self(planes, photo, condition), 0, -1)
        residual = np.nan_to_num(residual, nan=_LARGEST, posinf=_LARGEST, neginf=-_LARGEST)
        if chroma < 1:
            gray = residual @ LUMA
            residual = gray[..., None] + np.float32(chroma) * (residual - gray[..., None])
        return np.ascontiguousarray(residual, np.float32)

    def _layer(self, name: str, values: np.ndarray, offset: np.ndarray | None = None, doubled: int = 0) -> np.ndarray:
        bias = self.biases[name] if offset is None else self.biases[name] + offset
        stride = 2 if name in _STRIDED else 1
        return convolve(values, self._kernels[name], bias, stride=stride, slope=_SLOPE, doubled=doubled)

    @cached_property
    def _kernels(self) -> dict[str, PackedKernel]:
        """The kernels as `convolve` needs them; that of the first layer is split into frame and photo."""
        parts = {name: weights for name, weights in self.weights.items() if name != CONDITION}
        parts["e0"], parts[_PHOTO_PART] = np.split(self.weights["e0"], [_FRAME_INPUTS], axis=1)
        return {name: pack_kernel(kernel, 2 if name in _STRIDED else 1) for name, kernel in parts.items()}

    def describe(self) -> dict[str, str]:
        """Return name and version, for reports."""
        return {"name": self.name, "version": self.version}


def layer_shapes(part: FacePart, channels: tuple[int, int, int, int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all kernels of a part's network with these channels in its four stages."""
    c0, c1, c2, c3 = channels
    sizes = {
        "e0": (2 * _FRAME_INPUTS, c0),
        "e1a": (c0, c1),
        "e1b": (c1, c1),
        "e2a": (c1, c2),
        "e2b": (c2, c2),
        "e3a": (c2, c3),
        "m0": (c3, c3),
        "m1": (c3, c3),
        "d2": (c3 + c2, c2),
        "d1": (c2 + c1, c1),
        "d0": (c1 + c0, c0),
        "o": (c0, _OUTPUTS),
    }
    shapes: dict[str, tuple[int, ...]] = {name: (outputs, inputs, 3, 3) for name, (inputs, outputs) in sizes.items()}
    return shapes | {CONDITION: (c3, part.condition_dim)}


def content_version(arrays: dict[str, np.ndarray]) -> str:
    """Return the version of a build: the first digits of the SHA-256 of its arrays, names included."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()[:_VERSION_DIGITS]


def describe_network(network: PartNetwork | None) -> dict[str, str]:
    """Return name and version of what renders a part, for reports; None for the painted part."""
    return {"name": PAINTED, "version": ""} if network is None else network.describe()


def open_network(part: FacePart, choice: str) -> PartNetwork | None:
    """Load the network that an option names.

    Args:
        part: The part.
        choice: "learned" for the shipped network, "painted" for none, or the path of a model file.

    Returns:
        The network, or None for the painted part.

    Raises:
        InputError: The file does not exist or cannot be read.
        WeightsError: The file is no such network.
    """
    if choice == PAINTED:
        return None
    return load_network(part, None if choice == LEARNED else Path(choice))


def load_network(part: FacePart, path: Path | None = None) -> PartNetwork:
    """Load the network of a part.

    Args:
        part: The part.
        path: The .npz file, by default the one that ships with the package.

    Raises:
        InputError: The file does not exist or cannot be read.
        WeightsError: The file is no such network.
    """
    if path is None:
        from mimaface_cli.weights.locate import locate

        return _load(part, locate(part.name), part.name)
    try:
        check_input_file(path)
    except InputError as error:
        raise InputError(error.message, field=part.field) from error
    return _load(part, path, path.name)


def _load(part: FacePart, path: Path, name: str) -> PartNetwork:
    """Load a file; as long as it does not change, once."""
    try:
        info = path.stat()
        if info.st_size > _MAX_BYTES:
            raise WeightsError(f"{path}: not {part.title} ({info.st_size} bytes are too many). Choose another file.")
        return _read(part, path, name, info.st_mtime_ns, info.st_size)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({brief(error.strerror)}). Choose another file.") from error


@lru_cache(maxsize=4)
def _read(part: FacePart, path: Path, name: str, time: int, size: int) -> PartNetwork:
    content = path.read_bytes()
    try:
        arrays = _read_arrays(content)
        version = str(arrays.pop("version"))
        network = _build(part, arrays, name, version, hashlib.sha256(content).hexdigest())
    except Exception as error:  # zipfile, zlib and numpy raise many types of errors on damaged bytes
        raise WeightsError(
            f"{path}: not {part.title} ({brief(error)}). Restore the file, or set `{part.field}=painted`."
        ) from error
    return network


def _read_arrays(content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(info.file_size for info in archive.infolist()) > _MAX_BYTES:
            raise ValueError(f"unpacks to more than {_MAX_BYTES} bytes")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _build(part: FacePart, arrays: dict[str, np.ndarray], name: str, version: str, sha256: str) -> PartNetwork:
    """Build a network. Raises ValueError or KeyError for arrays that do not fit."""
    stages = ("e0", "e1a", "e2a", "e3a")
    counts = [arrays[f"{stage}.weight"].shape[0] for stage in stages]
    if max(counts) > _MAX_CHANNELS:
        raise ValueError(f"more than {_MAX_CHANNELS} channels")
    shapes = layer_shapes(part, (counts[0], counts[1], counts[2], counts[3]))
    limits = (part.condition_dim,)
    expected: dict[str, tuple[int, ...]] = {"condition_low": limits, "condition_high": limits}
    for layer, shape in shapes.items():
        expected |= {f"{layer}.weight": shape, f"{layer}.bias": shape[:1]}
    checked = {key: _check(key, arrays[key], shape) for key, shape in expected.items()}
    if (checked["condition_low"] > checked["condition_high"]).any():
        raise ValueError("condition_low lies above condition_high")
    if version != content_version({key: arrays[key] for key in expected}):
        raise ValueError("the version does not belong to the content")
    return PartNetwork(
        part=part,
        weights={layer: checked[f"{layer}.weight"] for layer in shapes},
        biases={layer: checked[f"{layer}.bias"] for layer in shapes},
        condition_low=checked["condition_low"],
        condition_high=checked["condition_high"],
        name=name,
        version=version,
        sha256=sha256,
    )


def _check(key: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array as float32. Raises ValueError for another shape, type or values that are not finite."""
    if array.shape != shape or array.dtype.kind != "f":
        raise ValueError(f"{key} has the shape {array.shape} and type {array.dtype} instead of {shape} and float32")
    with np.errstate(over="ignore"):
        converted = array.astype(np.float32)
    if not np.isfinite(converted).all():
        raise ValueError(f"{key} contains NaN or Inf")
    return converted


def _to_cells(planes: np.ndarray) -> np.ndarray:
    """Move each 2×2 pixels of planes (C, H, W) into channels (4 C, H/2, W/2), as torch's pixel_unshuffle does."""
    count, height, width = planes.shape
    cells = planes.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return np.ascontiguousarray(cells.transpose(0, 2, 4, 1, 3)).reshape(-1, height // BLOCK, width // BLOCK)


def _to_pixels(cells: np.ndarray) -> np.ndarray:
    """Move channels (4 C, h, w) into pixels (C, 2 h, 2 w), as torch's pixel_shuffle does."""
    count, height, width = cells.shape
    blocks = cells.reshape(count // BLOCK**2, BLOCK, BLOCK, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(blocks).reshape(-1, height * BLOCK, width * BLOCK)
