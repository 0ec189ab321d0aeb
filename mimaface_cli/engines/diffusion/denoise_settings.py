"""How a video is denoised, as data: the release's numbers by default, and what may be traded for speed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from mimaface_cli.errors import InputError

SAMPLERS = ("euler", "dpm++", "unipc")


@dataclass(frozen=True)
class Settings:
    """Release defaults: 12-frame clips that share 3, 25 Euler steps, guidance 5 throughout, the same noise every clip.

    length: frames of a clip. overlap: frames carried from the clip before (ICA). sampler: euler, dpm++ or unipc.
    guided: the share of the steps, from and to, in which guidance runs; outside, only the conditional half is computed.
    token_reuse: share of the steps after which token attention is taken from the step before (1: never).
    deep_reuse: the deep blocks run in every n-th step only (1: in all). warm_start: 0, or the share of the steps that is
    run, beginning from the mesh engine's frame instead of noise. per_frame_tokens: each frame its own tokens instead of
    the clip's average (the paper's tokens always are). Raises InputError for values that make no sense.
    """

    length: int = 12
    overlap: int = 3
    sampler: str = "euler"
    steps: int = 25
    guidance: float = 5.0
    guided: tuple[float, float] = (0.0, 1.0)
    token_reuse: float = 1.0
    deep_reuse: int = 1
    warm_start: float = 0.0
    per_frame_tokens: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.guided
        for name, sound, need in (
            ("clip-length", 1 <= self.length <= 64, "1 to 64 frames"),
            ("overlap", 0 <= self.overlap < self.length, "0 to one less than the clip's frames"),
            ("sampler", self.sampler in SAMPLERS, ", ".join(SAMPLERS)),
            ("steps", 1 <= self.steps <= 1000, "1 to 1000"),
            ("guidance", 1 <= self.guidance <= 30, "1 (off) to 30"),
            ("guided", 0 <= low <= high <= 1, "two shares of the steps from 0 to 1, such as 0:0.6"),
            ("token-reuse", 0 < self.token_reuse <= 1, "above 0, up to 1 (never)"),
            ("deep-reuse", 1 <= self.deep_reuse <= 10, "1 (never) to 10"),
            ("warm-start", 0 <= self.warm_start <= 1, "0 (off) to 1"),
            ("seed", 0 <= self.seed < 2**63, "a whole number from 0"),
        ):
            if not sound:
                raise InputError(f"--{name}: must be {need}")

    @property
    def first_step(self) -> int:
        """The step at which a warm start enters; 0 from pure noise."""
        return self.steps - max(1, round(self.steps * self.warm_start)) if self.warm_start else 0

    def guidance_at(self, step: int) -> float:
        """Guidance scale of a step, counted from 0; 1 outside the guided share."""
        low, high = self.guided
        return self.guidance if low * self.steps <= step < high * self.steps else 1.0


# What has been measured of them is in the README. `release` alone is known to look as its makers meant.
PRESETS: Mapping[str, Settings] = {
    "release": Settings(),
    "balanced": Settings(sampler="dpm++", steps=15, guided=(0.0, 0.6), length=16),
    "fast": Settings(sampler="unipc", steps=8, guided=(0.0, 0.5), token_reuse=0.5, deep_reuse=2, length=24),
}


def preset(name: str, **changes: Any) -> Settings:
    """A preset with some values replaced; None leaves the preset's. Raises InputError for an unknown name."""
    if name not in PRESETS:
        raise InputError(f"--preset {name}: choose {', '.join(PRESETS)}")
    known = {item.name for item in fields(Settings)}
    assert changes.keys() <= known, changes.keys() - known
    return replace(PRESETS[name], **{key: value for key, value in changes.items() if value is not None})
