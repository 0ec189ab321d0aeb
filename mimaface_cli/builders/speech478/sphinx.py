"""The phone mixtures of CMU Sphinx's English acoustic model, from the package `pocketsphinx` (BSD license)."""

import struct
from pathlib import Path

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.speech.phones import CEPSTRA, PhoneModel

_STREAMS, _STATES = 3, 3
_LOG_STEP = 1024 * np.log(1.0001)  # unit of the 8-bit logarithms of mixture weights
_MIN_VARIANCE = 1e-4


def load_phones(folder: Path | None = None) -> PhoneModel:
    """Load the context-free states of a phonetically tied model in Sphinx's format.

    Args:
        folder: Contains mdef, means, variances and sendump; by default the package's English model.

    Raises:
        WeightsError: If the model cannot be read.
    """
    try:
        if folder is None:
            import pocketsphinx

            folder = Path(pocketsphinx.get_model_path("en-us/en-us"))
        names, states = _parse_phones((folder / "mdef").read_bytes())
        means, variances = (
            _parse_gaussians((folder / name).read_bytes(), len(names)) for name in ("means", "variances")
        )
        weights = _parse_mixtures((folder / "sendump").read_bytes(), means.shape[2], states, len(names))
    except (ImportError, OSError, ValueError, struct.error) as error:
        raise WeightsError(
            f"CMU Sphinx's acoustic model cannot be read ({error}). Run pip install 'mimaface[speech-training]'."
        ) from error
    return PhoneModel(names, means, np.maximum(variances, _MIN_VARIANCE), weights)


def _parse_phones(data: bytes) -> tuple[tuple[str, ...], int]:
    """Return the names of the phones and the number of all states of a binary model definition."""
    if data[:4] != b"BMDF":
        raise ValueError("mdef is not a binary model definition")
    offset = 12 + struct.unpack_from("<i", data, 8)[0]
    phones, _, _, independent, states = struct.unpack_from("<5i", data, offset)
    if independent != phones * _STATES:
        raise ValueError("mdef does not have three states per phone")
    return tuple(name.decode("ascii") for name in data[offset + 40 :].split(b"\0", phones)[:phones]), states


def _parse_gaussians(data: bytes, phones: int) -> np.ndarray:
    """Return the 3 × phones × G × 13 float32 of a file of means or variances."""
    offset = data.index(b"endhdr\n") + 7 + 4  # after the byte-order mark
    codebooks, streams, density = struct.unpack_from("<3i", data, offset)
    lengths = struct.unpack_from(f"<{streams}i", data, offset + 12)
    if codebooks != phones or lengths != (CEPSTRA,) * _STREAMS:
        raise ValueError("the Gaussians are not tied by phone in three streams of 13")
    count = codebooks * streams * density * CEPSTRA
    values = np.frombuffer(data, "<f4", count, offset + 12 + 4 * streams + 4)
    return values.reshape(codebooks, streams, density, CEPSTRA).swapaxes(0, 1).copy()


def _parse_mixtures(data: bytes, density: int, states: int, phones: int) -> np.ndarray:
    """Return the 3 × phones × G × 3 mixture weights of the context-free states, which come first."""
    size = _STREAMS * density * states
    if len(data) < size or b"cluster_count 0" not in data[:2000]:
        raise ValueError("sendump has an unknown layout")
    logs = np.frombuffer(data, np.uint8, size, len(data) - size).reshape(_STREAMS, density, states)
    weights = np.exp(-_LOG_STEP * logs[:, :, : phones * _STATES].astype(np.float32))
    weights = weights.reshape(_STREAMS, density, phones, _STATES).swapaxes(1, 2)
    return np.ascontiguousarray(weights / weights.sum(2, keepdims=True))
