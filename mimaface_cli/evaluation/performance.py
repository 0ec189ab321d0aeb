"""Speed and memory of the results that an engine renders for a list, stored beside them."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mimaface_cli.files import atomic_path
from mimaface_cli.progress import ProgressCallback

PERFORMANCE_FILE = "performance.json"
RENDERING_STAGE = "animating"
_INTERVAL = 0.05  # seconds between two samples of the memory
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Performance:
    """Speed and memory of one rendered result.

    Attributes:
        frames: Frames of the result.
        seconds: From the start to the finished file, with the driver's motion and the start of the engine.
        first_frame: Seconds from the start to the first rendered frame.
        peak_memory: Largest memory of the process in MB while it rendered.
        gpu_memory: Largest memory of PyTorch on the GPU in MB, or None without a GPU.
    """

    frames: int
    seconds: float
    first_frame: float
    peak_memory: float
    gpu_memory: float | None = None


class PerformanceMeter:
    """Measures the block of a `with` statement. Pass `watch(progress)` to the rendering."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._first: float | None = None
        self._end = self._start
        self._frames = 0
        self._peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> Self:
        _reset_gpu_peak()
        self._start = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end = time.perf_counter()
        self._stop.set()
        self._thread.join()

    def watch(self, progress: ProgressCallback) -> ProgressCallback:
        """Return a progress callback that notes the first frame and counts frames."""

        def report(stage: str, done: int, total: int | None) -> None:
            if stage == RENDERING_STAGE and done:
                self._frames = max(self._frames, done)
                if self._first is None:
                    self._first = time.perf_counter()
            progress(stage, done, total)

        return report

    def result(self) -> Performance | None:
        """Return the figures, or None if no frame was reported."""
        if self._first is None:
            return None
        return Performance(
            self._frames, self._end - self._start, self._first - self._start, self._peak, _read_gpu_peak()
        )

    def _sample(self) -> None:
        while True:
            self._peak = max(self._peak, _current_memory())
            if self._stop.wait(_INTERVAL):
                return


def _current_memory() -> float:
    """Return the resident memory of this process in MB; where the system does not report it, its peak so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE
    except (OSError, ValueError, IndexError, AttributeError):
        return _peak_memory()


def _peak_memory() -> float:
    """Return the peak memory of this process in MB, or 0 where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MEGABYTE if sys.platform == "darwin" else peak / 1000


def _loaded_cuda() -> Any:
    """Return torch.cuda if PyTorch is loaded and has a GPU, else None."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return torch.cuda


def _reset_gpu_peak() -> None:
    if cuda := _loaded_cuda():
        cuda.reset_peak_memory_stats()


def _read_gpu_peak() -> float | None:
    cuda = _loaded_cuda()
    return cuda.max_memory_allocated() / _MEGABYTE if cuda and cuda.max_memory_allocated() else None


@contextmanager
def record_performance(result: Path, progress: ProgressCallback) -> Iterator[ProgressCallback]:
    """Measure the rendering of a result in the block, and store the figures in its folder.

    Args:
        result: Path of the result.
        progress: Progress callback of the caller.

    Yields:
        The progress callback to use in the block.
    """
    with PerformanceMeter() as meter:
        yield meter.watch(progress)
    performance = meter.result()
    if performance is not None:
        entries = _read_entries(result.parent) | {result.name: asdict(performance)}
        with atomic_path(result.parent / PERFORMANCE_FILE) as temporary:
            temporary.write_text(json.dumps(dict(sorted(entries.items())), indent=1), encoding="utf-8")


def read_performance(result: Path) -> Performance | None:
    """Return the stored figures of a result, or None if it was not rendered by an evaluation."""
    try:
        return Performance(**_read_entries(result.parent)[result.name])
    except (KeyError, TypeError):
        return None


def _read_entries(folder: Path) -> dict[str, Any]:
    try:
        entries = json.loads((folder / PERFORMANCE_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
