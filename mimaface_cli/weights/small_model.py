"""mimaface-mini's folder and card: a small model of the project's own over face478, and what it is worth.

It is the paper's model at a small size, its render condition the mesh engine's textured frame. None ships yet: what
`mimaface train` made is used from the weights folder.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mimaface_cli.errors import WeightsError
from mimaface_cli.files import atomic_path
from mimaface_cli.weights.locate import weights_folder

SMALL_MODEL_FOLDER, CARD_FILE = "mini", "card.json"
SMALL_MODEL_FILES = ("unet.json", "unet.safetensors", "mia.safetensors", "clip.json", "clip.safetensors", "vae.json")
SMALL_MODEL_FILES += ("vae.safetensors", CARD_FILE)
SPACE = "face478"
CONDITIONS = ("textured", "render")
PREDICTIONS = ("epsilon", "v", "sample")
LARGEST = 1024


@dataclass(frozen=True)
class ModelCard:
    """name; size: pixels of a side of the square it draws; condition: textured (the mesh engine's frame) or render (the
    paper's, of coefficients alone); prediction: what its UNet gives, the noise (epsilon), v or the clean latents
    (sample); settings: what to denoise with, as in `mimaface_cli.engines.diffusion.denoise_settings.DenoiseSettings`; scores: engine (mesh,
    diffusion) to figure (as `mimaface evaluate` names them) to its mean over the same pairs of people left out, empty
    where never measured; about: data, license, steps and failures, for people. Raises ValueError.
    """

    name: str
    size: int
    condition: str = "textured"
    prediction: str = "epsilon"
    settings: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isprintable() or not 0 < len(self.name) <= 100:
            raise ValueError("name: must be a line of text")
        if type(self.size) is not int or not 16 <= self.size <= LARGEST or self.size % 8:
            raise ValueError(f"size: must be a multiple of 8 from 16 to {LARGEST}")
        if self.condition not in CONDITIONS:
            raise ValueError(f"condition: must be {' or '.join(CONDITIONS)}")
        if self.prediction not in PREDICTIONS:
            raise ValueError(f"prediction: must be {', '.join(PREDICTIONS)}")
        for name in ("settings", "scores", "about"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name}: must be an object")
        for engine, figures in self.scores.items():
            if not isinstance(figures, dict) or not all(_is_number(value) for value in figures.values()):
                raise ValueError(f"scores: {engine}: must hold numbers")


def find_small_model() -> Path | None:
    """The folder of an installed mimaface-mini, or None."""
    folder = weights_folder() / SMALL_MODEL_FOLDER
    return folder if all((folder / name).is_file() for name in SMALL_MODEL_FILES) else None


def read_card(folder: Path) -> ModelCard:
    """Raises WeightsError."""
    path = folder / CARD_FILE
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict) or values.pop("space", None) != SPACE:
            raise ValueError(f"is not of a model over {SPACE}")
        return ModelCard(**values)
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: {error}; put the card there that came with the model, or remove the folder"
        ) from error


def write_card(folder: Path, card: ModelCard) -> None:
    """Write or replace the card, such as when the model has been measured. Raises OutputError."""
    with atomic_path(folder / CARD_FILE) as temporary:
        temporary.write_text(json.dumps({"space": SPACE, **asdict(card)}, indent=1), encoding="utf-8")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
