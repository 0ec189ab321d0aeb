"""Reader of MATLAB files in a separate process: SciPy crashes on some damaged files."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_TIMEOUT = 300  # seconds
_MAX_MEMORY = 16 << 30  # bytes of address space; the largest file in use needs a thousandth of it


def read_mat(path: Path) -> "dict[str, np.ndarray]":
    """Read the numeric arrays of a MATLAB file (version 5 or 7).

    Args:
        path: A .mat file.

    Returns:
        Arrays by variable name. Variables of other types are skipped.

    Raises:
        WeightsError: The file is missing, damaged, or not a MATLAB file.
    """
    import numpy as np

    from mimaface_cli.errors import WeightsError

    try:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "arrays.npz"
            # -P removes this file's folder from the import path: its modules could shadow others of the same name.
            command = [sys.executable, "-P", __file__, str(path.absolute()), str(output)]
            process = subprocess.run(
                command,
                check=False,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_TIMEOUT,
            )
            if process.returncode:
                line = process.stderr.decode(errors="replace").partition("\n")[0]
                reason = "".join(filter(str.isprintable, line))[:160] if process.returncode == 1 else "it is damaged"
                raise WeightsError(f"{path}: cannot be read as a face model ({reason}). Download it again.")
            with np.load(output, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a face model ({error}). Download it again.") from error


def _convert_to_npz(path: str, output: str) -> int:
    """Write a MATLAB file's numeric arrays as .npz and return the exit code."""
    import numpy as np
    from scipy.io import loadmat

    _limit_resources()
    try:
        variables = loadmat(path)
    except Exception as error:  # loadmat raises any kind of exception for damaged bytes
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        return 1
    arrays: dict[str, Any] = {
        name: value for name, value in variables.items() if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    }
    np.savez(output, **arrays)
    return 0


def _limit_resources() -> None:
    """Limit memory and disable core dumps, where the system supports it."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    except (ImportError, OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(_convert_to_npz(*sys.argv[1:]))
