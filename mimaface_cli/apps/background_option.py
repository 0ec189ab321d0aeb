"""The option `background`: keep, transparent, a color, or the path of an image or a video."""

from pathlib import Path

from mimaface_cli.errors import InputError

KEEP, TRANSPARENT = "keep", "transparent"
BACKGROUND_HELP = "keep (default), transparent, color, image or video."


def check_background(text: str) -> None:
    """Check what can be checked without reading files. Raises InputError with the field `background`."""
    if not text:
        raise InputError(
            "is empty. Give keep, transparent, a color, or the path of an image or a video.", field="background"
        )
    parse_color(text)


def parse_color(text: str) -> tuple[int, int, int] | None:
    """Return the RGB values, 0 to 255, of a color's name or notation; None if the text is no color.

    A file with the name of a color needs its folder in the path, as in ./red.

    Raises:
        InputError: For a color that is partly transparent or out of range.
    """
    from PIL import ImageColor

    if text in (KEEP, TRANSPARENT):
        return None
    try:
        values = ImageColor.getrgb(text)
    except ValueError:
        return None
    red, green, blue, *opacity = values
    if opacity not in ([], [255]):
        raise InputError(f"{text} is partly transparent. Give an opaque color such as {text[:7]}.", field="background")
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise InputError(f"{text} is out of range. Give values from 0 to 255.", field="background")
    return red, green, blue


def background_path(text: str) -> Path | None:
    """Return the path of an image or video, or None for keep, transparent and colors."""
    return None if text in (KEEP, TRANSPARENT) or parse_color(text) is not None else Path(text)
