"""Installation of model files: checked, converted to safetensors and recorded."""

import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from mimaface_cli.errors import InputError, WeightsError, brief
from mimaface_cli.files import output_error
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.weights import manifest
from mimaface_cli.weights.checkpoint_files import check_unconverted, read_attention_heads, read_network
from mimaface_cli.weights.checkpoint_layouts import NETWORK_LAYOUTS
from mimaface_cli.weights.locate import find_installed_problem, weights_folder
from mimaface_cli.weights.registry import ASSETS, INFERENCE, AssetFile, find_asset

if TYPE_CHECKING:
    from torch import Tensor

_STAGES = ("image", "video")  # folders of the release that contain files of the same names


@dataclass
class ImportResult:
    """Outcome of `import_folder`, as paths in the registry. The field names are keys of the JSON output.

    Attributes:
        installed: Files installed by this call.
        kept: Files that were already installed.
        missing: Files of the requested assets that the folder does not contain.
    """

    installed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def import_folder(
    folder: Path, names: Iterable[str] | None = None, *, progress: ProgressCallback = ignore_progress
) -> ImportResult:
    """Install model files from a folder, which stays unchanged.

    The folder may have the released layout, be a snapshot or cache of the Hugging Face hub, or contain the files
    without subfolders. Every file is checked before any file is installed.

    Args:
        folder: Folder with the files.
        names: Assets to install. None installs the assets that inference needs, and every other asset if the folder
            contains all of its files under their released paths.
        progress: Called before each file with its name, the number of files done and the number of all files.

    Returns:
        The installed, already installed and missing files.

    Raises:
        InputError: The folder does not exist.
        WeightsError: A file is not the model that its name announces, or there is too little space.
        OutputError: The weights folder cannot be written.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name the folder with the downloaded files.")
    result = ImportResult()
    sources = _find_sources(folder, names, result)
    for index, (file, path) in enumerate(sources):
        progress(f"checking {path.name}", index, len(sources))
        check_released_file(file, path)
    _check_space(sources)
    for index, (file, path) in enumerate(sources):
        progress(file.path, index, len(sources))
        try:
            digest = manifest.sha256_of(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error
        is_new = install(file, path, source=f"imported from {path.name}", source_sha256=digest)
        (result.installed if is_new else result.kept).append(file.path)
    progress("imported", len(sources), len(sources))
    return result


def check_released_file(file: AssetFile, path: Path) -> None:
    """Check the contents of a released file before it is installed.

    Raises:
        WeightsError: The file is not the released one.
    """
    if file.content is not None and file.content in NETWORK_LAYOUTS:
        read_network(path, file.content)
    elif file.content is not None:
        check_unconverted(path, file.content)
    elif file.size is not None and path.stat().st_size != file.size:
        raise WeightsError(f"{path}: has {path.stat().st_size} bytes instead of {file.size}. Download it again.")


def install(file: AssetFile, path: Path, *, source: str, source_sha256: str, may_move: bool = False) -> bool:
    """Install a released file into the weights folder.

    Args:
        file: The file in the registry.
        path: The released file.
        source: Origin of the file, for the manifest.
        source_sha256: SHA-256 of the released file (hex).
        may_move: Whether the released file may be moved or removed.

    Returns:
        Whether the file was installed; False if the same file was already installed.

    Raises:
        WeightsError: The released file is not the right one.
        OutputError: The weights folder cannot be written.
    """
    if file.content is None and file.sha256 not in (None, source_sha256):
        raise WeightsError(f"{path}: has the SHA-256 {source_sha256} instead of {file.sha256}. Download it again.")
    folder = weights_folder()
    target = folder / file.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".install.lock"):
            entry = manifest.read(folder).get(file.path)
            is_installed = (
                entry is not None and entry.source_sha256 == source_sha256 and find_installed_problem(file) is None
            )
            if not is_installed:
                _write_and_record(file, path, source, source_sha256, may_move)
            if may_move:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(target, error) from error
    return not is_installed


def _write_and_record(file: AssetFile, path: Path, source: str, source_sha256: str, may_move: bool) -> None:
    folder = weights_folder()
    with _temporary_file(folder / file.path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # the mode of the user's umask; safetensors would make the file private
        _write_installed_file(file, path, temporary, may_move)
        temporary.chmod(mode)
        info = temporary.stat()
        sha256 = manifest.sha256_of(temporary)
        # The record comes before the rename. A crash in between leaves a record without a file, which counts as
        # missing. A file without a record would not be trusted.
        entry = manifest.ManifestEntry(info.st_size, info.st_mtime_ns, sha256, source, source_sha256)
        manifest.record(folder, file.path, entry)


def _write_installed_file(file: AssetFile, path: Path, temporary: Path, may_move: bool) -> None:
    """Convert, move or copy a released file to a temporary path."""
    if file.content is not None and file.content in NETWORK_LAYOUTS:
        _save_tensors(read_network(path, file.content), temporary, read_attention_heads(path))
        return
    check_released_file(file, path)
    if may_move:
        with suppress(OSError):  # on another disk: copied below
            os.replace(path, temporary)
            return
    shutil.copyfile(path, temporary)


def _save_tensors(state: "Mapping[str, Tensor]", temporary: Path, metadata: dict[str, str]) -> None:
    """Write memory-mapped tensors as safetensors. Only one tensor is in memory at a time."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    addresses: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        tensor = value.contiguous()
        # The format does not allow two tensors to share memory.
        tensors[key] = tensor.clone() if tensor.data_ptr() in addresses else tensor
        addresses.add(tensor.data_ptr())
    try:
        save_file(tensors, temporary, metadata={"format": "pt"} | metadata)
    except SafetensorError as error:
        raise OSError(None, brief(error)) from error


