"""The phone mixtures out of CMU Sphinx's English acoustic model, as the package `pocketsphinx` carries it (BSD)."""

import struct
from pathlib import Path

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.speech.phones import CEPSTRA, PhoneModel

_STREAMS, _STATES = 3, 3
_LOG_STEP = 1024 * np.log(1.0001)  # of the 8-bit logarithms in which mixture weights are kept


def load_phones(folder: Path | None = None) -> PhoneModel:
    """The context-free states of a phonetically tied model in Sphinx's format: the files mdef, means, variances and
    sendump of `folder` (default: the package's). Raises WeightsError.
    """
    try:
        if folder is None:
            import pocketsphinx

            folder = Path(pocketsphinx.get_model_path("en-us/en-us"))
        names, states = _phones((folder / "mdef").read_bytes())
        means, variances = (_gaussians((folder / name).read_bytes(), len(names)) for name in ("means", "variances"))
        weights = _mixtures((folder / "sendump").read_bytes(), means.shape[2], states, len(names))
    except (ImportError, OSError, ValueError, struct.error) as error:
        raise WeightsError(
            f"CMU Sphinx's acoustic model cannot be read ({error}); pip install 'mimaface[speech-training]'"
        ) from error
    return PhoneModel(names, means, np.maximum(variances, 1e-4), weights)


def _phones(data: bytes) -> tuple[tuple[str, ...], int]:
    """Names of the phones and the number of all states of a binary model definition."""
    if data[:4] != b"BMDF":
        raise ValueError("mdef is not a binary model definition")
    at = 12 + struct.unpack_from("<i", data, 8)[0]
    phones, _, _, independent, states = struct.unpack_from("<5i", data, at)
    if independent != phones * _STATES:
        raise ValueError("mdef does not have three states a phone")
    return tuple(name.decode("ascii") for name in data[at + 40 :].split(b"\0", phones)[:phones]), states


def _gaussians(data: bytes, phones: int) -> np.ndarray:
    """3 × phones × G × 13 float32 out of a file of means or variances."""
    at = data.index(b"endhdr\n") + 7 + 4  # after the mark of the byte order
    books, streams, density = struct.unpack_from("<3i", data, at)
    lengths = struct.unpack_from(f"<{streams}i", data, at + 12)
    if books != phones or lengths != (CEPSTRA,) * _STREAMS:
        raise ValueError("the Gaussians are not tied by phone in three streams of 13")
    count = books * streams * density * CEPSTRA
    values = np.frombuffer(data, "<f4", count, at + 12 + 4 * streams + 4)
    return values.reshape(books, streams, density, CEPSTRA).swapaxes(0, 1).copy()


def _mixtures(data: bytes, density: int, states: int, phones: int) -> np.ndarray:
    """3 × phones × G × 3 mixture weights of the context-free states, which come first."""
    size = _STREAMS * density * states
    if len(data) < size or b"cluster_count 0" not in data[:2000]:
        raise ValueError("sendump is packed in another way")
    logs = np.frombuffer(data, np.uint8, size, len(data) - size).reshape(_STREAMS, density, states)
    weights = np.exp(-_LOG_STEP * logs[:, :, : phones * _STATES].astype(np.float32))
    weights = weights.reshape(_STREAMS, density, phones, _STATES).swapaxes(1, 2)
    return np.ascontiguousarray(weights / weights.sum(2, keepdims=True))
