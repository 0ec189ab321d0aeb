"""The layers of a source video's frames."""

from collections.abc import Callable, Generator
from functools import partial

from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait, prepare_still_head
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait


def prepare_frames(
    portraits: Generator[Portrait, None, None], model: Face478
) -> Generator[Callable[[], PreparedPortrait], None, None]:
    """Yield for each frame of a video a function that prepares it.

    Args:
        portraits: The frames.
        model: The face model of their coefficients.
    """
    try:
        for portrait in portraits:
            yield partial(prepare_still_head, portrait, model)
    finally:
        portraits.close()
