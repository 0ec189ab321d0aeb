"""Run the tiny networks on one thread, which is fastest, most of all on busy cores."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
