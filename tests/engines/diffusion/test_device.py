"""Devices: names, the reasons why there is none, and the errors of full memory."""

import os

import pytest
import torch

from mimaface_cli.engines.diffusion import device as devices
from mimaface_cli.engines.diffusion.device import find_accelerator, free_memory, is_out_of_memory, resolve_device
from mimaface_cli.errors import WeightsError


@pytest.fixture
def check_device():
    """The check of a device, which `accelerator` leaves out."""
    return devices._check_device


def test_auto_selects_the_accelerator_with_its_index(accelerator):
    accelerator("cuda", count=2)
    assert resolve_device("auto") == find_accelerator() == torch.device("cuda", 0)
    assert resolve_device("cuda") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_apple_and_intel_gpus_are_accepted(accelerator, kind):
    accelerator(kind)
    assert resolve_device("auto") == resolve_device(kind) == torch.device(kind, 0)
    with pytest.raises(WeightsError, match=r"there is no device 'cuda'"):
        resolve_device("cuda")


def test_accelerator_of_another_kind_counts_as_none(accelerator):
    accelerator("hpu")
    assert find_accelerator() is None


def test_index_beyond_the_visible_devices_names_their_number(accelerator, monkeypatch):
    accelerator("cuda", count=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with pytest.raises(WeightsError, match=r"no device 'cuda:4': this machine has 2 of type cuda.*VISIBLE_DEVICES=4,5"):
        resolve_device("cuda:4")


@pytest.mark.parametrize(
    "reason",
    [
        "CUDA error: no kernel image is available for execution on the device\nCompile with `TORCH_USE_CUDA_DSA`",
        "The NVIDIA driver on your system is too old (found version 11040).",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    ],
    ids=["other card", "old driver", "busy"],
)
def test_card_that_cannot_compute_is_a_one_line_error(check_device, accelerator, monkeypatch, reason):
    accelerator("cuda")
    monkeypatch.setattr(devices, "_check_device", check_device)

    def fail(*_, **__):
        raise RuntimeError(reason)

    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(WeightsError, match=r"^device: cuda:0: cannot be used \((CUDA|The).*Set `device=cpu`") as caught:
        resolve_device("auto")
    assert "\n" not in str(caught.value)


def test_full_card_is_left_to_the_fallbacks(check_device, accelerator, monkeypatch):
    accelerator("cuda")
    monkeypatch.setattr(devices, "_check_device", check_device)

    def fail(*_, **__):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "ones", fail)
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    device = resolve_device("auto")
    assert free_memory(device) == 0


def hide_card(monkeypatch, version: str | None) -> None:
    """Pretend that the machine has a card and its driver, which PyTorch does not use."""
    exists = os.path.exists
    monkeypatch.setattr(devices.os.path, "exists", lambda path: path == "/dev/nvidia0" or exists(path))
    monkeypatch.setattr(torch.version, "cuda", version)


def test_build_without_cuda_is_reported_where_there_is_a_card(monkeypatch):
    hide_card(monkeypatch, None)
    with pytest.raises(WeightsError, match=r"there is no GPU \(PyTorch .* is built without CUDA\)\. Set `device=cpu`"):
        resolve_device("auto")


def test_hidden_cards_are_reported(monkeypatch):
    hide_card(monkeypatch, "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(WeightsError, match=r"there is no device 'cuda' \(CUDA_VISIBLE_DEVICES hides all of them\)\."):
        resolve_device("cuda")


def test_old_driver_is_reported_in_one_line(monkeypatch):
    hide_card(monkeypatch, "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def fail():
        raise RuntimeError("The NVIDIA driver on your system is too old\n(found version 11040).")

    monkeypatch.setattr(torch.cuda, "init", fail)
    with pytest.raises(WeightsError, match=r"no GPU \(The NVIDIA driver on your system is too old \(found") as caught:
        resolve_device("auto")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"),
        MemoryError(),
    ],
    ids=str,
)
def test_errors_of_full_memory_are_recognized(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError("out of memory"), ValueError("x")], ids=repr)
def test_other_errors_are_not_taken_for_full_memory(error):
    assert not is_out_of_memory(error)
