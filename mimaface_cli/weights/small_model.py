"""Folder and model card of mimaface-mini, a small diffusion model in the face478 space.

It is the paper's model at a small size. Its render condition is the mesh engine's textured frame. The project does not
ship one yet: `mimaface train` produces it and stores it in the weights folder.
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
SMALL_MODEL_FILES = (
    "unet.json",
    "unet.safetensors",
    "mia.safetensors",
    "clip.json",
    "clip.safetensors",
    "vae.json",
    "vae.safetensors",
    CARD_FILE,
)
SPACE = "face478"
CONDITIONS = ("textured", "render")
PREDICTIONS = ("epsilon", "v", "sample")
MAX_SIZE = 1024


@dataclass(frozen=True)
class ModelCard:
    """Model card of a small model: how to run it, and its metric scores.

    Attributes:
        name: One line of text.
        size: Side of the square frames in pixels, a multiple of 8 from 16 to MAX_SIZE.
        condition: Render condition: "textured" (the mesh engine's frame) or "render" (the paper's, rendered from the
            coefficients alone).
        prediction: What the UNet predicts: "epsilon" (the noise), "v", or "sample" (the clean latents).
        settings: Denoising settings, as in `mimaface_cli.engines.diffusion.denoise_settings.DenoiseSettings`.
        scores: Metric means by engine ("mesh", "diffusion") and metric name of `mimaface evaluate`, over the same
            pairs of held-out people; empty if not measured.
        about: Notes for readers: data, license, steps and failures.

    Raises:
        ValueError: For an invalid field; the message starts with its name.
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
        if type(self.size) is not int or not 16 <= self.size <= MAX_SIZE or self.size % 8:
            raise ValueError(f"size: must be a multiple of 8 from 16 to {MAX_SIZE}")
        if self.condition not in CONDITIONS:
            raise ValueError(f"condition: must be {' or '.join(CONDITIONS)}")
        if self.prediction not in PREDICTIONS:
            raise ValueError(f"prediction: must be {', '.join(PREDICTIONS)}")
        for name in ("settings", "scores", "about"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name}: must be an object")
        for engine, means in self.scores.items():
            if not isinstance(means, dict) or not all(_is_finite_number(value) for value in means.values()):
                raise ValueError(f"scores: {engine}: must hold numbers")


def find_small_model() -> Path | None:
    """Return the folder of an installed mimaface-mini, or None."""
    folder = weights_folder() / SMALL_MODEL_FOLDER
    return folder if all((folder / name).is_file() for name in SMALL_MODEL_FILES) else None


def read_card(folder: Path) -> ModelCard:
    """Read the model card in a small model's folder.

    Raises:
        WeightsError: The card is missing, invalid, or describes a model of another coefficient space.
    """
    path = folder / CARD_FILE
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict) or values.pop("space", None) != SPACE:
            raise ValueError(f"does not describe a model in the {SPACE} space")
        return ModelCard(**values)
    except (OSError, TypeError, ValueError, RecursionError) as error:
        problem = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
        raise WeightsError(
            f"{path}: {problem}. Restore the card that came with the model, or remove the folder."
        ) from error


def write_card(folder: Path, card: ModelCard) -> None:
    """Write or replace the model card in a small model's folder.

    Raises:
        OutputError: The card cannot be written.
    """
    with atomic_path(folder / CARD_FILE) as temporary:
        temporary.write_text(json.dumps({"space": SPACE, **asdict(card)}, indent=1), encoding="utf-8")


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
