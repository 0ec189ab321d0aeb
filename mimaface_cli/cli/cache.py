"""`mimaface cache`: list, measure and clear the cache."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.command_types import Command, CommandGroup
from mimaface_cli.cli.options import PlainJson, plain_option

if TYPE_CHECKING:
    from mimaface_cli.cache import CacheEntry

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="List, measure and clear the cached tracks and the clips of unfinished videos.",
)
_Folder = Annotated[
    Path | None,
    plain_option(
        "Folder of the cache (default: MIMAFACE_CACHE_DIR, or the user's cache folder).", "--cache-dir", metavar="DIR"
    ),
]
_MAX_AGE = 100_000.0  # days


@app.command("list", cls=Command)
def list_entries(cache_dir: _Folder = None, as_json: PlainJson = False) -> None:
    """List the cached tracks and the unfinished videos, newest first."""
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
        created = entry.created.astimezone()
        console.write(f"{created:%Y-%m-%d %H:%M}  {entry.size / 1000:9.1f} kB  {entry.space:8}  {entry.source}")
    console.write(f"{_count(entries)}, {cache.size() / 1e6:.1f} MB in {cache.folder}")


@app.command("where", cls=Command)
def where(cache_dir: _Folder = None) -> None:
    """Print the folder of the cache."""
    from mimaface_cli.cache import Cache

    console.write(str(Cache(cache_dir).folder))


@app.command("clear", cls=Command)
def clear(
    cache_dir: _Folder = None,
    older_than: Annotated[
        float | None, plain_option("Remove only entries older than this number of days.", metavar="DAYS")
    ] = None,
    as_json: PlainJson = False,
) -> None:
    """Remove cached tracks and unfinished videos; commands recompute tracks as needed."""
    if older_than is not None and not 0 <= older_than <= _MAX_AGE:
        raise typer.BadParameter(
            f"--older-than: {older_than:g} is out of range. Give a number of days from 0 to {_MAX_AGE:.0f}."
        )
    from mimaface_cli.cache import Cache

    removed = Cache(cache_dir).clear(None if older_than is None else timedelta(days=older_than))
    total = sum(entry.size for entry in removed)
    if as_json:
        console.write_json({"removed": len(removed), "bytes": total})
    else:
        console.write(f"removed {_count(removed)}, {total / 1e6:.1f} MB")


def _count(entries: list["CacheEntry"]) -> str:
    """Return how many tracks and unfinished videos there are."""
    videos = sum(entry.space == "clips" for entry in entries)
    tracks = console.count(len(entries) - videos, "track")
    return f"{tracks} and {console.count(videos, 'unfinished video')}" if videos else tracks
