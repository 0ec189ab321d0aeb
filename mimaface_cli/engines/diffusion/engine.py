"""The diffusion engine: the paper's model, with the released checkpoint or a small model of this project."""

from pathlib import Path
from typing import Protocol

from mimaface_cli.engines.base import EngineQuery, FrameStream, Readiness, RenderRequest
from mimaface_cli.engines.diffusion.card_verdict import judge_scores
from mimaface_cli.errors import InputError, brief
from mimaface_cli.motion.track_meta import BFM09, FACE478
from mimaface_cli.weights import small_model
from mimaface_cli.weights.locate import find_missing_files

RELEASED_WEIGHTS = ("mimaface", "vae")
SPEECH_WEIGHTS = "sadtalker"
_MAX_LISTED = 3


class CheckpointKind(Protocol):
    """A kind of checkpoint that the diffusion engine runs with."""

    space: str

    def assets(self, query: EngineQuery) -> list[str | Path]:
        """Return the models that a result depends on; see `Engine.assets`."""
        ...

    def prepare(self, request: RenderRequest) -> FrameStream:
        """Start rendering; see `Engine.prepare`."""
        ...


class ReleasedCheckpoint:
    """The paper's released networks, which consume bfm09 coefficients."""

    space = BFM09

    def assets(self, query: EngineQuery) -> list[str | Path]:
        """Return the released weights, SadTalker's for speech, and the face model of a warm start."""
        speech: list[str | Path] = []
        if query.driver_is_speech:
            from mimaface_cli.speech.sadtalker import find_sadtalker_weights
            from mimaface_cli.speech.speech_options import SpeechOptions

            speech.append(find_sadtalker_weights(SpeechOptions(space=BFM09)))
        warm_start = ["face478"] if query.diffusion.settings.warm_start > 0 else []
        return ["face_landmarker", *RELEASED_WEIGHTS, *speech, *warm_start]

    def prepare(self, request: RenderRequest) -> FrameStream:
        """Start rendering."""
        from mimaface_cli.engines.diffusion.released import prepare

        return prepare(request)


class SmallCheckpoint:
    """A small model of this project, which consumes face478 coefficients.

    Args:
        folder: Folder of the model.
    """

    space = FACE478

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def assets(self, query: EngineQuery) -> list[str | Path]:
        """Return the embedded models and the files of the model."""
        speech = ["speech478"] if query.driver_is_speech else []
        return ["face_landmarker", "face478", *speech, *sorted(self.folder.glob("*.safetensors"))]

    def prepare(self, request: RenderRequest) -> FrameStream:
        """Start rendering."""
        from mimaface_cli.engines.diffusion.small import prepare

        return prepare(self.folder, request)


