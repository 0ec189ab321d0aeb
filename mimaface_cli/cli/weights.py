"""`mimaface weights`: fetch, check and find the models that the diffusion engine, speech and metrics need."""

import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mimaface_cli.cli import console
from mimaface_cli.errors import WeightsError

if TYPE_CHECKING:
    from mimaface_cli.weights.registry import Asset
    from mimaface_cli.weights.status import FileState

_INDENT = " " * 17

app = typer.Typer(no_args_is_help=True, help="Fetch, check and find the models of the diffusion engine and of metrics.")


class Purpose(StrEnum):
    """What models are for; as in `mimaface_cli.weights.registry`."""

    inference = "inference"
    speech = "speech"
    training = "training"
    metrics = "metrics"


_Names = Annotated[list[str] | None, typer.Argument(metavar="[NAMES]...", show_default=False)]
_Dir = Annotated[
    Path | None, typer.Option("--dir", help="The weights folder (default: MIMAFACE_WEIGHTS_DIR or the user's own).")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@app.command("list")
def list_assets(dir: _Dir = None, as_json: _Json = False) -> None:
    """Show every model: what it is for, its license, its size, and whether it is here."""
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
            here = sum(state.size for state in states)
            size = f"{_size(here)}" if here else f"to fetch {_size(asset.expected_size)}"
            needed = f"for {', '.join(asset.needed_for)}" if asset.needed_for else "for every command"
            console.write(f"{asset.name:16} {overall_state(states):10} {size:18} {needed}")
            for text in (asset.purpose, f"license: {asset.license}"):
                console.write(textwrap.fill(text, 110, initial_indent=_INDENT, subsequent_indent=_INDENT))
        console.write(f"in {weights_folder()}")


@app.command("where")
def where(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)] = None,
    dir: _Dir = None,
    as_json: _Json = False,
) -> None:
    """Print the weights folder, or where the files of one model lie (exit code 5 where one is missing)."""
    from mimaface_cli.weights.locate import locate_files, weights_folder

    with _folder(dir):
        files = locate_files(name, download=False) if name else {}
        if as_json:
            console.write_json({"folder": str(weights_folder()), "files": {k: str(v) for k, v in files.items()}})
        else:
            console.write("\n".join(map(str, files.values())) if name else str(weights_folder()))


@app.command("pull")
def pull(
    names: _Names = None,
    purpose: Annotated[
        Purpose | None, typer.Option("--for", help="All that this needs (default, without NAMES: inference).")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every model.")] = False,
    dir: _Dir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether the licenses are accepted.")] = False,
    quiet: _Quiet = False,
    as_json: _Json = False,
) -> None:
    """Fetch models: checked by hash, kept as safetensors, going on where an earlier run broke off.

    HF_ENDPOINT names a mirror of the hub, HF_TOKEN your token; MIMAFACE_MIRROR a server that holds what is not there.
    """
    from mimaface_cli.weights.locate import find_missing_files, weights_folder
    from mimaface_cli.weights.registry import ASSETS, INFERENCE, assets_for, find_asset

    if bool(names) + (purpose is not None) + all_ > 1:
        raise typer.BadParameter("give NAMES, --for or --all, not several of them")
    chosen = [find_asset(name) for name in dict.fromkeys(names or ())]
    if not names:
        chosen = list(ASSETS.values()) if all_ else assets_for(purpose.value if purpose else INFERENCE)
    with _folder(dir):
        lacking = [asset for asset in chosen if find_missing_files(asset.name)]
        _show_licenses(lacking, yes)
        with console.progress(quiet, unit="bytes") as report:
            from mimaface_cli.weights.pull import pull as fetch

            installed = fetch(lacking, report)
        folder = weights_folder()
        if as_json:
            here = [asset.name for asset in chosen]
            console.write_json({"folder": str(folder), "models": here, "installed": installed})
        else:
            console.write(f"{', '.join(asset.name for asset in chosen)}: {_files(installed)} fetched, all in {folder}")
    if dir is not None and os.environ.get("MIMAFACE_WEIGHTS_DIR") != str(dir):
        console.say(f"set MIMAFACE_WEIGHTS_DIR={folder} to use this folder")


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The released files, or the hub's cache.")],
    names: _Names = None,
    dir: _Dir = None,
    quiet: _Quiet = False,
    as_json: _Json = False,
) -> None:
    """Install models from files you have: the release's folder, a snapshot of the hub, or loose files in one folder.

    They are only read. Exits with 5 when nothing was found, or not all of the NAMES.
    """
    from mimaface_cli.weights.install import import_folder
    from mimaface_cli.weights.locate import weights_folder

    with _folder(dir):
        with console.progress(quiet, unit="files") as report:
            result = import_folder(folder, names or None, progress=report)
        if not result.installed and not result.kept:
            raise WeightsError(
                f"{folder}: holds none of these: {', '.join(result.missing[:4])} ...; name its top folder"
            )
        if as_json:
            console.write_json({"folder": str(weights_folder()), **vars(result)})
        else:
            for label in ("installed", "kept", "missing"):
                for path in getattr(result, label):
                    console.write(f"{label:10} {path}")
    if names and result.missing:
        raise WeightsError(f"{folder}: does not hold {', '.join(result.missing)}; run: mimaface weights pull")


