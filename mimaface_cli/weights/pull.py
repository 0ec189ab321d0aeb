"""Download of whole models.

All files are looked up and the disk space is checked before the first download. Interrupted downloads resume.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from mimaface_cli.errors import WeightsError
from mimaface_cli.files import output_error
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.weights import manifest
from mimaface_cli.weights.checkpoint_layouts import NETWORK_LAYOUTS
from mimaface_cli.weights.install import check_free_space, install
from mimaface_cli.weights.locate import download_url, find_missing_files, locate_files, weights_folder
from mimaface_cli.weights.registry import Asset, AssetFile

_STAGING = ".staging"


@dataclass(frozen=True)
class _Download:
    """One file to download and install.

    Attributes:
        file: The file in the registry.
        url: Address to download it from.
        digest: SHA-256 (64 hex digits) or SHA-1 of the git blob (40 hex digits).
        size: Size in bytes, or None if unknown.
        source: Origin of the file, for the manifest.
        staged: Path of the download before it is installed.
        headers: HTTP headers.
    """

    file: AssetFile
    url: str
    digest: str
    size: int | None
    source: str
    staged: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def remaining_bytes(self) -> int:
        """Bytes that an earlier run has not downloaded yet."""
        part = self.staged.with_name(f"{self.staged.name}.part")
        received = [path.stat().st_size for path in (self.staged, part) if path.exists()]
        return max((self.size or 0) - max(received, default=0), 0)


def pull(assets: Sequence[Asset], progress: ProgressCallback = ignore_progress) -> list[str]:
    """Download and install the missing files of some assets.

    Concurrent processes wait for each other. Partial downloads remain after an interruption, and the next run resumes.

    Args:
        assets: The assets.
        progress: Called with the current stage, the bytes received and the total.

    Returns:
        Registry paths of the files that were installed.

    Raises:
        WeightsError: A file is not available, is not the right one, or there is too little space.
        OutputError: The weights folder cannot be written.
    """
    folder = weights_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".pull.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress("waiting for another download", 0, None)
            lock.acquire()
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        return _pull_locked(assets, folder, progress)
    finally:
        lock.release()


def _pull_locked(assets: Sequence[Asset], folder: Path, progress: ProgressCallback) -> list[str]:
    staging = folder / _STAGING
    downloads: list[_Download] = []
    for asset in assets:
        missing = find_missing_files(asset.name)
        progress(f"looking up {asset.name}", 0, None)
        if asset.needed_for:
            downloads += [_plan_download(file, staging) for file in asset.files if file.path in missing]
        elif missing:
            locate_files(asset.name, progress=progress)
    _check_space(folder, downloads)
    for download in downloads:
        _download_and_install(download, progress)
    with suppress(OSError):  # fails while partial files of other models are in it
        staging.rmdir()
    return [download.file.path for download in downloads]


def _plan_download(file: AssetFile, staging: Path) -> _Download:
    name = file.path.replace("/", "--")
    if file.hub:
        from mimaface_cli.weights.hub import find_hub_file

        entry = find_hub_file(file.hub)
        staged = staging / f"{name}.{entry.digest[:16]}"
        return _Download(file, entry.url, entry.digest, entry.size, entry.source, staged, entry.headers)
    address = download_url(file)
    if not file.url or not file.sha256 or not address:
        raise ValueError(f"{file.path}: neither on the hub nor at an address with a hash")
    return _Download(file, address, file.sha256, file.size, file.url, staging / f"{name}.{file.sha256[:16]}")


def _check_space(folder: Path, downloads: list[_Download]) -> None:
    """Check the disk space for the downloads.

    The largest converted file counts twice, because both versions exist during the conversion.
    """
    converted_sizes = [download.size or 0 for download in downloads if download.file.content in NETWORK_LAYOUTS]
    needed = sum(download.remaining_bytes for download in downloads) + max(converted_sizes, default=0)
    check_free_space(folder, needed, shutil.disk_usage(folder).free)


def _download_and_install(download: _Download, progress: ProgressCallback) -> None:
    from mimaface_cli.weights.download import download_file

    name = download.file.path
    sha256 = download.digest if len(download.digest) == 64 else None
    progress(name, 0, download.size)
    path = download_file(
        download.url,
        download.staged,
        sha256=sha256,
        git_sha1=None if sha256 else download.digest,
        size=download.size,
        headers=download.headers,
        progress=lambda done, total: progress(name, done, total),
    )
    progress(f"installing {name}", 0, None)
    try:
        sha256 = sha256 or manifest.sha256_of(path)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        install(download.file, path, source=download.source, source_sha256=sha256, may_move=True)
    except WeightsError as error:
        path.unlink(missing_ok=True)  # complete, but not usable
        raise WeightsError(f"{download.url}: {error}") from error
    # Remove locks, and partial downloads of versions that the source no longer has.
    stem = path.name.rpartition(".")[0]
    for stale in (*path.parent.glob(f"{stem}.*"), *path.parent.glob(f".{stem}.*")):
        stale.unlink(missing_ok=True)
