"""How many workers a machine bears, and what each is told of it."""

import os
import shutil

CORES = 2  # that one job keeps busy: drawing, and encoding beside it
_MEMORY = 1_500_000_000  # bytes for one worker


def cards() -> list[str]:
    """The CUDA devices that may be used, by the names that CUDA_VISIBLE_DEVICES takes."""
    if shutil.which("nvidia-smi") is None and not os.path.exists("/dev/nvidia0"):
        return []  # spares the seconds that PyTorch takes to load
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[:count] if given else [str(number) for number in range(count)]


def workers_for(diffusion: bool) -> tuple[int, list[dict[str, str]]]:
    """How many workers by default, and the variables of each: one for each CUDA device where jobs may use `diffusion`,
    else by cores and free memory.
    """
    devices = cards() if diffusion else []
    if devices:
        return len(devices), [{"CUDA_VISIBLE_DEVICES": name} for name in devices]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = 1 if cores == 1 else cores // CORES + 1  # one more: a job's beginning and end keep one core only
    return max(1, min(wanted, _free_memory() // _MEMORY)), []


def _free_memory() -> int:
    """Bytes that new processes may take, as far as the system tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
        return int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 1 << 62
