"""Which engine runs, and why; said with every result."""

from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.errors import InputError, MimafaceError, WeightsError
from mimaface_cli.evaluation.preference import judge
from mimaface_cli.weights import small_model as mini
from mimaface_cli.weights.locate import find_missing_files

MESH, DIFFUSION = "mesh", "diffusion"
SPACES = {MESH: "face478", DIFFUSION: "bfm09"}
ASSETS = ("mimaface", "vae")  # what the diffusion engine needs
SPEECH = "sadtalker"  # and what it needs for speech besides


@dataclass(frozen=True)
class Engine:
    """name; reason: why it was taken; mini: the folder of the small model with which the diffusion engine runs, None for
    the released one; space: of the coefficients it speaks.
    """

    name: str
    reason: str
    mini: Path | None = None

    @property
    def space(self) -> str:
        return SPACES[MESH] if self.mini else SPACES[self.name]


def choose_engine(
    wanted: str,
    device: str = "auto",
    *,
    moving: bool = False,
    space: str | None = None,
    name: str = "the track",
    spoken: bool = False,
) -> Engine:
    """The engine that runs. wanted: auto, mesh or diffusion; device: as for `choose_runtime`; moving: the source is a
    video; space: of the driver's track, None for a driver of pictures or sound; name: of the track; spoken: the driver
    is a sound, for which diffusion needs SadTalker's networks too.

    auto takes diffusion where its weights and a CUDA device are and it can take the inputs, else mesh, or mimaface-mini
    where its card has it score better than mesh. Raises WeightsError or InputError for an engine that cannot run.
    """
    if wanted == MESH:
        return Engine(MESH, "asked for")
    if wanted == DIFFUSION:
        return _diffusion(device, moving, space)
    chosen = _auto(device, moving, space, name, spoken)
    if chosen.name == MESH and not moving and (better := _better_mini()):
        return better
    return chosen


def _auto(device: str, moving: bool, space: str | None, name: str, spoken: bool) -> Engine:
    if space is not None:
        fitting = next((name for name, own in SPACES.items() if own == space), MESH)
        if fitting == MESH:
            return Engine(MESH, "the track is in its space")
        try:
            _diffusion(device, moving, space)
        except MimafaceError as error:
            raise InputError(
                f"{name}: is in the {space} space, which only the diffusion engine speaks ({error}); or re-run mimaface "
                f"extract --space {SPACES[MESH]} on what it was made from"
            ) from error
        return Engine(DIFFUSION, "the track is in its space")
    if moving:
        return Engine(MESH, "the source is a video")
    absent = missing_files()
    if absent:
        return Engine(MESH, "embedded default: no diffusion weights are installed")
    if spoken and find_missing_files(SPEECH):
        return Engine(MESH, "embedded default: SadTalker's weights, by which diffusion would speak, are not installed")
    if device != "cpu" and not has_cuda():
        return Engine(
            MESH, "embedded default: no CUDA device; --engine diffusion --device cpu runs the installed weights, slowly"
        )
    if device == "cpu":
        return Engine(MESH, "embedded default on the CPU")
    return Engine(DIFFUSION, "its weights and a CUDA device are here")


def _better_mini() -> Engine | None:
    """mimaface-mini, where it is installed and measured to be better than mesh."""
    if (folder := mini.find_small_model()) is None:
        return None
    card = mini.read_card(folder)
    verdict = judge(card.scores)
    return Engine(DIFFUSION, f"{card.name} {verdict.why}", folder) if verdict.better else None


def _diffusion(device: str, moving: bool, space: str | None) -> Engine:
    if moving:
        raise InputError("--engine diffusion: animates a photo, not a video; use --engine mesh, or give a frame of it")
    absent = missing_files()
    folder = mini.find_small_model() if absent and space in (None, mini.SPACE) else None
    if folder is not None:
        card = mini.read_card(folder)
        return Engine(DIFFUSION, f"asked for; the released weights are not installed: {card.name} draws", folder)
    if absent:
        raise WeightsError(
            f"--engine diffusion: {len(absent)} of its files are not installed ({', '.join(absent[:3])}"
            f"{', ...' if len(absent) > 3 else ''}); run mimaface weights pull, or use --engine mesh"
        )
    if device == "auto" and not has_cuda():
        raise WeightsError(
            "--engine diffusion: there is no CUDA device here; --device cpu runs it on the CPU (minutes to hours for a "
            "second of video), --engine mesh needs no device"
        )
    return Engine(DIFFUSION, "asked for")


def missing_files() -> list[str]:
    """Files of the diffusion engine that are not installed."""
    return [path for name in ASSETS for path in find_missing_files(name)]


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
