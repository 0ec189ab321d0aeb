"""The build of the mouth network."""

from pathlib import Path

from mimaface_cli.builders.mouth478.mouth_batches import MouthClip
from mimaface_cli.builders.mouth478.mouth_card import describe_figures, write_card
from mimaface_cli.builders.mouth478.mouth_clips import MouthSamples, make_mouth_samples
from mimaface_cli.builders.mouth478.mouth_evaluation import draw_sheet, evaluate_network
from mimaface_cli.builders.mouth478.mouth_training import build_mouth_task
from mimaface_cli.builders.part_build import PartBuild
from mimaface_cli.builders.part_torch import PartUNet
from mimaface_cli.engines.mesh.mouth_crop import MOUTH


def _load_clip(name: str, person: str, path: Path) -> MouthClip:
    return MouthClip(name, person, MouthSamples.load(path))


def _evaluate(network: PartUNet, people: list[list[MouthClip]]) -> tuple[str, str]:
    figures = evaluate_network(network, people)
    return describe_figures(figures, len(people)), str(figures[0])


MOUTH_BUILD = PartBuild(
    part=MOUTH,
    make_samples=make_mouth_samples,
    load_clip=_load_clip,
    build_task=build_mouth_task,
    evaluate=_evaluate,
    draw_sheet=draw_sheet,
    write_card=write_card,
)
