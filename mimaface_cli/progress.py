"""The progress callback that long work reports to."""

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int | None], None]
"""Called with the name of the stage, the units done and the total, which is None if it is unknown."""


def ignore_progress(stage: str, done: int, total: int | None) -> None:
    """Do nothing; the default progress callback."""
