"""The people of the build: who is in each video, and who is held out of all training."""

import json
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from mimaface_cli.builders.clip_tracks import list_videos, read_people
from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path
from mimaface_cli.training.held_out_people import PEOPLE


@dataclass(frozen=True)
class PeopleSplit:
    """The people of the videos.

    Attributes:
        identities: Person of each video, by path relative to the folder of videos.
        held_out: People that no network is trained on.
    """

    identities: dict[str, str]
    held_out: frozenset[str]


def split_people(folder: Path, table: Path | None, held_out_every: int) -> PeopleSplit:
    """Split the people of a folder of videos as the builders of mouth and eyelids do.

    Args:
        folder: The videos.
        table: CSV file with the columns `file` and `person`. A video that it lacks shows another person.
        held_out_every: Every N-th person is held out.

    Raises:
        InputError: If there are fewer than two people, or the table cannot be read.
    """
    names = read_people(table)
    identities = {
        path.relative_to(folder).as_posix(): names.get(path.stem, path.stem)
        for path in (list_videos(folder) if folder.is_dir() else ())
    }
    people = sorted(set(identities.values()), key=lambda person: (crc32(person.encode()), person))
    if len(people) < 2:
        raise InputError(f"{folder}: shows {len(people)} people. Name a folder with videos of at least two.")
    return PeopleSplit(identities, frozenset(people[::held_out_every]))


def record_split(output: Path, held_out: frozenset[str]) -> None:
    """Write the held-out people where training reads them.

    Args:
        output: Output of the training.
        held_out: The people.

    Raises:
        InputError: If the output has been trained with other people held out.
    """
    path = output / PEOPLE
    people = sorted(held_out)
    if path.exists():
        if json.loads(path.read_text("utf-8"))["people"] == people:
            return
        if any(output.glob("*/step-*.pt")) or (output / "vae").exists():
            raise InputError(f"{output}: was trained with other people held out. Choose another work folder.")
    output.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"people": people}, indent=1), "utf-8")
