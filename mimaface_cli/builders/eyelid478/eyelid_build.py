"""The build of the eyelid network."""

from pathlib import Path

from mimaface_cli.builders.eyelid478.eyelid_batches import EyelidClip
from mimaface_cli.builders.eyelid478.eyelid_card import describe_figures, write_card
from mimaface_cli.builders.eyelid478.eyelid_clips import EyelidSamples, make_eyelid_samples
from mimaface_cli.builders.eyelid478.eyelid_evaluation import draw_sheet, evaluate_eyelids
from mimaface_cli.builders.eyelid478.eyelid_training import build_eyelid_task
from mimaface_cli.builders.part_build import PartBuild
from mimaface_cli.builders.part_torch import PartUNet
from mimaface_cli.engines.mesh.eyelid_crop import EYELID


def _load_clip(name: str, person: str, path: Path) -> EyelidClip:
    return EyelidClip(name, person, EyelidSamples.load(path))


def _evaluate(network: PartUNet, people: list[list[EyelidClip]]) -> tuple[str, str]:
    figures = evaluate_eyelids(network, people)
    if not figures:
        return "The held-out clips show no eye.", "the held-out clips show no eye"
    gains = [f"{name} {painted.psnr:.1f} -> {learned.psnr:.1f} dB" for name, (learned, painted) in figures.items()]
    return describe_figures(figures, len(people)), ", ".join(gains)


EYELID_BUILD = PartBuild(
    part=EYELID,
    make_samples=make_eyelid_samples,
    load_clip=_load_clip,
    build_task=build_eyelid_task,
    evaluate=_evaluate,
    draw_sheet=draw_sheet,
    write_card=write_card,
)
