"""What was generated, from what and how: the record that names a result, and the file beside it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mimaface_cli import __version__
from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path
from mimaface_cli.fingerprint import content_hash
from mimaface_cli.media.encoding import is_image_sequence
from mimaface_cli.weights import manifest
from mimaface_cli.weights.locate import locate_files, weights_folder

FORMAT = "mimaface provenance 1"
SUFFIX = ".provenance.json"
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
_LARGEST = 1 << 22  # bytes of a record that is read


@dataclass(frozen=True)
class Record:
    """content: what names the result and nothing that changes between two runs of one command (see `build`)."""

    content: dict[str, Any]

    @property
    def identifier(self) -> int:
        """The 48 bits that the mark in the frames carries: the first of the SHA-256 of the content."""
        return identifier_of(self.content)

    @property
    def name(self) -> str:
        """The identifier as 12 hex digits."""
        return f"{self.identifier:012x}"

    @property
    def engine(self) -> str:
        return self.content["engine"]

    @property
    def source_type(self) -> str:
        """The IPTC term's address."""
        return self.content["digital_source_type"]


def build(
    command: str, engine: str, inputs: Mapping[str, Path], weights: list[str | Path], options: Any, *, whole: bool
) -> Record:
    """The record of a result. inputs: files or folders by their part in it; weights: registry names of what drew it (or
    files that have none); options: a dataclass. whole: everything seen was drawn by a trained network, else it is a
    composite with it.

    Raises InputError where an input cannot be read, WeightsError where weights are missing.
    """
    return Record(
        {
            "generator": {"name": "mimaface", "version": __version__},
            "command": command,
            "engine": engine,
            "digital_source_type": TERMS + (GENERATED if whole else COMPOSITE),
            "inputs": [
                {"part": part, "name": path.name or path.resolve().name, "sha256": content_hash(path)}
                for part, path in inputs.items()
            ],
            "weights": [entry for name in weights for entry in _weights(name)],
            "options": plain(options),
        }
    )


def identifier_of(content: Mapping[str, Any]) -> int:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def plain(value: Any) -> Any:
    """Options as JSON holds them; of paths their names only, for the rest is nobody's business."""
    if is_dataclass(value):
        return {
            field.name: plain(getattr(value, field.name))
            for field in fields(value)
            if field.metadata.get("recorded", True)
        }
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    return value


def sidecar(output: Path) -> Path:
    """Where the record of an output lies: beside it, of numbered pictures beside their folder."""
    made = _made(output)
    return made.with_name(made.name + SUFFIX)


def _made(output: Path) -> Path:
    """The file, or of numbered pictures the folder, that an output's name stands for."""
    return output.parent if is_image_sequence(output) else output


def write(path: Path, finished: Path, record: Record, marks: Mapping[str, Any]) -> None:
    """Write a record. path: where it belongs (`sidecar`); finished: the result, which may still have a temporary name;
    marks: what was put into it. Holds no time: two runs of one job write the same bytes. Raises OutputError.
    """
    told = {
        "format": FORMAT,
        "identifier": record.name,
        "content": record.content,
        "output": {"name": path.name.removesuffix(SUFFIX), "sha256": content_hash(finished)},
        "marks": dict(marks),
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="ascii")


def orphaned(output: Path) -> bool:
    """Whether a record lies beside the place of an output that is not there: of a run that was killed between the two,
    or of a result that was removed since.
    """
    made = _made(output)
    if made.exists() and not (made.is_dir() and not any(made.iterdir())):
        return False
    try:
        return read(output) is not None
    except InputError:
        return False


def read(output: Path) -> dict[str, Any] | None:
    """The record beside a file or folder, None where there is none. Raises InputError for one that is no record."""
    path = sidecar(output)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        told = json.loads(text) if len(text) <= _LARGEST else None
    except (ValueError, RecursionError):
        told = None
    if not (isinstance(told, dict) and told.get("format") == FORMAT and _whole(told)):
        raise InputError(f"{path}: is no record of mimaface, or a damaged one; move it away")
    return told


def _whole(told: Mapping[str, Any]) -> bool:
    """Whether what is read of a record has the kind it should have."""
    content, output = told.get("content"), told.get("output")
    if not (isinstance(content, dict) and isinstance(output, dict) and isinstance(content.get("inputs"), list)):
        return False
    return all(isinstance(entry, dict) and {"part", "name"} <= entry.keys() for entry in content["inputs"])


def _weights(name: str | Path) -> list[dict[str, str]]:
    folder = weights_folder()
    installed = manifest.read(folder)
    if isinstance(name, Path):
        inside = name.relative_to(folder).as_posix() if name.is_relative_to(folder) else name.name
        files = {inside: name}
    else:
        files = locate_files(name, download=False)
    return [
        {"name": path, "sha256": installed[path].sha256 if path in installed else content_hash(file)}
        for path, file in files.items()
    ]
