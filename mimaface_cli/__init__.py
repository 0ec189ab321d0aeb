"""mimaface: video reenactment from one photo, driven by a video, a motion track or speech.

The names below are the public Python API; docs/python-api.md shows how to use it. They are loaded on first use, so that
importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimaface_cli.apps.animate import AnimateResult, animate, render_frames
    from mimaface_cli.apps.animate_options import AnimateOptions
    from mimaface_cli.apps.edit import EditResult, edit
    from mimaface_cli.apps.edit_options import EditOptions
    from mimaface_cli.apps.edit_track import edit_track
    from mimaface_cli.apps.extract import extract
    from mimaface_cli.apps.source_loading import load_portrait
    from mimaface_cli.apps.speak import speak
    from mimaface_cli.cache import Cache
    from mimaface_cli.drivers.base import Driver
    from mimaface_cli.drivers.registry import register_driver_kind
    from mimaface_cli.engines.base import FrameStream
    from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
    from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
    from mimaface_cli.engines.registry import register_engine
    from mimaface_cli.errors import InputError, MimafaceError, OutputError, WeightsError
    from mimaface_cli.evaluation.catalog import register_metric
    from mimaface_cli.evaluation.compare import SystemComparison, compare_systems
    from mimaface_cli.evaluation.evaluate import evaluate, evaluate_list
    from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
    from mimaface_cli.evaluation.evaluation_result import Evaluation
    from mimaface_cli.face.extract_options import ExtractOptions
    from mimaface_cli.face.portrait import Portrait
    from mimaface_cli.media.encode_options import EncodeOptions
    from mimaface_cli.media.trim import Trim
    from mimaface_cli.motion.retarget_options import RetargetOptions
    from mimaface_cli.motion.track import MotionTrack
    from mimaface_cli.motion.track_loading import load_track
    from mimaface_cli.provenance.provenance_options import ProvenanceOptions
    from mimaface_cli.speech.speech_options import SpeechOptions

__version__ = "0.1.0"

_MODULES = {
    "apps.animate": ("AnimateResult", "animate", "render_frames"),
    "apps.animate_options": ("AnimateOptions",),
    "apps.edit": ("EditResult", "edit"),
    "apps.edit_options": ("EditOptions",),
    "apps.edit_track": ("edit_track",),
    "apps.extract": ("extract",),
    "apps.source_loading": ("load_portrait",),
    "apps.speak": ("speak",),
    "cache": ("Cache",),
    "drivers.base": ("Driver",),
    "drivers.registry": ("register_driver_kind",),
    "engines.base": ("FrameStream",),
    "engines.diffusion.denoise_settings": ("DenoiseSettings",),
    "engines.diffusion.diffusion_options": ("DiffusionOptions",),
    "engines.registry": ("register_engine",),
    "errors": ("InputError", "MimafaceError", "OutputError", "WeightsError"),
    "evaluation.catalog": ("register_metric",),
    "evaluation.compare": ("SystemComparison", "compare_systems"),
    "evaluation.evaluate": ("evaluate", "evaluate_list"),
    "evaluation.evaluate_options": ("EvaluateOptions",),
    "evaluation.evaluation_result": ("Evaluation",),
    "face.extract_options": ("ExtractOptions",),
    "face.portrait": ("Portrait",),
    "media.encode_options": ("EncodeOptions",),
    "media.trim": ("Trim",),
    "motion.retarget_options": ("RetargetOptions",),
    "motion.track": ("MotionTrack",),
    "motion.track_loading": ("load_track",),
    "provenance.provenance_options": ("ProvenanceOptions",),
    "speech.speech_options": ("SpeechOptions",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AnimateOptions",
    "AnimateResult",
    "Cache",
    "DenoiseSettings",
    "DiffusionOptions",
    "Driver",
    "EditOptions",
    "EditResult",
    "EncodeOptions",
    "EvaluateOptions",
    "Evaluation",
    "ExtractOptions",
    "FrameStream",
    "InputError",
    "MimafaceError",
    "MotionTrack",
    "OutputError",
    "Portrait",
    "ProvenanceOptions",
    "RetargetOptions",
    "SpeechOptions",
    "SystemComparison",
    "Trim",
    "WeightsError",
    "animate",
    "compare_systems",
    "edit",
    "edit_track",
    "evaluate",
    "evaluate_list",
    "extract",
    "load_portrait",
    "load_track",
    "register_driver_kind",
    "register_engine",
    "register_metric",
    "render_frames",
    "speak",
]


def __getattr__(name: str) -> Any:
    """Load a public name on its first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*globals(), *__all__})