@app.command("verify")
def verify(names: _Names = None, dir: _Dir = None, quiet: _Quiet = False, as_json: _Json = False) -> None:
    """Read what is installed and compare its hashes; exits with 5 on damage, or where one of the NAMES is missing."""
    from mimaface_cli.weights.locate import weights_folder
    from mimaface_cli.weights.registry import ASSETS, find_asset
    from mimaface_cli.weights.status import DAMAGED, MISSING, inspect_files

    chosen = [find_asset(name) for name in dict.fromkeys(names)] if names else list(ASSETS.values())
    with _folder(dir):
        rows, bad = [], []
        with console.progress(quiet, unit="files") as report:
            for index, asset in enumerate(chosen):
                report("verify", index, len(chosen))
                states = inspect_files(asset, thorough=True)
                if not names and all(state.state == MISSING for state in states):
                    continue  # not wanted here
                rows.append((asset, states))
                bad += [s.path for s in states if s.state == DAMAGED or (names and s.state == MISSING)]
        if as_json:
            console.write_json({"folder": str(weights_folder()), "models": [_row(*row) for row in rows]})
        else:
            for _, states in rows:
                for state in states:
                    told = f": {state.problem}" if state.state == DAMAGED else ""
                    console.write(f"{state.state:10} {state.path}{told}")
    if bad:
        mend = " ".join(asset.name for asset, states in rows if any(state.path in bad for state in states))
        some = f"{', '.join(bad[:4])}{' ...' if len(bad) > 4 else ''}"
        raise WeightsError(f"{some}: damaged or missing; run: mimaface weights pull {mend}")


@contextmanager
def _folder(given: Path | None) -> Iterator[None]:
    """--dir stands in for MIMAFACE_WEIGHTS_DIR."""
    before = os.environ.get("MIMAFACE_WEIGHTS_DIR")
    if given is not None:
        os.environ["MIMAFACE_WEIGHTS_DIR"] = str(given.absolute())
    try:
        yield
    finally:
        if given is not None:
            os.environ.pop("MIMAFACE_WEIGHTS_DIR")
            if before is not None:
                os.environ["MIMAFACE_WEIGHTS_DIR"] = before


def _show_licenses(assets: list["Asset"], yes: bool) -> None:
    """What is about to be fetched and on which terms; a terminal asks, a script has read them."""
    fetched = [asset for asset in assets if asset.needed_for]
    for asset in fetched:
        console.say(f"{asset.name} ({_size(asset.expected_size)}): {asset.purpose}; license: {asset.license}")
    if not fetched or yes or not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        return
    try:
        agreed = typer.confirm("Fetch these on these terms?", err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        raise WeightsError("the licenses were not accepted: nothing was fetched")


def _row(asset: "Asset", states: list["FileState"]) -> dict[str, object]:
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


def _size(count: int | None) -> str:
    if count is None:
        return "size unknown"
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1000:.1f} kB"


def _files(paths: list[str]) -> str:
    return f"{len(paths)} file{'' if len(paths) == 1 else 's'}"
