"""The file of the embedded lip network (speech478.npz)."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from mimaface_cli.errors import WeightsError, brief
from mimaface_cli.speech.audio_features import SpeechEncoder, SpeechFrontEnd
from mimaface_cli.speech.lip_network import CHANNELS, CLOSED, LipModel
from mimaface_cli.speech.phones import PhoneModel

_SHORT = 2000  # samples that the encoder is tried on


def load_lip_model(path: Path | None = None) -> LipModel:
    """The model at `path`, by default the one that ships. Raises WeightsError when it is missing or damaged."""
    if path is None:
        from mimaface_cli.weights.locate import locate

        path = locate("speech478")
    return _read_lip_model(Path(path))


@lru_cache(maxsize=2)
def _read_lip_model(path: Path) -> LipModel:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        phones = PhoneModel(
            tuple(map(str, arrays["phones"])),
            *(arrays[f"phone_{part}"].astype(np.float32) for part in ("means", "variances", "weights")),
        )
        encoder = SpeechEncoder(
            _group(arrays, "encoder"),
            arrays["encoder_level"].astype(np.float64),
            *(arrays[f"encoder_{part}"].astype(np.float32) for part in ("mean", "basis")),
        )
        nets = tuple(_group(arrays, f"net{k}") for k in range(int(arrays["nets"])))
        hearing = SpeechFrontEnd(phones, encoder)
        model = LipModel(
            hearing,
            nets,
            *(arrays[part].astype(np.float64) for part in ("rest", "scale", "gain")),
            float(arrays["close_at"]),
            str(arrays["version"]),
        )
        sound = all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")
        width = model.predict(np.zeros((4, hearing.width), np.float32)).shape
        heard = encoder.project(encoder.hidden(np.zeros(_SHORT, np.float32)))
        likely = phones.log_likelihoods(np.zeros((1, 3, 13), np.float32))
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged bytes
        raise WeightsError(
            f"{path}: not a lip model ({brief(error)}); restore it from the project's weights/"
        ) from error
    if not (
        sound
        and nets
        and width == (1, len(CHANNELS))
        and np.isfinite(likely).all()
        and np.isfinite(heard).all()
        and model.rest.shape == (CLOSED,)
    ):
        raise WeightsError(f"{path}: not a lip model (wrong shapes); restore it from the project's weights/")
    return model


def _group(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays under name/ as float32."""
    start = f"{name}/"
    return {key.removeprefix(start): array.astype(np.float32) for key, array in arrays.items() if key.startswith(start)}


def save_lip_model(path: Path, model: LipModel) -> None:
    """Write the model as a .npz file, its large arrays as float16."""
    phones, encoder = model.front_end.phones, model.front_end.encoder
    arrays = {
        "phones": np.array(phones.names),
        "encoder_level": encoder.level,
        "encoder_mean": encoder.mean,
        "encoder_basis": encoder.basis,
        "nets": np.array(len(model.nets)),
        "rest": model.rest,
        "scale": model.scale,
        "gain": model.gain,
        "close_at": np.array(model.close_at),
        "version": np.array(model.version),
    }
    for part in ("means", "variances", "weights"):
        arrays[f"phone_{part}"] = getattr(phones, part).astype(np.float16)
    arrays |= {f"encoder/{name}": array.astype(np.float16) for name, array in encoder.arrays.items()}
    for k, net in enumerate(model.nets):
        arrays |= {f"net{k}/{name}": array.astype(np.float16) for name, array in net.items()}
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)
