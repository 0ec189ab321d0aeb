"""Run the goldens with their networks on a device and in a precision, and measure the errors."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tests.conftest import ROOT
from tests.goldens.__main__ import find_fixtures, run

GOLDENS = ROOT / "tests" / "goldens" / "data"


@contextmanager
def networks_on(device: torch.device, dtype: torch.dtype) -> Generator[None, None, None]:
    """Run every network on a device; what goes in and out stays on the host in float32."""
    call = nn.Module.__call__
    is_inside = False

    def to_device(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        # Vectors such as timesteps are exact in the engine, too.
        is_rounded = value.is_floating_point() and value.dim() > 1
        return value.to(device, dtype if is_rounded else value.dtype)

    def to_host(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.cpu().float() if value.is_floating_point() else value.cpu()

    def run_on_device(module: nn.Module, *arguments: Any, **options: Any) -> Any:
        nonlocal is_inside
        if is_inside:
            return call(module, *arguments, **options)
        is_inside = True
        try:
            nn.Module.to(module, device, dtype)
            arguments, options = tree_map(to_device, (arguments, options))
            return tree_map(to_host, call(module, *arguments, **options))
        finally:
            is_inside = False

    with mock.patch.object(nn.Module, "__call__", run_on_device):
        yield


@contextmanager
def _tf32(is_allowed: bool) -> Generator[None, None, None]:
    """Let a card round the factors of fp32 convolutions and products to 10 bits, or not."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = is_allowed
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def measure_goldens(device: torch.device, dtype: torch.dtype, tf32: bool = False, folder: Path = GOLDENS) -> dict:
    """Return for each golden its largest error as a share of its tolerance, and the name of that check.

    Args:
        device: Device of the networks.
        dtype: Precision of the networks.
        tf32: Whether the card may round the factors of fp32 convolutions and products to 10 bits.
        folder: Folder of the goldens, or one of them.
    """
    results = {}
    with networks_on(device, dtype), _tf32(tf32):
        for path in find_fixtures(folder):
            checks = run(path)
            worst = max(checks, key=lambda check: check.severity)
            results[str(path.relative_to(GOLDENS).with_suffix(""))] = {
                "error": float(f"{worst.error:.3g}"),
                "of_tolerance": float(f"{worst.severity:.3g}"),
                "passed": all(check.passed for check in checks),
                "check": worst.name[:120],
            }
    return results
