"""`mimaface train`: prepare training clips, train the paper's two stages, score a model."""

from pathlib import Path
from typing import Annotated

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.command_types import Command, CommandGroup
from mimaface_cli.cli.options import field_option, plain_option, with_choices
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.errors import InputError
from mimaface_cli.training.clip_options import ClipOptions, PreparationOptions

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Train the paper's models on face videos: prepare, image, video, score.",
)
_CHECKPOINT = "the last checkpoint is kept: repeat the command to resume"
_REMAINS = dict.fromkeys(("autoencoder", "image", "video"), _CHECKPOINT)
_Config = Annotated[
    Path,
    typer.Argument(metavar="CONFIG.toml", show_default=False, help="Settings of both stages (see docs/training.md)."),
]
_Quiet = Annotated[bool, plain_option("Print errors only.", "-q", "--quiet")]


@app.command(cls=Command)
@with_choices
def prepare(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", show_default=False, help="Face videos, also in sub-folders: one sub-folder per person."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DATA", show_default=False, show_envvar=False, help="Folder for the shards."
        ),
    ],
    space: Annotated[str, field_option(PreparationOptions, "space")] = PreparationOptions.space,
    jobs: Annotated[int, field_option(PreparationOptions, "jobs", "-j", "--jobs")] = PreparationOptions.jobs,
    identities: Annotated[
        Path | None,
        plain_option(
            "CSV table with the columns file and identity, if the sub-folders do not separate the persons.",
            metavar="TABLE.csv",
        ),
    ] = None,
    size: Annotated[int, field_option(ClipOptions, "size")] = ClipOptions.size,
    frames: Annotated[int, field_option(ClipOptions, "frames")] = ClipOptions.frames,
    per_video: Annotated[int, field_option(ClipOptions, "per_video")] = ClipOptions.per_video,
    condition: Annotated[str | None, field_option(ClipOptions, "condition")] = None,
    strict: Annotated[bool, field_option(PreparationOptions, "strict")] = PreparationOptions.strict,
    quiet: Annotated[bool, plain_option("Print only errors and skipped videos.", "-q", "--quiet")] = False,
    as_json: Annotated[bool, plain_option("Print one JSON object about the data.", "--json")] = False,
) -> None:
    """Cut the videos of FOLDER into training clips: images, coefficients, landmarks, identity, condition renders.

    An interrupted run resumes with the same command; videos that cannot be used are reported and skipped.

    Example:
      mimaface train prepare footage/ -o data/ --size 256 --jobs 8
    """
    with console.options():
        PreparationOptions(space, jobs, strict)
    from mimaface_cli.training import preparation

    table = None if identities is None else preparation.read_identities(identities)
    if space == "bfm09":
        from mimaface_cli.engines.diffusion.checkpoint import has_identity_net

        if not has_identity_net():
            console.notes(
                [
                    "the identity network is not installed (mimaface weights pull mimaface); the clips can only train "
                    'with tokens = "paper"'
                ],
                quiet,
            )
    remains = {"preparing": "finished videos are kept: repeat the command to resume"}
    with show_progress(quiet, "videos", remains) as progress:
        cutting = ClipOptions(size, frames, per_video, condition or ClipOptions.condition)
        index = preparation.prepare_shards(folder, output, space, cutting, table, jobs, strict, progress)
    for name, reason in index.skipped.items():
        console.info(f"skipped: {name}: {reason.removeprefix(f'{folder / name}: ')}")
    if not quiet:
        console.notes([f"{name}: {note.partition(': ')[2]}" for name, note in index.truncated.items()])
    clips = sum(index.videos.values())
    if not quiet:
        console.info(
            f"{output}: {console.count(clips, 'clip')} of {console.count(len(index.videos), 'video')} in "
            f"{console.count(index.shards, 'shard')}, {len(index.skipped)} skipped"
        )
    if as_json:
        values = {"output": str(output), "clips": clips, "videos": len(index.videos), "shards": index.shards}
        console.write_json({**values, "skipped": index.skipped, "truncated": index.truncated, **index.settings})
    if not clips:
        raise InputError(f"{folder}: none of its {len(index.skipped)} videos has a usable clip. Try fewer `frames`.")


@app.command(cls=Command)
def image(config: _Config, quiet: _Quiet = False) -> None:
    """Stage 1: train UNet, condition tokens and appearance encoder on single frames. An interrupted run resumes.

    Examples:
      mimaface train image run.toml
      accelerate launch --num_processes 4 -m mimaface_cli train image run.toml
    """
    from mimaface_cli.training.config_reader import load_config

    settings = load_config(config)
    from mimaface_cli.training.stages import train_image

    with show_progress(quiet, "steps", _REMAINS) as progress:
        folder = train_image(settings, progress)
    if not quiet:
        console.info(f"{folder}: stage 1 is complete; next: mimaface train video {config}")


@app.command(cls=Command)
def video(config: _Config, quiet: _Quiet = False) -> None:
    """Stage 2, after stage 1: train motion modules and condition module on clips. An interrupted run resumes."""
    from mimaface_cli.training.config_reader import load_config

    settings = load_config(config)
    from mimaface_cli.training.stages import train_video

    with show_progress(quiet, "steps", _REMAINS) as progress:
        folder = train_video(settings, progress)
    if not quiet:
        from mimaface_cli.weights.locate import weights_folder
        from mimaface_cli.weights.small_model import SMALL_MODEL_FOLDER

        if settings.space == "bfm09":
            next_step = f"mimaface weights import {folder}"
        else:
            next_step = f"copy it to {weights_folder() / SMALL_MODEL_FOLDER}"
        console.info(f"{folder}: the model is complete; to use it: {next_step}")


@app.command(cls=Command)
def score(
    model: Annotated[Path, typer.Argument(metavar="MODEL", show_default=False, help="Folder of a small model.")],
    mesh_scores: Annotated[
        Path,
        typer.Argument(
            metavar="MESH.json", show_default=False, help="Output of mimaface evaluate --engine mesh --json."
        ),
    ],
    model_scores: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL.json", show_default=False, help="The same with --engine diffusion, for the same pairs."
        ),
    ],
    as_json: Annotated[bool, plain_option("Print one JSON object instead of the table.", "--json")] = False,
) -> None:
    """Compare a small model with the mesh engine and record it in the model's card, for --engine auto.

    --engine auto prefers the model if it wins more metrics than it loses.
    """
    from mimaface_cli.training import card_scores

    verdict = card_scores.write_card_scores(model, mesh_scores, model_scores)
    if as_json:
        rows = {
            name: {"mesh": mesh_value, "model": model_value, "winner": winner}
            for name, mesh_value, model_value, winner in verdict.rows
        }
        console.write_json({"better": verdict.is_better, "reason": verdict.reason, "figures": rows})
        return
    for name, mesh_value, model_value, winner in verdict.rows:
        console.info(f"{name:16} mesh {mesh_value:9.4f}  model {model_value:9.4f}  {winner or 'tie'}")
    console.info(f"{'preferred' if verdict.is_better else 'not preferred'} by --engine auto: {verdict.reason}")
