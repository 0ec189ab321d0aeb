"""The estimate of a card's memory: it counts what exists, and orders the memory levels."""

import pytest
import torch

from tests.benchmarks import diffusers_floor
from tests.benchmarks.gpu_memory import MemoryCounter, estimate_memory
from tests.fake_device import CARD, fake_card


def test_counter_counts_tensors_on_the_card_while_they_exist():
    with fake_card(), MemoryCounter() as counter:
        first = torch.zeros(1000, device=CARD)
        view, host = first[:10], torch.zeros(1000)
        assert counter.count() == 4000
        del first
        assert counter.count() == 4000  # the view needs all of it
        del view, host
        assert counter.count() == 0 and counter.peak == 4000


@pytest.mark.slow
def test_lower_memory_levels_take_less_memory(monkeypatch):
    monkeypatch.setattr(diffusers_floor, "sizes", [(diffusers_floor.TOY, diffusers_floor.TOY_VAE)])
    high, low, minimal = (estimate_memory("release", torch.bfloat16, name, 128) for name in ("high", "low", "minimal"))
    assert high.denoising >= low.denoising > minimal.denoising  # a toy may have nothing to cut
    assert high.decoding > low.decoding and low.weights > minimal.weights
