"""Reading of cached arrays: a damaged file counts as a miss, whatever the damage."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mimaface_cli.errors import InputError


@contextmanager
def open_arrays(path: Path) -> Iterator[dict[str, np.ndarray]]:
    """Read the arrays of an .npz file by name, and report what the block then does not find in them as damage.

    Args:
        path: The file.

    Raises:
        InputError: The file cannot be read (caused by OSError), or is damaged (caused by ValueError).
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        yield arrays
    except OSError as error:
        raise InputError(f"{path}: cannot be read.") from error
    except Exception as error:  # zipfile, zlib, tokenize and numpy raise a dozen types on damaged bytes
        raise InputError(f"{path}: damaged. Delete it.") from ValueError(str(error))
