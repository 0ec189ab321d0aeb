"""What is installed here and which engines it is enough for."""

import importlib
import importlib.metadata
import os
import platform
from typing import Any

from mimaface_cli import __version__
from mimaface_cli.cache import Cache
from mimaface_cli.engines.selection import missing_files
from mimaface_cli.errors import OutputError, WeightsError
from mimaface_cli.face.landmarks import native_silence
from mimaface_cli.weights.locate import locate

_MESH_WEIGHTS = ("face_landmarker", "face478")
PACKAGES = ("torch", "diffusers", "transformers", "mediapipe", "av", "numpy", "numba", "scipy", "safetensors")
# Distribution and module; imported for real: on servers OpenCV and MediaPipe may lack libraries of the system.
_MESH_MODULES = {"opencv-contrib-python": "cv2"} | {name: name for name in ("mediapipe", "av", "numba", "scipy")}


def examine() -> dict[str, Any]:
    """Versions, devices, weights and, for each engine, whether it is ready and what it lacks. Downloads nothing."""
    weights: dict[str, dict[str, str | None]] = {}
    for name in (*_MESH_WEIGHTS, "speech478"):
        try:
            weights[name] = {"path": str(locate(name, download=False)), "problem": None}
        except WeightsError as error:
            weights[name] = {"path": None, "problem": str(error)}
    missing = [problem for name in _MESH_WEIGHTS if (problem := weights[name]["problem"])]
    missing += filter(None, (_import_problem(*names) for names in _MESH_MODULES.items()))
    cuda = _cuda()
    lacking = [f"{len(absent)} weights files (mimaface weights pull)"] if (absent := missing_files()) else []
    if cuda == "none" or cuda.startswith("package"):
        lacking.append("a CUDA device (--device cpu runs it on the CPU, slowly)")
    packages = {name: _version(name) for name in PACKAGES}
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
        "cuda": cuda,
        "packages": packages,
        "weights": weights,
        "cache": {"folder": str(cache.folder), "bytes": size},
        "engines": {
            "mesh": {"ready": not missing, "missing": missing},
            "diffusion": {"ready": not lacking, "missing": lacking},
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_problem(package: str, module: str) -> str | None:
    try:
        with native_silence():
            importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library of the system that cannot be loaded
        return f"package {package} cannot be loaded ({' '.join(str(error).split())})"
    return None


def _cuda() -> str:
    if problem := _import_problem("torch", "torch"):
        return problem
    import torch

    if not torch.cuda.is_available():
        return "none"
    return ", ".join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
