"""What is installed here and which engines it is enough for."""

import importlib.metadata
import os
import platform
from typing import Any

from mimaface_cli import __version__
from mimaface_cli.errors import OutputError, WeightsError
from mimaface_cli.motion.cache import Cache
from mimaface_cli.weights.locate import locate

PACKAGES = ("torch", "diffusers", "transformers", "mediapipe", "av", "numpy", "numba", "scipy", "safetensors")


def examine() -> dict[str, Any]:
    """Versions, devices, weights and, for each engine, whether it is ready and what it lacks. Downloads nothing."""
    weights: dict[str, dict[str, str | None]] = {}
    for name in ("face_landmarker", "face478"):
        try:
            weights[name] = {"path": str(locate(name, download=False)), "problem": None}
        except WeightsError as error:
            weights[name] = {"path": None, "problem": str(error)}
    packages = {name: _version(name) for name in PACKAGES}
    embedded = [f"{name}: {entry['problem']}" for name, entry in weights.items() if entry["problem"]]
    embedded += [f"package {name}" for name in ("mediapipe", "av", "numpy", "numba", "scipy") if packages[name] is None]
    cache = Cache()
    try:
        size = cache.size()
    except OutputError:
        size = 0
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpus": os.cpu_count(),
        "cuda": _cuda(packages["torch"]),
        "packages": packages,
        "weights": weights,
        "cache": {"folder": str(cache.folder), "bytes": size},
        "engines": {
            "mesh": {"ready": not embedded, "missing": embedded},
            "diffusion": {"ready": False, "missing": ["this version cannot load its weights yet"]},
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cuda(torch_version: str | None) -> str:
    if torch_version is None:
        return "torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return "none"
    return ", ".join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
