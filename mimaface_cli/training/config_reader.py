"""Reading of a training run's TOML file.

Its values are merged over the defaults of a recipe, and checked.
"""

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from mimaface_cli.errors import InputError
from mimaface_cli.training.config import ImageStageConfig, TrainingConfig, VideoStageConfig
from mimaface_cli.weights.small_model import PREDICTIONS

RECIPES = ("paper", "release")
STARTS = ("sd15", "scratch")
TOKENS = ("paper", "release")
SPACES = ("bfm09", "face478")
PRECISIONS = ("", "no", "fp16", "bf16")
SCHEDULES = ("constant", "cosine")
LARGEST_SIZE = 512

# Values in which the public release differs from the paper.
_RELEASE: dict[str, Any] = {
    "model": {"tokens": "release"},
    "image": {"optimizer": {"batch": 16}, "min_snr": 5.0, "identity_weight": 0.0, "clean_condition": 0.01},
    "video": {
        "optimizer": {"batch": 4},
        "clip": 10,
        "most_known": 4,
        "none_known": 0.5,
        "min_snr": 5.0,
        "whole_input": True,
        "train_tokens": True,
        "clip_layers": 2,
    },
}


def load_config(path: Path) -> TrainingConfig:
    """Read a training configuration from a TOML file.

    Args:
        path: The file. Its relative `data` and `output` folders are taken from the file's folder.

    Raises:
        InputError: The file is unreadable or not TOML, has an unknown key (the nearest known key is named), or a wrong
            value.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check the path.") from error
    except ValueError as error:
        raise InputError(f"{path}: is not TOML ({error}). Fix that line.") from error
    try:
        config = build_config(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return replace(config, data=str(path.parent / config.data), output=str(path.parent / config.output))


def build_config(values: dict[str, Any]) -> TrainingConfig:
    """Build a configuration from nested values over the defaults of `values["recipe"]`.

    Raises:
        InputError: An unknown key, or a value of the wrong type or out of range.
    """
    recipe = values.get("recipe", "paper")
    _check_choice("recipe", recipe, RECIPES)
    config = _merge(TrainingConfig(), _RELEASE if recipe == "release" else {}, "")
    config = _merge(config, values, "")
    _check_model(config)
    _check_run(config)
    for stage in ("image", "video"):
        _check_stage(stage, getattr(config, stage))
    return config


def _check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        names = ", ".join(choice or "an empty text" for choice in choices)
        raise InputError(f"{key}: is {value!r:.80}. Choose one of {names}.")


def _check_model(config: TrainingConfig) -> None:
    model = config.model
    _check_choice("space", config.space, SPACES)
    _check_choice("model.start", model.start, STARTS)
    _check_choice("model.prediction", model.prediction, PREDICTIONS)
    _check_choice("model.tokens", model.tokens, TOKENS)
    if model.start != "scratch" and model.prediction != "epsilon":
        raise InputError(
            f"model.prediction: is {model.prediction}, but Stable Diffusion 1.5 predicts epsilon. Set prediction = "
            '"epsilon", or start = "scratch".'
        )
    if model.start == "scratch" and config.space != "face478":
        raise InputError('model.start: a model from scratch uses the face478 space. Set space = "face478".')
    if model.tokens == "release" and (config.space, model.start) != ("bfm09", "sd15"):
        raise InputError(
            "model.tokens: the release's condition tokens need bfm09 coefficients and Stable Diffusion. Set space = "
            '"bfm09" and [model] start = "sd15", or [model] tokens = "paper".'
        )


def _check_run(config: TrainingConfig) -> None:
    _check_choice("precision", config.precision, PRECISIONS)
    factor, model = 64, config.model
    if model.start == "scratch":  # The autoencoder and the UNet halve the resolution at every level but the last.
        factor = max(8, model.autoencoder.reduction * 2 ** (len(model.size.channels) - 1))
    if not factor <= config.size <= LARGEST_SIZE or config.size % factor:
        raise InputError(f"size: is {config.size}. Choose a multiple of {factor} up to {LARGEST_SIZE}.")
    for name in ("save_every", "keep"):
        if not getattr(config, name):
            raise InputError(f"{name}: must be 1 or more, is 0. Raise it.")
    if config.validation.share >= 1:
        raise InputError(f"validation.share: must be below 1, is {config.validation.share}. Lower it.")
    for name, low, high in (("clips", 1, 100), ("steps", 1, 1000), ("guidance", 1, 30)):
        value = getattr(config.validation, name)
        if not low <= value <= high:
            raise InputError(f"validation.{name}: must be {low} to {high}, is {value}. Change it.")


def _check_stage(name: str, stage: ImageStageConfig | VideoStageConfig) -> None:
    optimizer = stage.optimizer
    for key in ("steps", "batch", "learning_rate"):
        if not getattr(optimizer, key):
            raise InputError(f"{name}.optimizer.{key}: must be above 0. Raise it.")
    shares = {"token_dropout": stage.token_dropout, "optimizer.ema": optimizer.ema}
    if isinstance(stage, VideoStageConfig):
        shares["none_known"] = stage.none_known
    for key, value in shares.items():
        if value > 1:
            raise InputError(f"{name}.{key}: must be 0 to 1, is {value}. Lower it.")
    _check_choice(f"{name}.optimizer.schedule", optimizer.schedule, SCHEDULES)
    key = "clip" if isinstance(stage, VideoStageConfig) else "temperature"
    if not getattr(stage, key):
        raise InputError(f"{name}.{key}: must be above 0. Raise it.")
    if isinstance(stage, VideoStageConfig) and stage.most_known >= stage.clip:
        raise InputError(f"{name}.most_known: must be below {name}.clip ({stage.clip}). Lower it.")


def _merge(base: Any, values: dict[str, Any], prefix: str) -> Any:
    """Return the dataclass `base` with the fields in `values` replaced, section by section."""
    known = [item.name for item in fields(base)]
    changes = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            nearest = difflib.get_close_matches(key, known, 1, 0.4)
            hint = f"Did you mean {prefix}{nearest[0]}?" if nearest else f"Choose one of {', '.join(known)}."
            raise InputError(f"{name!r:.120} is not a setting. {hint}")
        default = getattr(base, key)
        if not is_dataclass(default):
            changes[key] = _convert(name, value, default)
        elif isinstance(value, dict):
            changes[key] = _merge(default, value, f"{name}.")
        else:
            raise InputError(f"{name}: must be a section. Write it as [{name}].")
    return replace(base, **changes)


def _convert(name: str, value: Any, default: Any) -> Any:
    """Return a TOML value as the type of its default, after checking type and range."""
    if type(default) is float and type(value) is int:
        value = float(value)
    if type(default) is tuple and type(value) is list and value:
        same_type = all(type(item) is type(default[0]) for item in value)
        value = tuple(value) if same_type else value
    if type(value) is not type(default):
        raise InputError(f"{name}: must be of type {_type_name(default)}, is {value!r:.80}. Change it.")
    if type(default) in (int, float) and not 0 <= value < 1e12:
        raise InputError(f"{name}: must be 0 or more and finite, is {value}. Change it.")
    return value


def _type_name(value: Any) -> str:
    return f"list of {type(value[0]).__name__}" if isinstance(value, tuple) else type(value).__name__
