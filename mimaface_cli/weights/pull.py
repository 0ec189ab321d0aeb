"""Fetching whole models: all questions asked and the space checked first, then file by file, whole or resumable."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from mimaface_cli.errors import WeightsError
from mimaface_cli.files import output_error
from mimaface_cli.weights import manifest
from mimaface_cli.weights.checkpoint_files import NETWORKS
from mimaface_cli.weights.install import install
from mimaface_cli.weights.locate import find_missing_files, locate_files, mirrored, weights_folder
from mimaface_cli.weights.registry import Asset, AssetFile

# Called with what is being done, the bytes so far and in all (None: unknown).
Progress = Callable[[str, int, int | None], None]

_STAGING = ".staging"


@dataclass(frozen=True)
class _Fetch:
    """One file to bring: from where, under which hash, into which place before it is installed."""

    file: AssetFile
    url: str
    digest: str
    size: int | None
    source: str
    staged: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Bytes still to come."""
        done = [path.stat().st_size for path in (self.staged, _part(self.staged)) if path.exists()]
        return max((self.size or 0) - max(done, default=0), 0)


def pull(assets: Sequence[Asset], report: Progress = lambda stage, done, total: None) -> list[str]:
    """Bring what these assets lack into the weights folder; the paths in the registry of what was installed.

    One run at a time: others wait. What a broken run has fetched is kept, and a later run goes on from there. Raises
    WeightsError, or OutputError where the folder refuses.
    """
    folder = weights_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".pull.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report("waiting for another run that fetches", 0, None)
            lock.acquire()
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        return _pull(assets, folder, report)
    finally:
        lock.release()


def _pull(assets: Sequence[Asset], folder: Path, report: Progress) -> list[str]:
    staging = folder / _STAGING
    fetches: list[_Fetch] = []
    for asset in assets:
        lacking = find_missing_files(asset.name)
        report(f"looking up {asset.name}", 0, None)
        if asset.needed_for:
            fetches += [_plan(file, staging) for file in asset.files if file.path in lacking]
        elif lacking:
            locate_files(asset.name, progress=report)
    _check_space(folder, fetches)
    for fetch in fetches:
        _bring(fetch, report)
    with suppress(OSError):  # not while other models lie there half fetched
        staging.rmdir()
    return [fetch.file.path for fetch in fetches]


def _plan(file: AssetFile, staging: Path) -> _Fetch:
    name = file.path.replace("/", "--")
    if not file.hub:
        url = mirrored(file)
        return _Fetch(file, url, file.sha256, file.size, file.url, staging / f"{name}.{file.sha256[:16]}")
    from mimaface_cli.weights import hub

    found = hub.find(file.hub)
    staged = staging / f"{name}.{found.digest[:16]}"
    return _Fetch(file, found.url, found.digest, found.size, found.source, staged, found.headers)


def _check_space(folder: Path, fetches: list[_Fetch]) -> None:
    """What is still to come, and once more the largest of the files that exist twice while they are converted."""
    converted = [fetch.size or 0 for fetch in fetches if fetch.file.content in NETWORKS]
    needed, free = sum(fetch.left for fetch in fetches) + max(converted, default=0), shutil.disk_usage(folder).free
    if free < needed:
        raise WeightsError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; free some space, or choose "
            "another disk with --dir or MIMAFACE_WEIGHTS_DIR"
        )


def _bring(fetch: _Fetch, report: Progress) -> None:
    from mimaface_cli.weights import download

    name = fetch.file.path
    kind = {"sha256": fetch.digest} if len(fetch.digest) == 64 else {"git_sha1": fetch.digest}
    report(name, 0, fetch.size)
    path = download.fetch(
        fetch.url,
        fetch.staged,
        **kind,
        size=fetch.size,
        headers=fetch.headers,
        progress=lambda done, total: report(name, done, total),
    )
    report(f"installing {name}", 0, None)
    try:
        sha256 = kind.get("sha256") or manifest.sha256_of(path)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        install(fetch.file, path, source=fetch.source, source_sha256=sha256, consume=True)
    except WeightsError as error:
        path.unlink(missing_ok=True)  # whole, and of no use
        raise WeightsError(f"{fetch.url}: {error}") from error
    # Locks, and parts of what the file was before it changed at its source.
    stem = path.name.rpartition(".")[0]
    for stale in (*path.parent.glob(f"{stem}.*"), *path.parent.glob(f".{stem}.*")):
        stale.unlink(missing_ok=True)


def _part(staged: Path) -> Path:
    return staged.with_name(f"{staged.name}.part")
