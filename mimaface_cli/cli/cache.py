"""`mimaface cache`: what is kept, how large it is, and getting rid of it."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Optional

import typer

from mimaface_cli.cli import console

app = typer.Typer(no_args_is_help=True, help="List, measure and clear the kept coefficient tracks.")
_Folder = Annotated[Optional[Path], typer.Option("--cache-dir", help="The cache (default: the user cache or MIMAFACE_CACHE_DIR).")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_entries(cache_dir: _Folder = None, as_json: _Json = False) -> None:
    """Show what is kept, newest first."""
    from mimaface_cli.motion.cache import Cache

    cache = Cache(cache_dir)
    entries = cache.entries()
    if as_json:
        rows = [
            {"key": e.key, "path": str(e.path), "bytes": e.size, "created": e.created.isoformat(), "source": e.source, "space": e.space}
            for e in entries
        ]
        console.write_json({"folder": str(cache.folder), "bytes": cache.size(), "entries": rows})
        return
    for entry in entries:
        print(f"{entry.created:%Y-%m-%d %H:%M}  {entry.size / 1000:9.1f} kB  {entry.space:8}  {entry.source}")
    print(f"{len(entries)} tracks, {cache.size() / 1e6:.1f} MB in {cache.folder}")


@app.command("where")
def where(cache_dir: _Folder = None) -> None:
    """Print the cache's folder."""
    from mimaface_cli.motion.cache import Cache

    print(Cache(cache_dir).folder)


@app.command("clear")
def clear(
    cache_dir: _Folder = None,
    older_than: Annotated[Optional[float], typer.Option(help="Only what is older than this many days.", min=0)] = None,
    as_json: _Json = False,
) -> None:
    """Remove kept tracks; they are made anew when needed."""
    from mimaface_cli.motion.cache import Cache

    removed = Cache(cache_dir).clear(None if older_than is None else timedelta(days=older_than))
    total = sum(entry.size for entry in removed)
    if as_json:
        console.write_json({"removed": len(removed), "bytes": total})
    else:
        print(f"removed {len(removed)} tracks, {total / 1e6:.1f} MB")
