"""Putting model files into the weights folder: checked, converted to safetensors, recorded, whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from mimaface_cli.errors import InputError, WeightsError, brief
from mimaface_cli.files import output_error
from mimaface_cli.weights import manifest
from mimaface_cli.weights.checkpoint_files import NETWORKS, check_unconverted, read_attention_heads, read_network
from mimaface_cli.weights.locate import find_installed_problem, weights_folder
from mimaface_cli.weights.registry import ASSETS, INFERENCE, AssetFile, find_asset

_STAGES = ("image", "video")  # folders of the release that hold files of the same names

# Called before a file is worked on: its path in the registry, how many are done, how many there are.
Progress = Callable[[str, int, int], None]


@dataclass
class Imported:
    """Paths in the registry: installed now, there already, and not found in the folder (of the assets asked for)."""

    installed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def import_folder(
    folder: Path, names: Iterable[str] | None = None, *, progress: Progress = lambda path, done, total: None
) -> Imported:
    """Install what a folder holds: the released layout, a snapshot or cache of the hub, or these files side by side.

    names: assets; else what inference needs, and every other asset that the folder holds whole, under its own paths.
    The folder is only read. Everything is checked before anything is installed. Raises InputError where the folder is
    none, WeightsError for a file that is not what its name says, OutputError where the weights folder refuses.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that holds the downloaded files")
    asked = None if names is None else {find_asset(name).name for name in names}
    found: list[tuple[AssetFile, Path]] = []
    result = Imported()
    for asset in ASSETS.values():
        wanted = asset.name in asked if asked is not None else INFERENCE in asset.needed_for
        if not wanted and (asked is not None or not asset.needed_for):
            continue
        here = [(file, _find(folder, file, bare=wanted)) for file in asset.files]
        if not wanted and any(path is None for _, path in here):
            continue
        found += [(file, path) for file, path in here if path is not None]
        result.missing += [file.path for file, path in here if path is None]
    for index, (file, path) in enumerate(found):
        progress(f"checking {path.name}", index, len(found))
        check(file, path)
    _check_space(found)
    for index, (file, path) in enumerate(found):
        progress(file.path, index, len(found))
        try:
            digest = manifest.sha256_of(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
        installed = install(file, path, source=f"imported from {path.name}", source_sha256=digest)
        (result.installed if installed else result.kept).append(file.path)
    progress("imported", len(found), len(found))
    return result


def _check_space(found: list[tuple[AssetFile, Path]]) -> None:
    """What is installed is never larger than what it is made from."""
    folder = weights_folder()
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    needed = sum(path.stat().st_size for file, path in found if not (folder / file.path).exists())
    if (free := shutil.disk_usage(there).free) < needed:
        raise WeightsError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; free some space, or choose "
            "another disk with --dir or MIMAFACE_WEIGHTS_DIR"
        )


def check(file: AssetFile, path: Path) -> None:
    """Raise WeightsError unless `path` holds what the installed file is made from."""
    if file.content in NETWORKS:
        read_network(path, file.content)
    elif file.content is not None:
        check_unconverted(path, file.content)
    elif file.size is not None and path.stat().st_size != file.size:
        raise WeightsError(f"{path}: has {path.stat().st_size} bytes instead of {file.size}; fetch it again")


