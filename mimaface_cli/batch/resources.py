"""Resources of this machine: the number of workers that it can run, and the environment of each."""

import os
import shutil

CORES_PER_JOB = 2  # one renders, one encodes
_MEMORY_PER_WORKER = 1_500_000_000  # bytes


def cuda_devices() -> list[str]:
    """Return the usable CUDA devices, named as in CUDA_VISIBLE_DEVICES."""
    if shutil.which("nvidia-smi") is None and not os.path.exists("/dev/nvidia0"):
        return []  # without loading PyTorch, which takes seconds
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def plan_workers(uses_diffusion: bool) -> tuple[int, list[dict[str, str]]]:
    """Return the default number of workers and the environment variables of each.

    If jobs may use the diffusion engine, there is one worker per CUDA device, else as many as cores and free memory
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
    """Return the number of bytes available to new processes; a huge number if the system does not report it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
        return int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 1 << 62
