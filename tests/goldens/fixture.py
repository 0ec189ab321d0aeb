"""A fixture's files, and the checks that compare computed numbers with the stored ones."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.goldens.fill import ALIASES, classify, fill


@dataclass(frozen=True)
class Check:
    """One comparison: it passes when error <= tolerance (never for NaN)."""

    name: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance

    @property
    def severity(self) -> float:
        """The share of the tolerance that is used up; infinite for NaN."""
        if self.tolerance > 0 and np.isfinite(self.error):
            return self.error / self.tolerance
        return 0.0 if self.passed else np.inf


@dataclass(frozen=True)
class Fixture:
    """A fixture: NAME.json holds conventions, configuration and tolerances, an optional NAME.npz arrays."""

    path: Path

    @cached_property
    def spec(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        return load_arrays(self.path.with_suffix(".npz"))

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def neighbor(self, name: str) -> "Fixture":
        """Return another fixture of the same folder."""
        return Fixture(self.path.with_name(f"{name}.json"))

    def fill(self, module: nn.Module) -> Check:
        """Set the module to the fixture's weights; check its keys, shapes and kinds against the fixture's list."""
        fill(module.eval(), self.spec["seed_string"])
        return same_keys(module, self.spec["state_dict"])


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def same_keys(module: nn.Module, rows: Iterable[list]) -> Check:
    """Count the keys that are missing, unexpected, or of another shape or kind; none may be."""
    expected = {key: (tuple(shape), ALIASES.get(kind, kind)) for key, shape, kind in rows}
    kinds = classify(module)
    differing = [key for key in expected.keys() | kinds.keys() if expected.get(key) != kinds.get(key)]
    return Check("state_dict keys", len(differing), 0)


def absolute(name: str, actual, expected, atol: float, rtol: float = 0.0) -> Check:
    """Check |a - b| <= atol + rtol |b| everywhere; the reported error is the one closest to failing."""
    difference, expected = _difference(actual, expected)
    allowed = atol + rtol * np.abs(expected)
    if difference.size == 0 or not np.isfinite(difference).all():
        return Check(name, np.inf, atol)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(difference > 0, difference / allowed, 0)
    worst = np.unravel_index(used.argmax(), used.shape)
    return Check(name, float(difference[worst]), float(allowed[worst]))


def relative_to_max(name: str, actual, expected, tolerance: float) -> Check:
    """Check max |a - b| <= tolerance max |b|."""
    difference, expected = _difference(actual, expected)
    scale = np.abs(expected).max(initial=0)
    if difference.size == 0 or not np.isfinite(difference).all():
        return Check(name, np.inf, tolerance)
    return Check(name, float(difference.max() / scale) if scale else float(difference.max()), tolerance)


def share_beyond(name: str, actual, expected, atol: float, share: float, channel_axis: int | None = None) -> Check:
    """Check the share of elements (of pixels with a channel axis) that differ by more than atol."""
    difference, _ = _difference(actual, expected)
    if difference.size == 0 or np.isinf(difference).any():
        return Check(name, np.inf, share)
    if channel_axis is not None:
        difference = difference.max(channel_axis)
    return Check(name, float(np.mean(~(difference <= atol))), share)


def _difference(actual, expected) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(actual, Tensor):
        actual = actual.detach().cpu()
        actual = (actual.float() if actual.dtype in (torch.bfloat16, torch.float16) else actual).numpy()
    actual = np.asarray(actual)
    expected = np.asarray(expected)
    if actual.shape != expected.shape:
        return np.full(1, np.inf), np.ones(1)
    return np.abs(actual.astype(np.float64) - expected.astype(np.float64)), expected.astype(np.float64)
