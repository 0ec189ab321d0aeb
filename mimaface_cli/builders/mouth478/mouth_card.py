"""The model card of the mouth network."""

from pathlib import Path

from mimaface_cli.builders.clip_samples import PeopleData
from mimaface_cli.builders.mouth478.mouth_batches import MouthClip
from mimaface_cli.builders.mouth478.mouth_evaluation import MouthFigures
from mimaface_cli.builders.part_build_options import PartBuildOptions


def write_card(options: PartBuildOptions, data: PeopleData[MouthClip], figures: str, version: str) -> str:
    """Return the text of the card.

    Args:
        options: Options of the build.
        data: The data.
        figures: Table of the figures on held-out people.
        version: Version of the build.
    """
    pairs = sum(len(clip.samples) for clips in data.training for clip in clips)
    init = f" --init {Path(options.init).name}" if options.init else ""
    return f"""# mouth478, which refines the mouth of the mesh engine (version {version})

A convolutional U-Net with four levels and 0.43 million parameters. It sees a crop of 192×128 pixels around the
rendered mouth, the photo's own mouth, the opening of the lips in both, and the coefficients of lips and jaw. It returns
what to add to the rendered crop: teeth, tongue and shadow inside the lips, and corrections of the lips and the skin.

## Data

{options.about} It was trained on {pairs:,} pairs of consecutive frames of {len(data.training)} people, which the engine
rendered from another frame of the same shot. The network contains no image.

Built with `python -m mimaface_cli.builders.mouth478 FOLDER -o {options.output.name} --steps {options.steps} --seed
{options.seed}{init}`.

## Measurements

{figures}

## Limits

Teeth that the photo does not show are invented: they are plausible, not the person's own. Faces in the data are mostly
seen from the front, at a mouth width of 40 to 100 pixels; larger mouths are painted at that sharpness. Wide laughs are
rare in the data.
"""


def describe_figures(figures: tuple[MouthFigures, MouthFigures], people: int) -> str:
    """Return the table of figures of the network's mouths and of the engine's, on a number of held-out people."""
    learned, painted = figures
    return f"""On {people} people that were held out, {learned.count} frames, each rendered from the most closed mouth
of its shot:

| figure | painted | learned |
| --- | --- | --- |
| PSNR of the crop | {painted.crop:.1f} dB | {learned.crop:.1f} dB |
| PSNR inside the rendered lips, open mouths | {painted.opening:.1f} dB | {learned.opening:.1f} dB |
| sharpness around the lips, relative to the truth | {painted.sharpness:.2f} | {learned.sharpness:.2f} |
| difference of the changes from frame to frame, levels | {painted.unsteadiness:.2f} | {learned.unsteadiness:.2f} |"""