@contextmanager
def _temporary_file(target: Path) -> Generator[Path, None, None]:
    """Provide a temporary path next to the target and rename it to the target at the end.

    The path is always the same, so that the next run overwrites the file of a killed run. The folder's lock guards it.
    """
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _check_space(sources: list[tuple[AssetFile, Path]]) -> None:
    """Check the space for all files. An installed file is never larger than the released file."""
    folder = weights_folder()
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    needed = sum(path.stat().st_size for file, path in sources if not (folder / file.path).exists())
    check_free_space(folder, needed, shutil.disk_usage(existing).free)


def check_free_space(folder: Path, needed: int, free: int) -> None:
    """Check the disk space for a weights folder.

    Args:
        folder: The weights folder, for the error.
        needed: Number of bytes to write.
        free: Number of free bytes on the disk.

    Raises:
        WeightsError: The disk has too little free space.
    """
    if free < needed:
        raise WeightsError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free. "
            "Free some space, or set MIMAFACE_WEIGHTS_DIR to another disk."
        )


def _find_sources(folder: Path, names: Iterable[str] | None, result: ImportResult) -> list[tuple[AssetFile, Path]]:
    """Find the released files to install, and add missing ones to `result.missing`."""
    requested = None if names is None else {find_asset(name).name for name in names}
    sources: list[tuple[AssetFile, Path]] = []
    for asset in ASSETS.values():
        is_required = asset.name in requested if requested is not None else INFERENCE in asset.needed_for
        if not is_required and (requested is not None or not asset.needed_for):
            continue
        paths = [(file, _find_released_file(folder, file, by_name=is_required)) for file in asset.files]
        if not is_required and any(path is None for _, path in paths):
            continue
        sources += [(file, path) for file, path in paths if path is not None]
        result.missing += [file.path for file, path in paths if path is None]
    return sources


def _find_released_file(folder: Path, file: AssetFile, by_name: bool) -> Path | None:
    """Find the released file of an installed file.

    With `by_name`, a file with the same name in the top folder is accepted too if its content fits.
    """
    for path in _candidate_paths(folder, file):
        if path.is_file():
            return path
    for source in file.hub if by_name else ():
        parts = source.path.split("/")
        path = folder / parts[-1]
        if path.is_file() and (folder.name not in _STAGES or folder.name in parts):
            with suppress(WeightsError):  # several networks have files of the same name
                check_released_file(file, path)
                return path
    return None


def _candidate_paths(folder: Path, file: AssetFile) -> Iterator[Path]:
    """Yield the possible paths of a released file in a folder, in order of preference."""
    for source in file.hub:
        cache_name = f"models--{source.repo.replace('/', '--')}"
        for root in (folder / cache_name, folder / "hub" / cache_name, folder):
            yield from (root / "snapshots" / commit / source.path for commit in _list_snapshots(root, cache_name))
        for name in (source.repo, source.repo.rpartition("/")[2]):
            yield folder / name / source.path
        parts = source.path.split("/")
        if len(parts) > 1:
            yield folder / source.path
        for start in range(1, len(parts)):  # the folder may be a subfolder of the repository
            if folder.name == parts[start - 1]:
                yield folder.joinpath(*parts[start:])
    if file.url:
        name = file.url.rpartition("/")[2]
        yield folder / name
        yield folder / "checkpoints" / name
    if file.url or (folder / manifest.FILE_NAME).exists():  # another weights folder
        yield folder / file.path


def _list_snapshots(root: Path, cache_name: str) -> list[str]:
    """List the commits in a repository's cache folder, the one of the main branch first."""
    if root.name != cache_name:
        return []
    with suppress(OSError, UnicodeDecodeError):
        reference = root / "refs" / "main"
        main = reference.read_text(encoding="ascii").strip() if reference.exists() else ""
        commits = [path.name for path in (root / "snapshots").iterdir() if path.is_dir()]
        return sorted(commits, key=lambda commit: (commit != main, commit))
    return []
