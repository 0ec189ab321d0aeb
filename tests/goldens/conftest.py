"""Run on one thread, which is fastest for small tensors, most of all on busy cores."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