def install(file: AssetFile, path: Path, *, source: str, source_sha256: str, consume: bool = False) -> bool:
    """Put `path`, a released file of that hash, into the weights folder as `file`; False if it is there already.

    source: where it came from, for the record. consume: the file is ours, and moved or removed. Raises WeightsError
    where it is not what it should be, OutputError where the folder refuses.
    """
    if file.content is None and file.sha256 not in (None, source_sha256):
        raise WeightsError(f"{path}: has the SHA-256 {source_sha256} instead of {file.sha256}; fetch it again")
    folder = weights_folder()
    target = folder / file.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".install.lock"):
            entry = manifest.read(folder).get(file.path)
            there = entry is not None and entry.source_sha256 == source_sha256 and find_installed_problem(file) is None
            if not there:
                with _written(target) as temporary:
                    temporary.touch()
                    mode = temporary.stat().st_mode  # the user's wish; safetensors shuts everybody else out
                    _make(file, path, temporary, consume)
                    temporary.chmod(mode)
                    info = temporary.stat()
                    made = manifest.ManifestEntry(
                        info.st_size, info.st_mtime_ns, manifest.sha256_of(temporary), source, source_sha256
                    )
                    # Recorded before it is in place: a file without a record would not be trusted, and a record
                    # without its file is only missing.
                    manifest.record(folder, file.path, made)
            if consume:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(target, error) from error
    return not there


def _make(file: AssetFile, path: Path, temporary: Path, consume: bool) -> None:
    if file.content in NETWORKS:
        _save(read_network(path, file.content), temporary, read_attention_heads(path))
        return
    check(file, path)
    if consume:
        with suppress(OSError):  # on another disk: copied below
            os.replace(path, temporary)
            return
    shutil.copyfile(path, temporary)


def _save(state, temporary: Path, metadata: dict[str, str]) -> None:
    """Write tensors as safetensors, one at a time from where they are mapped: memory stays flat."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    seen, tensors = set(), {}
    for key, tensor in state.items():
        tensor = tensor.contiguous()
        tensors[key] = tensor.clone() if tensor.data_ptr() in seen else tensor  # the format has no shared tensors
        seen.add(tensor.data_ptr())
    try:
        save_file(tensors, temporary, metadata={"format": "pt"} | metadata)
    except SafetensorError as error:
        raise OSError(None, brief(error)) from error


@contextmanager
def _written(target: Path) -> Iterator[Path]:
    """A temporary name beside the target, always the same (under the folder's lock), so that what a killed run left
    is written over and not left for ever.
    """
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _find(folder: Path, file: AssetFile, bare: bool) -> Path | None:
    """The released file behind an installed one. bare: also take it by its name alone, if its content fits."""
    for path in _places(folder, file):
        if path.is_file():
            return path
    for source in file.hub if bare else ():
        parts = source.path.split("/")
        path = folder / parts[-1]
        if path.is_file() and (folder.name not in _STAGES or folder.name in parts):
            with suppress(WeightsError):  # several networks have files of one name
                check(file, path)
                return path
    return None


def _places(folder: Path, file: AssetFile) -> Iterator[Path]:
    """Where a folder may hold it: by its path in its repository, from anywhere on it, or in a cache of the hub."""
    for source in file.hub:
        cached = f"models--{source.repo.replace('/', '--')}"
        for root in (folder / cached, folder / "hub" / cached, folder):
            yield from (root / "snapshots" / revision / source.path for revision in _revisions(root, cached))
        for name in (source.repo, source.repo.rpartition("/")[2]):
            yield folder / name / source.path
        parts = source.path.split("/")
        if len(parts) > 1:
            yield folder / source.path
        for start in range(1, len(parts)):  # the folder named is one inside the repository
            if folder.name == parts[start - 1]:
                yield folder.joinpath(*parts[start:])
    if file.url:
        name = file.url.rpartition("/")[2]
        yield folder / name
        yield folder / "checkpoints" / name
    if file.url or (folder / manifest.FILE_NAME).exists():  # a weights folder of ours
        yield folder / file.path


def _revisions(root: Path, cached: str) -> list[str]:
    """The snapshots in a repository's cache, that of the main branch first."""
    if root.name != cached:
        return []
    with suppress(OSError, UnicodeDecodeError):
        main = (root / "refs" / "main").read_text(encoding="ascii").strip() if (root / "refs" / "main").exists() else ""
        names = [path.name for path in (root / "snapshots").iterdir() if path.is_dir()]
        return sorted(names, key=lambda name: (name != main, name))
    return []
