"""Settings of the denoising of a video, and their presets."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from mimaface_cli.errors import InputError
from mimaface_cli.options import check_options, option

SAMPLERS = ("euler", "dpm++", "unipc")


@dataclass(frozen=True)
class DenoiseSettings:
    """Settings of the denoising of a video; the defaults are those of the released model.

    Attributes:
        length: Frames of a clip.
        overlap: Frames that each clip takes over from the clip before it (ICA).
        sampler: Name of the sampler.
        steps: Denoising steps of a clip.
        guidance: Scale of classifier-free guidance; 1 is off.
        guided: First and last fraction of the steps between which guidance runs; outside, only the conditional half
            of the batch is computed.
        token_reuse: Fraction of the steps after which token attention is reused from the step before; 1 is never.
        deep_reuse: The deep blocks run in every n-th step only; 1 is every step.
        warm_start: Fraction of the steps to run, starting from the mesh engine's frames instead of noise; 0 is off.
        per_frame_tokens: Whether each frame has its own condition tokens instead of the clip's average (the paper's
            tokens always are per frame).
        seed: Random seed of the noise, which is the same for every clip.
    """

    length: int = option(
        12, minimum=1, maximum=64, metavar="FRAMES", expert=True, help="Frames of a clip, up to 32 with the release."
    )
    overlap: int = option(
        3, metavar="FRAMES", expert=True, help="Frames that each clip takes over from the clip before it."
    )
    sampler: str = option(
        "euler", choices=SAMPLERS, metavar="SAMPLER", expert=True, help="Sampler: euler, dpm++ or unipc."
    )
    steps: int = option(25, minimum=1, maximum=1000, expert=True, help="Denoising steps of a clip.")
    guidance: float = option(5.0, minimum=1, maximum=30, expert=True, help="Guidance scale, 1 (off) to 30.")
    guided: tuple[float, float] = option(
        (0.0, 1.0),
        metavar="FROM:TO",
        expert=True,
        help="Fractions of the steps between which guidance runs, such as 0:0.6; steps without it cost half.",
    )
    token_reuse: float = option(
        1.0,
        above=0,
        maximum=1,
        expert=True,
        help="Fraction of the steps after which token attention is reused; 1 is never.",
    )
    deep_reuse: int = option(
        1, minimum=1, maximum=10, expert=True, help="Run the deep blocks in every n-th step only; 1 is every step."
    )
    warm_start: float = option(
        0.0,
        minimum=0,
        maximum=1,
        expert=True,
        help="Start from the mesh engine's frames and run this fraction of the steps; 0 is off.",
    )
    per_frame_tokens: bool = option(
        False, expert=True, help="Compute condition tokens for each frame instead of the clip's average."
    )
    seed: int = option(
        0,
        minimum=0,
        maximum=2**63 - 1,
        help="Random seed of the noise and of speech-driven head motion.",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 <= self.overlap < self.length:
            raise InputError(
                f"{self.overlap} is out of range. Give at least 0 and less than the clip length of {self.length}.",
                field="overlap",
            )
        low, high = self.guided
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"{low:g}:{high:g} is out of range. Give two fractions of the steps from 0 to 1, such as 0:0.6.",
                field="guided",
            )

    @property
    def first_step(self) -> int:
        """The step at which a warm start begins; 0 without one."""
        return self.steps - max(1, round(self.steps * self.warm_start)) if self.warm_start else 0

    def guidance_at(self, step: int) -> float:
        """Return the guidance scale of a step, counted from 0; 1 outside the guided fraction."""
        low, high = self.guided
        return self.guidance if low * self.steps <= step < high * self.steps else 1.0


PRESETS: Mapping[str, DenoiseSettings] = {
    "release": DenoiseSettings(),
    "balanced": DenoiseSettings(sampler="dpm++", steps=15, guided=(0.0, 0.6), length=16),
    "fast": DenoiseSettings(sampler="unipc", steps=8, guided=(0.0, 0.5), token_reuse=0.5, deep_reuse=2, length=24),
}
"""Settings by name. Only `release` is known to look as the authors of the model intended."""


def build_settings(name: str, **changes: Any) -> DenoiseSettings:
    """Return a preset's settings with changes.

    Args:
        name: Name of the preset.
        **changes: Values by field; None leaves the preset's value.

    Raises:
        InputError: For an unknown preset, and for a value out of range.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}. Choose {', '.join(PRESETS)}.", field="preset")
    known = {item.name for item in fields(DenoiseSettings)}
    assert changes.keys() <= known, changes.keys() - known
    return replace(PRESETS[name], **{key: value for key, value in changes.items() if value is not None})
