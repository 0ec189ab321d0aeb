"""How a training run is set: one TOML file over the paper's values, or over the release's where they differ."""

import difflib
import math
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from mimaface_cli.errors import InputError
from mimaface_cli.training.autoencoder import AutoencoderSettings
from mimaface_cli.training.trainables import Size
from mimaface_cli.weights.small_model import PREDICTIONS

RECIPES = ("paper", "release")
STARTS = ("sd15", "scratch")
TOKENS = ("paper", "release")
PRECISIONS = ("", "no", "fp16", "bf16")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Optimizer:
    """AdamW. batch: samples a step, over all processes and accumulation; micro: samples that a process takes at once, 0
    for all its share. clip_norm: of the gradient, 0 for none. schedule: of the rate after its linear rise over warm_up
    steps: constant, or along a cosine to 2 % at the last step. ema: decay a step, 0 for none.
    """

    steps: int = 30_000
    batch: int = 32
    micro: int = 0
    clip_norm: float = 1.0
    learning_rate: float = 1e-5
    schedule: str = "constant"
    warm_up: int = 0
    weight_decay: float = 1e-2
    ema: float = 0.9999

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(self.warm_up, 1))
        if self.schedule == "cosine":
            rate *= 0.02 + 0.49 * (1 + math.cos(math.pi * step / self.steps))
        return rate


@dataclass(frozen=True)
class Image:
    """Stage 1. token_dropout: share of samples without appearance tokens. min_snr: 0 for none. The release leaves the
    identity loss out (identity_weight 0) and shows the clean target as conditioning in a share clean_condition. bank: ID
    tokens that are held as negatives; 0 for those of the samples that a process takes at once, for an encoder that learns
    fast: tokens of one long gone make it tell everybody alike.
    """

    optimizer: Optimizer = field(default_factory=Optimizer)
    token_dropout: float = 0.1
    min_snr: float = 0.0
    identity_weight: float = 1.0
    temperature: float = 1.0
    bank: int = 4096
    clean_condition: float = 0.0


@dataclass(frozen=True)
class Video:
    """Stage 2. Conditioning frames k: none with probability none_known (1: no ICA), otherwise uniform over 0..clip // 4,
    or over 1..most_known where that is given. known_noise: standard deviation, in latents. Beside motion modules and
    W_cond the release trains all of the UNet's first convolution (whole_input), the condition tokens' module
    (train_tokens) and the last clip_layers of the appearance encoder.
    """

    optimizer: Optimizer = field(default_factory=lambda: Optimizer(batch=8))
    clip: int = 12
    known_noise: float = 0.1
    most_known: int = 0
    none_known: float = 0.0
    token_dropout: float = 0.1
    min_snr: float = 0.0
    whole_input: bool = False
    train_tokens: bool = False
    clip_layers: int = 0


@dataclass(frozen=True)
class Validation:
    """every: steps from one look at people never trained on to the next, 0 for none; the last step has one too. share: of
    the people, rounded down, whom a run leaves out from its first start on; none, and nothing is made, in small data.
    clips: of them that are made, each by so many steps of DPM-Solver++ at that guidance.
    """

    every: int = 1000
    share: float = 0.05
    clips: int = 4
    steps: int = 10
    guidance: float = 5.0


@dataclass(frozen=True)
class Model:
    """start: sd15 (Stable Diffusion 1.5 and CLIP ViT-L/14, and for clips AnimateDiff v3, from the weights folder) or
    scratch (a small model of `size` with an autoencoder of its own, in the face478 space). prediction:
    what the UNet learns to give, the noise (epsilon), v, or the clean latents (sample). tokens: the paper's condition tokens,
    or the release's (identity features, and with the motion the photo's texture and light; one set for a clip), which are
    made of bfm09 and start from sd15. use_render, use_motion: false for a model without the render condition, or without
    motion coefficients, as in the paper's ablation.
    """

    start: str = "sd15"
    tokens: str = "paper"
    prediction: str = "epsilon"
    use_render: bool = True
    use_motion: bool = True
    size: Size = field(default_factory=Size)
    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)


@dataclass(frozen=True)
class Config:
    """A whole run. data, output: folders, from the file's own. size: pixels of the crop. space: of the coefficients.
    seed: of every draw. workers: processes that read data. precision: no, fp16 or bf16; empty for what accelerate is
    set to. save_every: steps between checkpoints, of which the last `keep` stay. cache_latents: encode all pictures once,
    into a file beside the shards, instead of at every step; for small data, on which that costs a fair share. about: what
    the data are and under which license, for the small model's card. tensorboard: event files beside the CSV.
    """

    data: str = "data"
    output: str = "run"
    recipe: str = "paper"
    seed: int = 777
    size: int = 512
    space: str = "bfm09"
    workers: int = 4
    precision: str = ""
    gradient_checkpointing: bool = True
    save_every: int = 1000
    keep: int = 2
    tensorboard: bool = False
    cache_latents: bool = False
    about: str = ""
    model: Model = field(default_factory=Model)
    image: Image = field(default_factory=Image)
    video: Video = field(default_factory=Video)
    validation: Validation = field(default_factory=Validation)


# What the public release chose otherwise.
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


