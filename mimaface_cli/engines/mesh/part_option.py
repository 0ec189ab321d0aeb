"""The options `mouth` and `eyes`: learned, painted, or the path of a model file."""

from pathlib import Path

from mimaface_cli.errors import InputError

LEARNED, PAINTED = "learned", "painted"
MODEL_SUFFIX = ".npz"
PART_HELP = "learned, painted or MODEL.npz."


def check_part_option(text: str | None, field: str) -> None:
    """Check what can be checked without reading files; None always passes. Raises InputError with the field."""
    if text is None:
        return
    if text not in (LEARNED, PAINTED) and Path(text).suffix.lower() != MODEL_SUFFIX:
        raise InputError(
            f"unknown value {text[:40]!r}. Choose {LEARNED}, {PAINTED} or a model file ({MODEL_SUFFIX}).", field=field
        )


def part_model_path(text: str) -> Path | None:
    """Return the path of a model file, or None for learned and painted."""
    return None if text in (LEARNED, PAINTED) else Path(text)
