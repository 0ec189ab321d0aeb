"""How many workers a machine has room for, and the environment of each."""

import os
import shutil

CORES_PER_JOB = 2  # one renders, one encodes
_MEMORY_PER_WORKER = 1_500_000_000  # bytes


def cuda_devices() -> list[str]:
    """Return the usable CUDA devices by the names that CUDA_VISIBLE_DEVICES takes."""
    if shutil.which("nvidia-smi") is None and not os.path.exists("/dev/nvidia0"):
        return []  # without loading PyTorch, which takes seconds
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def plan_workers(uses_diffusion: bool) -> tuple[int, list[dict[str, str]]]:
    """Return the default number of workers and the environment variables of each.

    There is one worker per CUDA device where jobs may use the diffusion engine, else as many as cores and free memory
    allow.
    """
    devices = cuda_devices() if uses_diffusion else []
    if devices:
        return len(devices), [{"CUDA_VISIBLE_DEVICES": name} for name in devices]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # One more than the cores suggest: a job's start and end keep only one core busy.
    count = 1 if cores == 1 else cores // CORES_PER_JOB + 1
    return max(1, min(count, _free_memory() // _MEMORY_PER_WORKER)), []


def _free_memory() -> int:
    """Return the bytes that new processes may use; a huge number where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
        return int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 1 << 62
