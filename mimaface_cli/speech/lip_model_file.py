"""The file of the embedded lip network (speech478.npz)."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mimaface_cli.speech.audio_features import SpeechEncoder, SpeechFrontEnd
from mimaface_cli.speech.lip_network import CHANNELS, CLOSED, LipModel
from mimaface_cli.speech.phones import PhoneModel
from mimaface_cli.weights.model_file import read_model_file

_TEST_SAMPLES = 2000  # length of the silence on which a loaded encoder is checked


def load_lip_model(path: Path | None = None) -> LipModel:
    """Load the lip network.

    Args:
        path: The .npz file. None loads the file that ships with the package.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    if path is None:
        from mimaface_cli.weights.locate import locate

        path = locate("speech478")
    return _read_lip_model(Path(path))


@lru_cache(maxsize=2)
def _read_lip_model(path: Path) -> LipModel:
    return read_model_file(path, "a lip model", _build_valid_model)


def _build_valid_model(arrays: dict[str, np.ndarray]) -> LipModel | None:
    model = _build_model(arrays)
    is_finite = all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")
    return model if is_finite and _produces_valid_output(model) else None


def _build_model(arrays: dict[str, np.ndarray]) -> LipModel:
    phones = PhoneModel(
        names=tuple(map(str, arrays["phones"])),
        means=arrays["phone_means"].astype(np.float32),
        variances=arrays["phone_variances"].astype(np.float32),
        weights=arrays["phone_weights"].astype(np.float32),
    )
    encoder = SpeechEncoder(
        arrays=_select_group(arrays, "encoder"),
        level=arrays["encoder_level"].astype(np.float64),
        mean=arrays["encoder_mean"].astype(np.float32),
        basis=arrays["encoder_basis"].astype(np.float32),
    )
    return LipModel(
        front_end=SpeechFrontEnd(phones, encoder),
        nets=tuple(_select_group(arrays, f"net{k}") for k in range(int(arrays["nets"]))),
        rest=arrays["rest"].astype(np.float64),
        scale=arrays["scale"].astype(np.float64),
        gain=arrays["gain"].astype(np.float64),
        gap_curve=arrays["gap_curve"].astype(np.float64),
        closing_threshold=float(arrays["close_at"]),
        version=str(arrays["version"]),
    )


def _produces_valid_output(model: LipModel) -> bool:
    """Run every part of the model on zeros and check shapes and values."""
    front_end = model.front_end
    is_curve = model.gap_curve.ndim == 2 and len(model.gap_curve) == 2 and model.gap_curve.shape[1] > 1
    if not model.nets or model.rest.shape != (CLOSED,) or not is_curve or (np.diff(model.gap_curve) <= 0).any():
        return False
    channels = model.predict(np.zeros((4, front_end.width), np.float32))
    encoding = front_end.encoder.project(front_end.encoder.compute_hidden_states(np.zeros(_TEST_SAMPLES, np.float32)))
    likelihoods = front_end.phones.log_likelihoods(np.zeros((1, 3, 13), np.float32))
    return bool(channels.shape == (1, len(CHANNELS)) and np.isfinite(likelihoods).all() and np.isfinite(encoding).all())


def _select_group(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Return the arrays under `name/` as float32."""
    prefix = f"{name}/"
    return {
        key.removeprefix(prefix): array.astype(np.float32) for key, array in arrays.items() if key.startswith(prefix)
    }


def save_lip_model(path: Path, model: LipModel) -> None:
    """Write the model as an .npz file with its large arrays as float16."""
    phones, encoder = model.front_end.phones, model.front_end.encoder
    arrays: dict[str, Any] = {
        "phones": np.array(phones.names),
        "encoder_level": encoder.level,
        "encoder_mean": encoder.mean,
        "encoder_basis": encoder.basis,
        "nets": np.array(len(model.nets)),
        "rest": model.rest,
        "scale": model.scale,
        "gain": model.gain,
        "gap_curve": model.gap_curve,
        "close_at": np.array(model.closing_threshold),
        "version": np.array(model.version),
        "phone_means": phones.means.astype(np.float16),
        "phone_variances": phones.variances.astype(np.float16),
        "phone_weights": phones.weights.astype(np.float16),
    }
    arrays |= {f"encoder/{name}": array.astype(np.float16) for name, array in encoder.arrays.items()}
    for k, net in enumerate(model.nets):
        arrays |= {f"net{k}/{name}": array.astype(np.float16) for name, array in net.items()}
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)
