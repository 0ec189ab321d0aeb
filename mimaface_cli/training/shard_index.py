"""The index of a folder of shards: preparation settings and videos."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path

INDEX = "index.json"


@dataclass
class ShardIndex:
    """What a folder of shards contains.

    Attributes:
        settings: How its clips were prepared ("made" in the file).
        videos: Number of clips of each video, by the video's path relative to the folder of videos.
        skipped: Why a video has no clip, by the same path ("bad" in the file).
        shards: Number of shards.
        truncated: Which frames are missing at the end of a video that was cut short, by the same path.
    """

    settings: dict[str, Any]
    videos: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    shards: int = 0
    truncated: dict[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the index to the folder, atomically.

        Raises:
            OutputError: It cannot be written.
        """
        values = {
            "made": self.settings,
            "videos": self.videos,
            "bad": self.skipped,
            "shards": self.shards,
            "truncated": self.truncated,
        }
        with atomic_path(folder / INDEX) as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


def read_shard_index(folder: Path) -> ShardIndex:
    """Read the index of prepared data.

    Raises:
        InputError: There is none, or it is damaged.
    """
    index = _read(folder)
    if index is None:
        raise InputError(f"{folder}: has no prepared data. Create it with mimaface train prepare.")
    return index


def open_shard_index(folder: Path, settings: dict[str, Any]) -> ShardIndex:
    """Read the index of a folder before clips are added; a new folder has an empty index.

    Args:
        folder: The folder of shards.
        settings: How the clips are prepared.

    Raises:
        InputError: The folder was prepared with other settings, has shards without an index, or a damaged index.
    """
    index = _read(folder)
    if index is None:
        if any(folder.glob("shard-*.tar")):
            raise InputError(f"{folder}: has shards without an {INDEX}. Choose an empty folder.")
        return ShardIndex(settings)
    if index.settings != settings:
        keys = {**settings, **index.settings}
        key = next(key for key in keys if settings.get(key) != index.settings.get(key))
        raise InputError(
            f"{folder}: was prepared with {key} {index.settings.get(key)}. Choose the same value, or another folder."
        )
    return index


def _read(folder: Path) -> ShardIndex | None:
    path = folder / INDEX
    try:
        values = dict(json.loads(path.read_bytes()))
        index = ShardIndex(values.pop("made"), skipped=values.pop("bad", {}), **values)
        mappings = (index.settings, index.videos, index.skipped, index.truncated)
        if type(index.shards) is not int or not all(isinstance(value, dict) for value in mappings):
            raise ValueError("wrong types of values")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error!r:.80}). Prepare into another folder.") from error
    return index
