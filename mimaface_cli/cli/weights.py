"""`mimaface weights`: download, verify and locate the models of the diffusion engine, speech and metrics."""

import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.command_types import Command, CommandGroup
from mimaface_cli.cli.options import PlainJson, plain_option, with_choices
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.registry import PURPOSES

if TYPE_CHECKING:
    from mimaface_cli.weights.registry import Asset
    from mimaface_cli.weights.status import FileState

_INDENT = " " * 17

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Download, verify and locate the models of the diffusion engine, speech and metrics.",
)
_Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAMES", show_default=False, help="Names of models (see mimaface weights list)."),
]
_Dir = Annotated[
    Path | None,
    plain_option("Weights folder (default: MIMAFACE_WEIGHTS_DIR, or the user's data folder).", "--dir", metavar="DIR"),
]
_Quiet = Annotated[bool, plain_option("Show no progress.", "-q", "--quiet")]


@app.command("list", cls=Command)
def list_assets(dir: _Dir = None, as_json: PlainJson = False) -> None:
    """List every model: purpose, license, size and whether it is installed."""
    from mimaface_cli.weights.locate import weights_folder
    from mimaface_cli.weights.registry import ASSETS
    from mimaface_cli.weights.status import inspect_files, overall_state

    with _folder(dir):
        rows = [(asset, inspect_files(asset)) for asset in ASSETS.values()]
        if as_json:
            models = [_row(asset, states) for asset, states in rows]
            console.write_json({"folder": str(weights_folder()), "models": models})
            return
        for asset, states in rows:
            installed_size = sum(state.size for state in states)
            size = _size(installed_size) if installed_size else f"download {_size(asset.expected_size)}"
            purposes = "optional" if asset.is_optional else "for every command"
            needed = f"for {', '.join(asset.needed_for)}" if asset.needed_for else purposes
            console.write(f"{asset.name:16} {overall_state(states):10} {size:18} {needed}")
            for text in (asset.purpose, f"license: {asset.license}"):
                console.write(textwrap.fill(text, 110, initial_indent=_INDENT, subsequent_indent=_INDENT))
        console.write(f"in {weights_folder()}")


@app.command("where", cls=Command)
def where(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False, help="Name of a model.")] = None,
    dir: _Dir = None,
    as_json: PlainJson = False,
) -> None:
    """Print the weights folder, or the paths of a model's files (exit code 5 if one is missing)."""
    from mimaface_cli.weights.locate import locate_files, weights_folder

    with _folder(dir):
        files = locate_files(name, download=False) if name else {}
        if as_json:
            console.write_json({"folder": str(weights_folder()), "files": {k: str(v) for k, v in files.items()}})
        else:
            console.write("\n".join(map(str, files.values())) if name else str(weights_folder()))


@app.command("pull", cls=Command)
@with_choices
def pull(
    names: _Names = None,
    purpose: Annotated[
        str | None,
        plain_option(
            "Download all models for inference (default without NAMES), speech, training or metrics.",
            "--for",
            choices=PURPOSES,
            metavar="PURPOSE",
        ),
    ] = None,
    all_: Annotated[bool, plain_option("Download all models.", "--all")] = False,
    dir: _Dir = None,
    yes: Annotated[bool, plain_option("Accept the licenses without a prompt.", "-y", "--yes")] = False,
    quiet: _Quiet = False,
    as_json: PlainJson = False,
) -> None:
    """Download models, verify their hashes and convert them to safetensors. An interrupted download resumes.

    Environment variables: HF_ENDPOINT sets a mirror of the Hugging Face hub, HF_TOKEN an access token,
    MIMAFACE_MIRROR a server for all other files.
    """
    from mimaface_cli.weights.locate import find_missing_files, weights_folder
    from mimaface_cli.weights.registry import ASSETS, INFERENCE, assets_for, find_asset

    if bool(names) + (purpose is not None) + all_ > 1:
        raise typer.BadParameter("NAMES, --for and --all exclude each other. Give one of them.")
    assets = [find_asset(name) for name in dict.fromkeys(names or ())]
    if not names:
        assets = list(ASSETS.values()) if all_ else assets_for(purpose or INFERENCE)
    with _folder(dir):
        missing = [asset for asset in assets if find_missing_files(asset.name)]
        _show_licenses(missing, yes)
        remains = {"": "what was downloaded is kept: repeat the command to resume"}
        with show_progress(quiet, "bytes", remains) as progress:
            from mimaface_cli.weights import pull as downloads

            installed = downloads.pull(missing, progress)
        folder = weights_folder()
        names_of_assets = [asset.name for asset in assets]
        if as_json:
            console.write_json({"folder": str(folder), "models": names_of_assets, "installed": installed})
        else:
            downloaded = console.count(len(installed), "file")
            console.write(f"{', '.join(names_of_assets)}: {downloaded} downloaded, complete in {folder}")
    if dir is not None and os.environ.get("MIMAFACE_WEIGHTS_DIR") != str(dir):
        console.info(f"set MIMAFACE_WEIGHTS_DIR={folder} to use this folder")


