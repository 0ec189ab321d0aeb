"""The provenance record: how a result was generated, in a JSON file beside the result."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mimaface_cli import __version__
from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path
from mimaface_cli.fingerprint import content_hash
from mimaface_cli.media.encoding import is_image_sequence
from mimaface_cli.options import may_be_path
from mimaface_cli.weights import manifest
from mimaface_cli.weights.locate import locate_files, weights_folder

FORMAT = "mimaface provenance 1"
SUFFIX = ".provenance.json"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"  # IPTC's vocabulary
GENERATED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
_MAX_RECORD_BYTES = 1 << 22


@dataclass(frozen=True)
class Generation:
    """How a result is generated.

    Attributes:
        command: Name of the command.
        engine: Name of the engine.
        inputs: Input files or folders by their role.
        weights: Registry names of the models that take part, or the files of models that have none.
        options: Option dataclass, or JSON values.
        is_fully_generated: Whether a trained network rendered everything that is visible; otherwise the result is a
            composite with generated parts.
    """

    command: str
    engine: str
    inputs: Mapping[str, Path]
    weights: Sequence[str | Path]
    options: Any
    is_fully_generated: bool


@dataclass(frozen=True)
class Record:
    """The provenance record of a result.

    Attributes:
        content: Values that identify the result (see `build_record`); two runs of one command have the same content.
    """

    content: dict[str, Any]

    @property
    def identifier(self) -> int:
        """The 48 bits that the watermark carries: the first ones of the SHA-256 of the content."""
        return identify(self.content)

    @property
    def name(self) -> str:
        """The identifier as 12 hex digits."""
        return f"{self.identifier:012x}"

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self.content["engine"]

    @property
    def version(self) -> str:
        """Version of mimaface."""
        return self.content["generator"]["version"]

    @property
    def source_type(self) -> str:
        """Address of the IPTC term for the kind of generated media."""
        return self.content["digital_source_type"]


def build_record(generation: Generation) -> Record:
    """Return the record of a result.

    Raises:
        InputError: Where an input cannot be read.
        WeightsError: Where weights are missing.
    """
    inputs = [
        {"part": role, "name": path.name or path.resolve().name, "sha256": content_hash(path)}
        for role, path in generation.inputs.items()
    ]
    return Record(
        {
            "generator": {"name": "mimaface", "version": __version__},
            "command": generation.command,
            "engine": generation.engine,
            "digital_source_type": SOURCE_TYPES + (GENERATED if generation.is_fully_generated else COMPOSITE),
            "inputs": inputs,
            "weights": [entry for model in generation.weights for entry in _describe_weights(model)],
            "options": to_json_values(generation.options),
        }
    )


def identify(content: Mapping[str, Any]) -> int:
    """Return the 48-bit identifier of a record's content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def to_json_values(value: Any) -> Any:
    """Return options as JSON values.

    Paths are reduced to their names, because folders may contain private information. Fields with the metadata
    `recorded=False` are omitted.
    """
    if is_dataclass(value):
        recorded = [field for field in fields(value) if field.metadata.get("recorded", True)]
        return {field.name: to_json_values(_as_path(field, getattr(value, field.name))) for field in recorded}
    if isinstance(value, dict):
        return {str(key): to_json_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(entry) for entry in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    return value


def _as_path(field: Field[Any], value: Any) -> Any:
    """Return the text of an option that can be a path as a path; keywords and colors equal their names."""
    return Path(value) if isinstance(value, str) and may_be_path(field) else value


def _describe_weights(model: str | Path) -> list[dict[str, str]]:
    """Return name and hash of a model's files."""
    folder = weights_folder()
    installed = manifest.read(folder)
    if isinstance(model, Path):
        name = model.relative_to(folder).as_posix() if model.is_relative_to(folder) else model.name
        files = {name: model}
    else:
        files = locate_files(model, download=False)
    return [
        {"name": name, "sha256": installed[name].sha256 if name in installed else content_hash(path)}
        for name, path in files.items()
    ]


def record_path(output: Path) -> Path:
    """Return the path of an output's record: beside the file, or beside the folder of an image sequence."""
    result = _result_path(output)
    return result.with_name(result.name + SUFFIX)


def _result_path(output: Path) -> Path:
    """Return the file of an output, or the folder of an image sequence."""
    return output.parent if is_image_sequence(output) else output


def write_record(path: Path, result: Path, record: Record, marks: Mapping[str, Any]) -> None:
    """Write a record. It contains no time, so that two runs of one job write the same bytes.

    Args:
        path: Path of the record (`record_path`).
        result: The result, which may still have a temporary name.
        record: The record.
        marks: The marks that the result carries.

    Raises:
        OutputError: Where the record cannot be written.
    """
    values = {
        "format": FORMAT,
        "identifier": record.name,
        "content": record.content,
        "output": {"name": path.name.removesuffix(SUFFIX), "sha256": content_hash(result)},
        "marks": dict(marks),
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="ascii")


def is_orphaned(output: Path) -> bool:
    """Return whether an output has a record but no result.

    This happens if a run was killed between writing the two, or if the result was removed.
    """
    result = _result_path(output)
    is_empty_folder = result.is_dir() and not any(result.iterdir())
    if result.exists() and not is_empty_folder:
        return False
    try:
        return read_record(output) is not None
    except InputError:
        return False


def read_record(output: Path) -> dict[str, Any] | None:
    """Return the contents of the record file of an output, or None if it has none.

    Raises:
        InputError: For a file that is not a record or is damaged.
    """
    path = record_path(output)
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_RECORD_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error
    try:
        values = json.loads(text) if len(text) <= _MAX_RECORD_BYTES else None
    except (ValueError, RecursionError):
        values = None
    if not (isinstance(values, dict) and values.get("format") == FORMAT and _is_valid(values)):
        raise InputError(f"{path}: is not a record of mimaface, or is damaged. Move it away.")
    return values


def _is_valid(values: Mapping[str, Any]) -> bool:
    """Return whether the parts of a record that are used have the right types."""
    content, output = values.get("content"), values.get("output")
    if not (isinstance(content, dict) and isinstance(output, dict) and isinstance(content.get("inputs"), list)):
        return False
    return all(isinstance(entry, dict) and {"part", "name"} <= entry.keys() for entry in content["inputs"])
