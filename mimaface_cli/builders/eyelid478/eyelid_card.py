"""The model card of the eyelid network."""

from pathlib import Path

from mimaface_cli.builders.clip_samples import PeopleData
from mimaface_cli.builders.eyelid478.eyelid_batches import EyelidClip
from mimaface_cli.builders.eyelid478.eyelid_evaluation import Figures
from mimaface_cli.builders.part_build_options import PartBuildOptions


def write_card(options: PartBuildOptions, data: PeopleData[EyelidClip], figures: str, version: str) -> str:
    """Return the text of the card.

    Args:
        options: Options of the build.
        data: The data.
        figures: Table of the figures on held-out people.
        version: Version of the build.
    """
    clips = [clip for clips in data.training for clip in clips]
    closing, pairs = sum(len(clip.closing) for clip in clips), sum(len(clip.samples) for clip in clips)
    init = f" --init {Path(options.init).name}" if options.init else ""
    return f"""# eyelid478, which refines closing eyelids of the mesh engine (version {version})

A convolutional U-Net with four levels and 0.2 million parameters. It sees a crop of 96×64 pixels around a rendered eye,
the same crop of the photo, the opening of the lids in both, and the coefficients of brow and cheek. Right eyes are
mirrored. It returns what to add to the rendered crop: the skin of the lid, and the shadow of lashes where lids meet.

The renderer uses it only as lids close: from 60 % of the photo's opening on, and fully below 25 %. On eyes of more than
100 pixels it has 70 % of its effect, because they are sharper than the crop.

## Data

{options.about}

It was trained on {pairs:,} pairs of consecutive frames of the eyes of {len(data.training)} people, which the engine
rendered from another frame of the same shot. In {closing:,} of them the eye closes. The network contains no image.

Built with `python -m mimaface_cli.builders.eyelid478 FOLDER -o {options.output.name} --steps {options.steps}
--seed {options.seed}{init}`.

## Measurements

{figures}

## Limits

Lashes and folds of the lid that the photo does not show are invented. Eyes in the data are 15 to 60 pixels wide; on
larger ones, closed lids are as smooth as at that size. Lids of paintings and drawings whose style the network does not
know stay painted.
"""


def describe_figures(figures: Figures, people: int) -> str:
    """Return the table of figures of corrected and painted eyes, on a number of held-out people."""
    lines = [
        f"On {people} people that were held out, by the opening of the rendered lids relative to the photo's (closed:",
        "below 25 %, half closed: below 60 %), each painted → learned:",
        "",
        "| lids | frames | PSNR of the crop | sharpness relative to the truth | difference of the changes, levels |",
        "| --- | --- | --- | --- | --- |",
    ]
    for closure, (learned, painted) in figures.items():
        lines.append(
            f"| {closure} | {learned.count} | {painted.psnr:.1f} → {learned.psnr:.1f} dB "
            f"| {painted.sharpness:.2f} → {learned.sharpness:.2f} "
            f"| {painted.unsteadiness:.2f} → {learned.unsteadiness:.2f} |"
        )
    return "\n".join(lines)
