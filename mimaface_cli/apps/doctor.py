"""Report on the installation: versions, devices, weights, and which engines can run."""

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

PACKAGES = ("torch", "diffusers", "transformers", "mediapipe", "av", "numpy", "numba", "scipy", "safetensors")
_MESH_WEIGHTS = ("face_landmarker", "face478")
# Distribution and module; they are imported because system libraries that OpenCV and MediaPipe need can be missing.
_MESH_MODULES = {"opencv-contrib-python": "cv2"} | {name: name for name in ("mediapipe", "av", "numba", "scipy")}
_OPENCV_WHEELS = tuple(
    f"opencv-{contrib}python{headless}" for contrib in ("", "contrib-") for headless in ("", "-headless")
)


def examine() -> dict[str, Any]:
    """Return the report; downloads nothing.

    Returns:
        Values that JSON can hold: version, python, platform, cpus, cuda, packages (name to version or None), weights
        (name to path and problem), cache (folder and bytes), engines (name to ready and what is missing), warnings.
    """
    weights = {name: _weights_state(name) for name in (*_MESH_WEIGHTS, "speech478")}
    mesh_problems = [problem for name in _MESH_WEIGHTS if (problem := weights[name]["problem"])]
    mesh_problems += [
        problem for package, module in _MESH_MODULES.items() if (problem := _import_problem(package, module))
    ]
    cuda = _cuda()
    diffusion_problems = []
    if files := missing_files():
        diffusion_problems.append(f"{len(files)} weights files (run mimaface weights pull)")
    if cuda == "none" or cuda.startswith("package"):
        diffusion_problems.append("a CUDA device (--device cpu uses the CPU, slowly)")
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
        "packages": {name: _version(name) for name in PACKAGES},
        "weights": weights,
        "cache": {"folder": str(cache.folder), "bytes": size},
        "engines": {
            "mesh": {"ready": not mesh_problems, "missing": mesh_problems},
            "diffusion": {"ready": not diffusion_problems, "missing": diffusion_problems},
        },
        "warnings": _opencv_warnings(),
    }


def _weights_state(name: str) -> dict[str, str | None]:
    """Return the path of an asset, or why it cannot be used."""
    try:
        return {"path": str(locate(name, download=False)), "problem": None}
    except WeightsError as error:
        return {"path": None, "problem": str(error)}


def _version(package: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _opencv_warnings() -> list[str]:
    """Return a warning if OpenCV wheels of different versions are installed: all of them write the package cv2."""
    versions = {name: version for name in _OPENCV_WHEELS if (version := _version(name))}
    if len(set(versions.values())) < 2:
        return []
    wheels = " and ".join(f"{name} {version}" for name, version in versions.items())
    return [
        f"{wheels} are installed over each other, in the same package cv2. Install the same version of all: "
        f"pip install {' '.join(f'{name}==VERSION' for name in versions)}"
    ]


def _import_problem(package: str, module: str) -> str | None:
    """Return why a module cannot be imported, or None."""
    try:
        with native_silence():
            importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a system library that cannot be loaded
        return f"package {package} cannot be loaded ({' '.join(str(error).split())})"
    return None


def _cuda() -> str:
    """Return the names of the CUDA devices, "none", or why PyTorch cannot be loaded."""
    if problem := _import_problem("torch", "torch"):
        return problem
    import torch

    if not torch.cuda.is_available():
        return "none"
    return ", ".join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
