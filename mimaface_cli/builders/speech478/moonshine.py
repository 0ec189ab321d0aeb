"""The first layers of Moonshine's English "tiny" encoder, as the package `moonshine-voice` carries it (MIT)."""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.media.waveform import Waveform
from mimaface_cli.speech.audio_features import FeatureExtractor, SpeechEncoder, SpeechFrontEnd
from mimaface_cli.speech.phones import PhoneModel, count_feature_frames

LAYERS = 3  # lips of people left out are found no better with four, a little worse with two
DIMENSIONS = 48  # of the projection; with twice as many the lip network learns by heart
_SIZE = 0.7  # of a projected number, about that of the other features
_LEVEL = (0.0, 0.0065)  # median over the clips that the shipped network has learned from
_TYPES = {1: np.float32, 2: np.uint8, 7: np.int64}


def load_encoder(path: Path | None = None) -> SpeechEncoder:
    """The encoder of ONNX Runtime's file `path` (default: the package's), not yet projected: basis is the identity.
    Raises WeightsError.
    """
    try:
        if path is None:
            spec = find_spec("moonshine_voice")  # not imported: it would open a microphone's library
            if spec is None:
                raise ImportError("no package moonshine_voice")
            path = Path(spec.submodule_search_locations[0]) / "assets" / "tiny-en" / "encoder_model.ort"
        stored, nodes = _read(path.read_bytes())
        arrays = {name.removesuffix("_add_tensor"): array for name, array in stored.items() if _WANTED.match(name)}
        for output, inputs in nodes.items():
            if (found := _PRODUCT.match(output)) and int(found[1]) < LAYERS:
                arrays[f"layers.{found[1]}.{found[2]}.{found[3]}.weight"] = _matrix(stored, inputs)
            if output == "/groupnorm/Mul_output_0":
                arrays["groupnorm.weight"] = stored[inputs[1]].ravel()
            if output == "/groupnorm/Add_output_0":
                arrays["groupnorm.bias"] = stored[inputs[1]].ravel()
        width = len(arrays["groupnorm.weight"])
        encoder = SpeechEncoder(arrays, np.array(_LEVEL), np.zeros(width, np.float32), np.eye(width, dtype=np.float32))
        encoder.hidden(np.zeros(2000, np.float32))
    except (ImportError, OSError, KeyError, ValueError, IndexError) as error:
        raise WeightsError(
            f"Moonshine's encoder cannot be read ({error}); pip install 'mimaface[speech-training]'"
        ) from error
    return encoder


_WANTED = re.compile(rf"conv\d\.|layers\.[0-{LAYERS - 1}]\.")
_PRODUCT = re.compile(r"/layers\.(\d)/(self_attn|mlp)/(\w+)/(?:MatMul|Add)_output_0$")


def _matrix(stored: dict[str, np.ndarray], inputs: list[str]) -> np.ndarray:
    """The 8-bit matrix among a product's inputs, out × in."""
    part = lambda end: next(stored[name] for name in inputs if name in stored and name.endswith(end))  # noqa: E731
    return ((part("_quantized").astype(np.float32) - part("_zero_point")) * part("_scale")).T


def _read(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Arrays by name, and the inputs of what makes each output, of a model in ONNX Runtime's own format."""
    import onnxruntime.tools.ort_format_model  # noqa: F401  # makes the next line's package known
    from ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    graph = InferenceSession.GetRootAs(bytearray(data), 0).Model().Graph()
    arrays = {}
    for k in range(graph.InitializersLength()):
        tensor = graph.Initializers(k)
        if tensor.DataType() in _TYPES and not tensor.RawDataIsNone():
            shape = [tensor.Dims(d) for d in range(tensor.DimsLength())]
            arrays[tensor.Name().decode()] = np.frombuffer(tensor.RawDataAsNumpy(), _TYPES[tensor.DataType()]).reshape(
                shape
            )
    nodes = {}
    for k in range(graph.NodesLength()):
        node = graph.Nodes(k)
        inputs = [node.Inputs(place).decode() for place in range(node.InputsLength())]
        nodes[node.Outputs(0).decode()] = inputs
    return arrays, nodes


def fitted(encoder: SpeechEncoder, phones: PhoneModel, sounds: Iterable[Waveform]) -> SpeechFrontEnd:
    """The encoder projected onto the DIMENSIONS in which the frames of `sounds` (Waveform) vary most."""
    count, total, products = 0, 0.0, 0.0
    for samples in sounds:
        listener = FeatureExtractor(samples, SpeechFrontEnd(phones, encoder))
        frames = listener.encode(0, count_feature_frames(len(samples))).astype(np.float64)
        count, total, products = count + len(frames), total + frames.sum(0), products + frames.T @ frames
    if count < DIMENSIONS:
        raise WeightsError("too little sound to fit the encoder's projection")
    mean = total / count
    spread, directions = np.linalg.eigh(products / count - np.outer(mean, mean))
    basis = directions[:, ::-1][:, :DIMENSIONS] / np.sqrt(spread[::-1][:DIMENSIONS]) * _SIZE
    projected = SpeechEncoder(encoder.arrays, encoder.level, mean.astype(np.float32), basis.astype(np.float32))
    return SpeechFrontEnd(phones, projected)
