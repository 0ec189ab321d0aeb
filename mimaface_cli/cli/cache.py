"""`mimaface cache`: what is kept, how large it is, and getting rid of it."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from mimaface_cli.cli import console

app = typer.Typer(
    no_args_is_help=True, help="List, measure and clear the kept tracks and the clips of unfinished videos."
)
_Folder = Annotated[
    Path | None, typer.Option("--cache-dir", help="The cache (default: the user cache or MIMAFACE_CACHE_DIR).")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_OLDEST = 100_000.0  # days


@app.command("list")
def list_entries(cache_dir: _Folder = None, as_json: _Json = False) -> None:
    """Show what is kept, newest first."""
    from mimaface_cli.cache import Cache

    cache = Cache(cache_dir)
    entries = cache.entries() + cache.unfinished()
    if as_json:
        rows = [
            {
                "key": entry.key,
                "path": str(entry.path),
                "bytes": entry.size,
                "created": entry.created.isoformat(),
                "source": entry.source,
                "space": entry.space,
            }
            for entry in entries
        ]
        console.write_json({"folder": str(cache.folder), "bytes": cache.size(), "entries": rows})
        return
    for entry in entries:
        when = entry.created.astimezone()
        console.write(f"{when:%Y-%m-%d %H:%M}  {entry.size / 1000:9.1f} kB  {entry.space:8}  {entry.source}")
    console.write(f"{_count(entries)}, {cache.size() / 1e6:.1f} MB in {cache.folder}")


@app.command("where")
def where(cache_dir: _Folder = None) -> None:
    """Print the cache's folder."""
    from mimaface_cli.cache import Cache

    console.write(str(Cache(cache_dir).folder))


@app.command("clear")
def clear(
    cache_dir: _Folder = None,
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Only what is older than this many days.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Remove kept tracks; they are made anew when needed."""
    if older_than is not None and not 0 <= older_than <= _OLDEST:
        raise typer.BadParameter(f"--older-than {older_than:g}: must lie between 0 and {_OLDEST:.0f} days")
    from mimaface_cli.cache import Cache

    removed = Cache(cache_dir).clear(None if older_than is None else timedelta(days=older_than))
    total = sum(entry.size for entry in removed)
    if as_json:
        console.write_json({"removed": len(removed), "bytes": total})
    else:
        console.write(f"removed {_count(removed)}, {total / 1e6:.1f} MB")


def _count(entries: list) -> str:
    videos = sum(entry.space == "clips" for entry in entries)
    tracks = len(entries) - videos
    unfinished = f" and {videos} unfinished video{'' if videos == 1 else 's'}" if videos else ""
    return f"{tracks} track{'' if tracks == 1 else 's'}{unfinished}"
