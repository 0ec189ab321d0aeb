"""How interlaced videos are read: the values of the option `deinterlace`."""

from mimaface_cli.errors import InputError

FRAME, FIELD, OFF = "frame", "field", "off"
DEINTERLACE_MODES = (FRAME, FIELD, OFF)


def check_deinterlace(mode: str) -> None:
    """Raise InputError for an unknown mode of deinterlacing."""
    if mode not in DEINTERLACE_MODES:
        raise InputError(f"{mode!r} is not one of {', '.join(DEINTERLACE_MODES)}.", field="deinterlace")
