"""Run on one thread, which is fastest for tiny networks, above all on busy cores."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def single_torch_thread() -> Iterator[None]:
    """Limit PyTorch to one thread; the number of threads is restored, because results of other tests depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