def load_config(path: Path) -> Config:
    """Read a TOML file. Raises InputError: unreadable, an unknown key (nearest known named), a wrong value."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except ValueError as error:
        raise InputError(f"{path}: is not TOML ({error}); mend that line") from error
    try:
        config = make_config(values)
        return replace(config, data=str(path.parent / config.data), output=str(path.parent / config.output))
    except (ValueError, InputError) as error:
        raise InputError(f"{path}: {error}") from error


def make_config(values: dict[str, Any]) -> Config:
    """The paper's values, or those of values["recipe"], with values over them. Raises ValueError."""
    recipe = values.get("recipe", "paper")
    if recipe not in RECIPES:
        raise ValueError(f"recipe: is {recipe!r:.80}, not one of {', '.join(RECIPES)}")
    config = _over(Config(), _RELEASE if recipe == "release" else {}, "")
    config = _over(config, values, "")
    if config.space not in ("bfm09", "face478"):
        raise ValueError(f"space: is {config.space!r:.80}, not one of bfm09, face478")
    if config.model.start not in STARTS:
        raise ValueError(f"model.start: is {config.model.start!r:.80}, not one of {', '.join(STARTS)}")
    if config.model.prediction not in PREDICTIONS:
        raise ValueError(f"model.prediction: is {config.model.prediction!r:.80}, not one of {', '.join(PREDICTIONS)}")
    if config.model.start != "scratch" and config.model.prediction != "epsilon":
        raise ValueError('model.prediction: Stable Diffusion 1.5 predicts epsilon; only start = "scratch" may differ')
    if config.model.start == "scratch" and config.space != "face478":
        raise ValueError('model.start: a model from scratch speaks face478; set space = "face478"')
    if config.model.tokens not in TOKENS:
        raise ValueError(f"model.tokens: is {config.model.tokens!r:.80}, not one of {', '.join(TOKENS)}")
    if config.model.tokens == "release" and (config.space, config.model.start) != ("bfm09", "sd15"):
        raise ValueError(
            'model.tokens: the release\'s are made of bfm09 coefficients beside Stable Diffusion; set space = "bfm09" and '
            '[model] start = "sd15", or [model] tokens = "paper"'
        )
    if config.precision not in PRECISIONS:
        raise ValueError(f"precision: is {config.precision!r:.80}, not one of {', '.join(PRECISIONS[1:])} or empty")
    least, model = 64, config.model
    if model.start == "scratch":  # what its autoencoder and its UNet can halve
        least = max(8, model.autoencoder.reduction * 2 ** (len(model.size.channels) - 1))
    if not least <= config.size <= 512 or config.size % least:
        raise ValueError(f"size: is {config.size}, but must be a multiple of {least} up to 512")
    for name in ("save_every", "keep"):
        if not getattr(config, name):
            raise ValueError(f"{name}: must be 1 or more")
    if config.validation.share >= 1:
        raise ValueError(f"validation.share: must be below 1, is {config.validation.share}")
    for name, least, most in (("clips", 1, 100), ("steps", 1, 1000), ("guidance", 1, 30)):
        if not least <= getattr(config.validation, name) <= most:
            raise ValueError(f"validation.{name}: must be {least} to {most}, is {getattr(config.validation, name)}")
    for stage in ("image", "video"):
        _check_stage(stage, getattr(config, stage))
    return config


def _check_stage(name: str, stage: Image | Video) -> None:
    optimizer = stage.optimizer
    for key in ("steps", "batch", "learning_rate"):
        if not getattr(optimizer, key):
            raise ValueError(f"{name}.optimizer.{key}: must be above 0")
    shares = {"token_dropout": stage.token_dropout, "optimizer.ema": optimizer.ema}
    if isinstance(stage, Video):
        shares["none_known"] = stage.none_known
    for key, value in shares.items():
        if value > 1:
            raise ValueError(f"{name}.{key}: must be 0 to 1, is {value}")
    if optimizer.schedule not in SCHEDULES:
        raise ValueError(f"{name}.optimizer.schedule: is {optimizer.schedule!r:.80}, not one of {', '.join(SCHEDULES)}")
    for key in ("clip",) if isinstance(stage, Video) else ("temperature",):
        if not getattr(stage, key):
            raise ValueError(f"{name}.{key}: must be above 0")
    if isinstance(stage, Video) and stage.most_known >= stage.clip:
        raise ValueError(f"{name}.most_known: must be below {name}.clip")


def _over(base: Any, values: dict[str, Any], where: str) -> Any:
    """The dataclass `base` with values in place of its own, section by section."""
    known = [item.name for item in fields(base)]
    changes = {}
    for key, value in values.items():
        name = f"{where}{key}"
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.4)
            hint = f"did you mean {where}{near[0]}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"{name!r:.120} is no setting; {hint}")
        own = getattr(base, key)
        if is_dataclass(own):
            if not isinstance(value, dict):
                raise ValueError(f"{name}: must be a section, [{name}]")
            changes[key] = _over(own, value, f"{name}.")
            continue
        if type(own) is float and type(value) is int:
            value = float(value)
        if type(own) is tuple and type(value) is list and value and all(type(item) is type(own[0]) for item in value):
            value = tuple(value)
        if type(value) is not type(own):
            raise ValueError(f"{name}: must be of type {_kind(own)}, is {value!r:.80}")
        if type(own) in (int, float) and not 0 <= value < 1e12:
            raise ValueError(f"{name}: must be 0 or more and finite, is {value}")
        changes[key] = value
    return replace(base, **changes)


def _kind(value: Any) -> str:
    return f"list of {type(value[0]).__name__}" if isinstance(value, tuple) else type(value).__name__
