"""`mimaface train`: footage to shards, then the paper's two stages."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mimaface_cli.cli import console

app = typer.Typer(
    no_args_is_help=True, help="Train models of the paper from face videos: prepare, image, video, score."
)


@app.command()
def prepare(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", show_default=False, help="Face videos, sub-folders included: one for each person."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DATA", show_default=False, help="Folder for the shards.")
    ],
    space: Annotated[
        Literal["face478", "bfm09"],
        typer.Option(metavar="NAME", help="Coefficients and renders: face478 (embedded) or bfm09 (its own weights)."),
    ] = "face478",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, help="Videos that are read at once.")] = 1,
    identities: Annotated[
        Path | None,
        typer.Option(metavar="TABLE.csv", help="Columns file and identity, where sub-folders do not tell who is who."),
    ] = None,
    size: Annotated[int, typer.Option(help="Pixels of the crop's side, up to 512.")] = 512,
    frames: Annotated[int, typer.Option(help="Frames of a clip.")] = 24,
    per_video: Annotated[int, typer.Option(help="Clips of a video at most, spread over it.")] = 20,
    condition: Annotated[
        Literal["textured", "render"] | None,
        typer.Option(
            help="What the network is shown of each frame: the mesh engine's textured frame (face478's default), or the "
            "paper's render of coefficients alone (bfm09 has no other).",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors and what was skipped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object about the data.")] = False,
) -> None:
    """Cut FOLDER's videos into training clips: pictures, coefficients, landmarks, who it is, and condition renders.

    Stopped at any moment, the same command goes on; videos that cannot be used are reported and skipped.

    Example:
      mimaface train prepare footage/ -o data/ --size 256 --jobs 8
    """
    from mimaface_cli.training.clip_extraction import ClipOptions
    from mimaface_cli.training.preparation import prepare_shards, read_identities

    table = None if identities is None else read_identities(identities)
    if space == "bfm09" and not quiet:
        from mimaface_cli.engines.diffusion.checkpoint import has_identity_net

        if not has_identity_net():
            console.say(
                'note: without the identity network (mimaface weights pull mimaface) the clips train tokens = "paper" only'
            )
    with console.progress(quiet, "videos") as report:
        index = prepare_shards(
            folder, output, space, ClipOptions(size, frames, per_video, condition or ""), table, jobs, report
        )
    for name, why in index.skipped.items():
        console.say(f"skipped: {name}: {why.removeprefix(f'{folder / name}: ')}")
    clips = sum(index.videos.values())
    if not quiet:
        console.say(
            f"{output}: {clips} clips of {len(index.videos)} videos in {index.shards} shards, {len(index.skipped)} skipped"
        )
    if as_json:
        values = {"output": str(output), "clips": clips, "videos": len(index.videos), "shards": index.shards}
        console.write_json({**values, "skipped": index.skipped, **index.settings})
    if not clips:
        from mimaface_cli.errors import InputError

        raise InputError(
            f"{folder}: none of its {len(index.skipped)} videos gave a clip; --frames may ask for too many"
        )


Config = Annotated[
    Path, typer.Argument(metavar="CONFIG.toml", show_default=False, help="Settings of both stages (README, Training).")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]


@app.command()
def image(config: Config, quiet: Quiet = False) -> None:
    """Stage 1: UNet, condition tokens and appearance encoder learn from single frames. Stopped, the same command goes on.

    Examples:
      mimaface train image run.toml

      accelerate launch --num_processes 4 -m mimaface_cli train image run.toml
    """
    from mimaface_cli.training.config_reader import load_config

    settings = load_config(config)
    from mimaface_cli.training.stages import train_image

    with console.progress(quiet, "steps") as report:
        folder = train_image(settings, report)
    if not quiet:
        console.say(f"{folder}: stage 1 is done; next: mimaface train video {config}")


@app.command()
def video(config: Config, quiet: Quiet = False) -> None:
    """Stage 2, after stage 1: motion modules and the condition module learn from clips. Stopped, the same command goes on."""
    from mimaface_cli.training.config_reader import load_config

    settings = load_config(config)
    from mimaface_cli.training.stages import train_video

    with console.progress(quiet, "steps") as report:
        folder = train_video(settings, report)
    if not quiet:
        from mimaface_cli.weights.locate import weights_folder
        from mimaface_cli.weights.small_model import SMALL_MODEL_FOLDER

        use = (
            f"mimaface weights import {folder}"
            if settings.space == "bfm09"
            else f"copy it to {weights_folder() / SMALL_MODEL_FOLDER}"
        )
        console.say(f"{folder}: the model is done; to use it: {use}")


@app.command()
def score(
    model: Annotated[Path, typer.Argument(metavar="MODEL", show_default=False, help="A small model's folder.")],
    mesh: Annotated[
        Path, typer.Argument(metavar="MESH.json", show_default=False, help="mimaface evaluate --engine mesh --json.")
    ],
    own: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL.json", show_default=False, help="The same of --engine diffusion, the same pairs."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Write into a small model's card how it compares with mesh; --engine auto prefers it where it wins more figures."""
    from mimaface_cli.training.card_scores import write_card_scores

    verdict = write_card_scores(model, mesh, own)
    if as_json:
        rows = {
            name: {"mesh": first, "model": second, "winner": winner} for name, first, second, winner in verdict.rows
        }
        console.write_json({"better": verdict.better, "why": verdict.why, "figures": rows})
        return
    for name, first, second, winner in verdict.rows:
        console.say(f"{name:16} mesh {first:9.4f}  model {second:9.4f}  {winner or 'draw'}")
    console.say(f"{'preferred' if verdict.better else 'not preferred'} by --engine auto: {verdict.why}")
