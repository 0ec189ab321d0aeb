"""Tiny networks run fastest on one thread, by far where the cores are busy."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