class DiffusionEngine:
    """The paper's model.

    Args:
        checkpoint: The checkpoint; None for the released one.
    """

    name = "diffusion"
    options_field: str | None = "diffusion"

    def __init__(self, checkpoint: CheckpointKind | None = None) -> None:
        self.checkpoint = checkpoint or ReleasedCheckpoint()

    @property
    def space(self) -> str:
        """Coefficient space of the checkpoint."""
        return self.checkpoint.space

    def assets(self, query: EngineQuery) -> list[str | Path]:
        """Return the models that a result depends on."""
        return self.checkpoint.assets(query)

    def problems(self) -> list[str]:
        """Return the missing weights and the missing device."""
        problems = []
        if absent := missing_released_files():
            problems.append(f"{len(absent)} weights files (mimaface weights pull)")
        if not has_accelerator():
            problems.append("a GPU (on request, the CPU is used, slowly)")
        return problems

    def uses_gpu(self) -> bool:
        """Return whether the released weights are installed; a small model is fast enough on the CPU."""
        return not missing_released_files()

    def is_generative(self) -> bool:
        """Return True: the networks render every pixel."""
        return True

    def prepare(self, request: RenderRequest) -> FrameStream:
        """Start rendering. Raises InputError or WeightsError."""
        return self.checkpoint.prepare(request)

    def readiness(self, query: EngineQuery) -> Readiness:
        """Return whether the released checkpoint or a small model can run.

        Automatic selection takes the released checkpoint if its weights and a GPU are present, and a small
        model if it scores better than the mesh engine on its card.
        """
        released = self._released_readiness(query)
        folder = small_model.find_small_model()
        if folder is None or query.source_is_video or query.track_space == BFM09:
            return released
        if not query.is_automatic:
            return _replacement_readiness(folder) if missing_released_files() else released
        is_released_usable = released.engine is not None and query.track_space is None
        if is_released_usable and released.is_recommended:
            return released
        small = _small_readiness(folder)
        return small if small.is_recommended else released

    def _released_readiness(self, query: EngineQuery) -> Readiness:
        if query.source_is_video:
            return Readiness(
                None,
                "the source is a video",
                problem="the diffusion engine animates a photo, not a video. Set `engine=mesh`, or give one frame.",
                error=InputError,
            )
        if absent := missing_released_files():
            listed = ", ".join(absent[:_MAX_LISTED]) + (", ..." if len(absent) > _MAX_LISTED else "")
            return Readiness(
                None,
                "no diffusion weights are installed",
                problem=f"{len(absent)} files of the diffusion engine are not installed ({listed}). Run "
                f"mimaface weights pull{'' if query.track_space == BFM09 else ', or set `engine=mesh`'}.",
            )
        if query.track_space is not None and query.diffusion.settings.warm_start > 0:
            return Readiness(
                None,
                "the driver is a track, and a warm start needs the driver's video",
                problem=f"{query.driver_name} is a track, but a warm start needs the driver's video, to extract its "
                "motion in face478 too. Set `warm_start=0`, or give the video.",
                error=InputError,
            )
        device = query.diffusion.device
        if device == "auto" and not has_accelerator():
            return Readiness(
                None,
                "no GPU (on request, the installed weights run on the CPU, slowly)",
                problem=_explain_missing_device(),
            )
        if query.driver_is_speech and find_missing_files(SPEECH_WEIGHTS):
            return Readiness(self, "SadTalker's weights, which drive it by speech, are missing", is_recommended=False)
        if device == "cpu":
            return Readiness(self, "the device is the CPU", is_recommended=False)
        if not has_accelerator():
            return Readiness(self, "no GPU", is_recommended=False)
        return Readiness(self, "its weights and a GPU are present")


def _small_readiness(folder: Path) -> Readiness:
    """Return the readiness of a small model; it is recommended if it scores better than mesh on its card."""
    card = small_model.read_card(folder)
    verdict = judge_scores(card.scores)
    engine = DiffusionEngine(SmallCheckpoint(folder))
    return Readiness(engine, f"{card.name} {verdict.reason}", is_recommended=verdict.is_better)


def _replacement_readiness(folder: Path) -> Readiness:
    """Return the readiness of a small model that replaces the missing released weights."""
    card = small_model.read_card(folder)
    replacement = f"the released weights are not installed, {card.name} is used"
    return Readiness(DiffusionEngine(SmallCheckpoint(folder)), replacement=replacement, is_recommended=False)


def missing_released_files() -> list[str]:
    """Return the files of the released checkpoint that are not installed."""
    return [path for name in RELEASED_WEIGHTS for path in find_missing_files(name)]


def has_accelerator() -> bool:
    """Return whether PyTorch can be loaded and has a GPU."""
    try:
        from mimaface_cli.engines.diffusion.device import find_accelerator
    except (ImportError, OSError):  # OSError: a system library cannot be loaded
        return False
    return find_accelerator() is not None


def _explain_missing_device() -> str:
    try:
        from mimaface_cli.engines.diffusion.device import explain_missing_device
    except (ImportError, OSError) as error:
        return f"PyTorch cannot be loaded ({brief(error)}). Install it, or set `engine=mesh`."
    return explain_missing_device()