@app.command("import", cls=Command)
def import_(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", show_default=False, help="Folder of the released files, or the hub's cache."),
    ],
    names: _Names = None,
    dir: _Dir = None,
    quiet: _Quiet = False,
    as_json: PlainJson = False,
) -> None:
    """Install models from local files: the release's folder, a snapshot of the hub, or loose files in one folder.

    The files stay unchanged. Exits with code 5 if the folder contains no model, or not all of NAMES.
    """
    from mimaface_cli.weights.install import import_folder
    from mimaface_cli.weights.locate import weights_folder

    with _folder(dir):
        with show_progress(quiet, unit="files") as progress:
            result = import_folder(folder, names or None, progress=progress)
        if not result.installed and not result.kept:
            listed = ", ".join(result.missing[:4])
            raise WeightsError(
                f"{folder}: contains no model file ({listed} ...). Name the top folder of the released files."
            )
        if as_json:
            console.write_json({"folder": str(weights_folder()), **vars(result)})
        else:
            for label in ("installed", "kept", "missing"):
                for path in getattr(result, label):
                    console.write(f"{label:10} {path}")
    if names and result.missing:
        raise WeightsError(f"{folder}: lacks {', '.join(result.missing)}. Run mimaface weights pull.")


@app.command("verify", cls=Command)
def verify(names: _Names = None, dir: _Dir = None, quiet: _Quiet = False, as_json: PlainJson = False) -> None:
    """Verify the hashes of installed models; exits with code 5 if one is damaged or one of NAMES is missing."""
    from mimaface_cli.weights.locate import weights_folder
    from mimaface_cli.weights.registry import ASSETS, find_asset
    from mimaface_cli.weights.status import DAMAGED, MISSING, inspect_files

    assets = [find_asset(name) for name in dict.fromkeys(names)] if names else list(ASSETS.values())
    with _folder(dir):
        rows, bad_paths = [], []
        with show_progress(quiet, unit="files") as progress:
            for index, asset in enumerate(assets):
                progress("verify", index, len(assets))
                states = inspect_files(asset, thorough=True)
                if not names and all(state.state == MISSING for state in states):
                    continue  # not installed
                rows.append((asset, states))
                bad_paths += [
                    file.path for file in states if file.state == DAMAGED or (names and file.state == MISSING)
                ]
        if as_json:
            console.write_json({"folder": str(weights_folder()), "models": [_row(*row) for row in rows]})
        else:
            for _, states in rows:
                for file in states:
                    problem = f": {file.problem}" if file.state == DAMAGED else ""
                    console.write(f"{file.state:10} {file.path}{problem}")
    if bad_paths:
        broken = " ".join(asset.name for asset, states in rows if any(file.path in bad_paths for file in states))
        listed = f"{', '.join(bad_paths[:4])}{' ...' if len(bad_paths) > 4 else ''}"
        raise WeightsError(f"{listed}: damaged or missing. Run mimaface weights pull {broken}.")


@contextmanager
def _folder(folder: Path | None) -> Iterator[None]:
    """Use --dir in place of MIMAFACE_WEIGHTS_DIR within the block."""
    previous_folder = os.environ.get("MIMAFACE_WEIGHTS_DIR")
    if folder is not None:
        os.environ["MIMAFACE_WEIGHTS_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        if folder is not None:
            os.environ.pop("MIMAFACE_WEIGHTS_DIR")
            if previous_folder is not None:
                os.environ["MIMAFACE_WEIGHTS_DIR"] = previous_folder


def _show_licenses(assets: list["Asset"], is_accepted: bool) -> None:
    """Print the models to download with their licenses; on a terminal, ask whether the user accepts them."""
    licensed = [asset for asset in assets if asset.needed_for]
    for asset in licensed:
        console.info(f"{asset.name} ({_size(asset.expected_size)}): {asset.purpose}; license: {asset.license}")
    is_interactive = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    if not licensed or is_accepted or not is_interactive:
        return
    with suppress(typer.Abort):
        is_accepted = typer.confirm("Download these models under these licenses?", err=True)
    if not is_accepted:
        raise WeightsError("the licenses were not accepted; nothing was downloaded. Give --yes to accept them.")


def _row(asset: "Asset", states: list["FileState"]) -> dict[str, object]:
    """Return the JSON object that describes a model."""
    from mimaface_cli.weights.status import overall_state

    files = [
        {
            "path": state.path,
            "state": state.state,
            "where": str(state.where) if state.where else None,
            "bytes": state.size,
            "problem": state.problem,
        }
        for state in states
    ]
    return {
        "name": asset.name,
        "purpose": asset.purpose,
        "license": asset.license,
        "needed_for": list(asset.needed_for),
        "expected_bytes": asset.expected_size,
        "state": overall_state(states),
        "files": files,
    }


def _size(size: int | None) -> str:
    """Return a size in bytes as text."""
    if size is None:
        return "size unknown"
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1000:.1f} kB"
