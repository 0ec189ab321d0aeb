"""Devices: which there are, what they can do, copies to and from them, and their errors."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from mimaface_cli.errors import InputError, WeightsError, brief

DEVICE_TYPES = ("cuda", "mps", "xpu", "cpu")
_CPU = torch.device("cpu")
# Parts of the messages of a device, or of the CPU, without free memory. Not all of them come with OutOfMemoryError.
_OUT_OF_MEMORY = (
    "out of memory",  # CUDA error: out of memory; MPS backend out of memory; UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY
    "out_of_device_memory",
    "can't allocate memory",
    "not enough memory",
    "_status_alloc_failed",  # of cuBLAS, cuDNN, cuSOLVER
    "_status_not_initialized",  # cuBLAS and cuDNN have no memory for their handle
)


def find_accelerator() -> torch.device | None:
    """Return the accelerator that "auto" selects, with its index, or None."""
    with warnings.catch_warnings():  # an old driver warns; `resolve_device` reports it
        warnings.simplefilter("ignore")
        if not torch.accelerator.is_available():
            return None
        device = torch.accelerator.current_accelerator()
    if device is None or device.type not in DEVICE_TYPES:
        return None
    return torch.device(device.type, torch.accelerator.current_device_index())


def resolve_device(name: str) -> torch.device:
    """Return a device by its name.

    Args:
        name: "auto" (the accelerator), "cuda", "cuda:N", "mps", "xpu", "xpu:N" or "cpu".

    Returns:
        The device; accelerators have an index.

    Raises:
        InputError: For an unknown name.
        WeightsError: If there is no such device.
    """
    try:
        device = None if name == "auto" else torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device is not None and device.type not in DEVICE_TYPES:
        raise InputError(f"unknown device {name!r}. Choose auto, cuda, cuda:N, mps, xpu or cpu.", field="device")
    if device is not None and device.type == "cpu":
        return _CPU
    accelerator = find_accelerator()
    if accelerator is None or (device is not None and device.type != accelerator.type):
        raise WeightsError(explain_missing_device(name), field="device")
    index = accelerator.index if device is None or device.index is None else device.index
    count = torch.accelerator.device_count()
    if index >= count:
        hidden = f" (CUDA_VISIBLE_DEVICES={visible})" if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) else ""
        raise WeightsError(
            f"there is no device {name!r}: this machine has {count} of type {accelerator.type}, numbered from "
            f"0{hidden}. {_ADVICE}",
            field="device",
        )
    resolved = torch.device(accelerator.type, index)
    _check_device(resolved)
    return resolved


def _check_device(device: torch.device) -> None:
    """Run a first operation on a device. Raises WeightsError if this PyTorch cannot use it."""
    try:
        bool(torch.ones(1, device=device) > 0)
    except RuntimeError as error:  # no kernels for this card, a driver that does not match, a broken card
        if not is_out_of_memory(error):  # what follows has its own ways to use less memory
            raise WeightsError(f"{device}: cannot be used ({brief(error)}). {_ADVICE}", field="device") from error


_ADVICE = (
    "Set `device=cpu` to run on the CPU (minutes to hours for a second of video), or `engine=mesh`, which needs no "
    "device."
)


def explain_missing_device(name: str = "auto") -> str:
    """Say that a device is missing, why if the reason is known, and what to do."""
    reason = _cuda_problem() if name.startswith(("auto", "cuda")) else None
    missing = "no GPU" if name == "auto" else f"no device {name!r}"
    return f"there is {missing}{f' ({reason})' if reason else ''}. {_ADVICE}"


def _cuda_problem() -> str | None:
    """Return why PyTorch cannot use a card that the machine seems to have."""
    if not os.path.exists("/dev/nvidia0") and not os.path.exists("/proc/driver/nvidia/version"):
        return None
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all of them"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.init()
    except (RuntimeError, AssertionError) as error:  # the driver is too old, or the card is in use or broken
        return brief(error)
    return None


def supports_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16 without emulation."""
    if device.type == "cuda":
        # Of this device: `torch.cuda.is_bf16_supported` asks about the current one.
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type in ("xpu", "cpu")


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a device, or None where they are not limited or not known."""
    if device.type == "cuda":
        try:
            return torch.cuda.mem_get_info(device)[0]
        except RuntimeError as error:  # other programs have left no memory for this one's context
            if not is_out_of_memory(error):
                raise
            return 0
    if device.type == "xpu":
        try:
            return torch.accelerator.get_memory_info(device)[0]
        except RuntimeError:  # older drivers do not report it
            return None
    return None


def send(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Move a tensor to a device, without waiting for the copy where that is possible."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device, dtype or tensor.dtype)


def receive(parts: Iterator[Tensor], like: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Copy parts of a batch from a device to the host without waiting for each of them.

    Args:
        parts: Tensors (N, ...) on the device; their lengths add up to that of the batch.
        like: Shape of the batch.
        dtype: Type of the batch.
        device: The device.

    Returns:
        The batch on the host. Its content is only valid after the device's stream was synchronized.
    """
    batch = torch.empty(like, dtype=dtype, pin_memory=device.type == "cuda")
    start = 0
    for part in parts:
        batch[start : start + len(part)].copy_(part, non_blocking=device.type == "cuda")
        start += len(part)
    return batch


def side_stream(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which work runs beside that of other threads, on a stream of its own where there are any."""
    return torch.Stream(device) if device.type in ("cuda", "xpu") else nullcontext()


def synchronize(device: torch.device) -> None:
    """Wait for all work of a device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def release_memory(device: torch.device) -> None:
    """Give cached memory back to the device's driver."""
    if device.type != "cpu":
        torch.accelerator.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a device, or the CPU, has run out of memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in message for part in _OUT_OF_MEMORY)


class CPUFallback(nn.Module):
    """A network that moves to the CPU if its device has no memory for it.

    Args:
        network: The network, a function of one tensor.
        device: The device to start on.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network = network
        try:
            network.to(device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            network.to("cpu")

    def forward(self, x: Tensor) -> Tensor:
        """Call the network."""
        try:
            return self.network(x)
        except RuntimeError as error:
            if x.device.type == "cpu" or not is_out_of_memory(error):
                raise
        self.network.to("cpu")
        return self.network(x.cpu())
