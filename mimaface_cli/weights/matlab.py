"""MATLAB files, read in a process of their own: SciPy's reader crashes on some damaged ones, and would take us along."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_MOST_SECONDS = 300
_MOST_MEMORY = 16 << 30  # of addresses; the largest file we read takes a thousandth of it unpacked


def read_mat(path: Path) -> "dict[str, np.ndarray]":
    """The arrays of numbers in a .mat file (version 5 or 7) by name. Raises WeightsError."""
    import numpy as np

    from mimaface_cli.errors import WeightsError

    try:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "arrays.npz"
            # -P: what lies beside this file must not stand in for modules of the same name.
            command = [sys.executable, "-P", __file__, str(path.absolute()), str(output)]
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
            ran = subprocess.run(
                command, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=_MOST_SECONDS
            )
            if ran.returncode:
                lines = ran.stderr.decode(errors="replace").split("\n")
                reason = "".join(filter(str.isprintable, lines[0]))[:160] if ran.returncode == 1 else "it is damaged"
                raise WeightsError(f"{path}: cannot be read as a face model ({reason}); fetch it again")
            with np.load(output, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a face model ({error}); fetch it again") from error


def _main(path: str, output: str) -> int:
    import numpy as np
    from scipy.io import loadmat

    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    except (ImportError, OSError, ValueError):  # no such limits on this system
        pass
    try:
        arrays = loadmat(path)
    except Exception as error:  # on damaged bytes it raises whatever its parts do
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        return 1
    numbers = {
        name: value for name, value in arrays.items() if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    }
    np.savez(output, **numbers)
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
