"""The first layers of Moonshine's English "tiny" encoder, from the package `moonshine-voice` (MIT license)."""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.media.waveform import Waveform
from mimaface_cli.speech.audio_features import FeatureExtractor, SpeechEncoder, SpeechFrontEnd
from mimaface_cli.speech.phones import PhoneModel, count_feature_frames

LAYERS = 3  # on held-out people, four layers are not better and two are slightly worse
DIMENSIONS = 48  # of the projection; the lip network overfits with twice as many
_MAX_FIT_FRAMES = 1000  # of each recording
_DEVIATION = 0.7  # standard deviation of a projected feature, similar to the other features
_LEVEL = (0.0, 0.0065)  # median level of the clips that the shipped network was trained on
_TYPES = {1: np.float32, 2: np.uint8, 7: np.int64}  # ONNX data types
_STORED_NAME = re.compile(rf"conv\d\.|layers\.[0-{LAYERS - 1}]\.")
_PRODUCT_NAME = re.compile(r"/layers\.(\d)/(self_attn|mlp)/(\w+)/(?:MatMul|Add)_output_0$")


def load_encoder(path: Path | None = None) -> SpeechEncoder:
    """Load the encoder from a file of ONNX Runtime, not yet projected: its basis is the identity.

    Args:
        path: The .ort file; by default the package's.

    Raises:
        WeightsError: If the encoder cannot be read.
    """
    try:
        stored, nodes = _read_graph((path or _packaged_encoder()).read_bytes())
        arrays = _collect_arrays(stored, nodes)
        width = len(arrays["groupnorm.weight"])
        encoder = SpeechEncoder(arrays, np.array(_LEVEL), np.zeros(width, np.float32), np.eye(width, dtype=np.float32))
        encoder.compute_hidden_states(np.zeros(2000, np.float32))  # fails if an array is missing
    except (ImportError, OSError, KeyError, ValueError, IndexError) as error:
        raise WeightsError(
            f"Moonshine's encoder cannot be read ({error}). Run pip install 'mimaface[speech-training]'."
        ) from error
    return encoder


def _packaged_encoder() -> Path:
    spec = find_spec("moonshine_voice")  # not imported: that would load a microphone library
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the package moonshine_voice is not installed")
    return Path(spec.submodule_search_locations[0]) / "assets" / "tiny-en" / "encoder_model.ort"


def _collect_arrays(stored: dict[str, np.ndarray], nodes: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Return the arrays of the first LAYERS layers by the names of `SpeechEncoder`."""
    arrays = {name.removesuffix("_add_tensor"): array for name, array in stored.items() if _STORED_NAME.match(name)}
    for output, inputs in nodes.items():
        match = _PRODUCT_NAME.match(output)
        if match and int(match[1]) < LAYERS:
            arrays[f"layers.{match[1]}.{match[2]}.{match[3]}.weight"] = _dequantize_matrix(stored, inputs)
        if output == "/groupnorm/Mul_output_0":
            arrays["groupnorm.weight"] = stored[inputs[1]].ravel()
        if output == "/groupnorm/Add_output_0":
            arrays["groupnorm.bias"] = stored[inputs[1]].ravel()
    return arrays


def _dequantize_matrix(stored: dict[str, np.ndarray], inputs: list[str]) -> np.ndarray:
    """Return the 8-bit matrix among the inputs of a product, out × in."""

    def find_input(suffix: str) -> np.ndarray:
        return next(stored[name] for name in inputs if name in stored and name.endswith(suffix))

    quantized = find_input("_quantized").astype(np.float32)
    return ((quantized - find_input("_zero_point")) * find_input("_scale")).T


def _read_graph(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return the arrays by name, and the inputs of each node by its output, of a model in ONNX Runtime's format."""
    import onnxruntime.tools.ort_format_model  # noqa: F401  # makes the package of the next line importable
    from ort_flatbuffers_py.fbs.InferenceSession import (  # type: ignore[import-not-found]  # see the line above
        InferenceSession,
    )

    graph = InferenceSession.GetRootAs(bytearray(data), 0).Model().Graph()
    arrays = {}
    for k in range(graph.InitializersLength()):
        tensor = graph.Initializers(k)
        if tensor.DataType() in _TYPES and not tensor.RawDataIsNone():
            shape = [tensor.Dims(d) for d in range(tensor.DimsLength())]
            values = np.frombuffer(tensor.RawDataAsNumpy(), _TYPES[tensor.DataType()])
            arrays[tensor.Name().decode()] = values.reshape(shape)
    nodes = {}
    for k in range(graph.NodesLength()):
        node = graph.Nodes(k)
        nodes[node.Outputs(0).decode()] = [node.Inputs(j).decode() for j in range(node.InputsLength())]
    return arrays, nodes


def fit_projection(encoder: SpeechEncoder, phones: PhoneModel, recordings: Iterable[Waveform]) -> SpeechFrontEnd:
    """Project the encoder onto the DIMENSIONS in which its output for some recordings varies most.

    Raises:
        WeightsError: If the recordings are too short.
    """
    width, front_end = len(encoder.mean), SpeechFrontEnd(phones, encoder)
    count, total, products = 0, np.zeros(width), np.zeros((width, width))
    for waveform in recordings:
        extractor = FeatureExtractor(waveform, front_end)
        stop = min(count_feature_frames(len(waveform)), _MAX_FIT_FRAMES)
        frames = extractor.encode(0, stop).astype(np.float64)
        count += len(frames)
        total += frames.sum(0)
        products += frames.T @ frames
    if count < DIMENSIONS:
        raise WeightsError("the audio is too short to fit the encoder's projection. Add clips.")
    mean = total / count
    variance, directions = np.linalg.eigh(products / count - np.outer(mean, mean))
    basis = directions[:, ::-1][:, :DIMENSIONS] / np.sqrt(variance[::-1][:DIMENSIONS]) * _DEVIATION
    projected = SpeechEncoder(encoder.arrays, encoder.level, mean.astype(np.float32), basis.astype(np.float32))
    return SpeechFrontEnd(phones, projected)
