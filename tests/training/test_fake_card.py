"""A step of both training stages on a fake CUDA card: every tensor is on the right device, and nothing waits.

The backward pass is left out: it needs a build with CUDA, even for tensors without data.
"""

from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL

from mimaface_cli.training import augmentation, objective, stages
from mimaface_cli.training.config import AutoencoderConfig, NetworkSize
from mimaface_cli.training.loop import send_batch
from mimaface_cli.training.losses import MemoryBank
from mimaface_cli.training.objective import DenoisingObjective
from mimaface_cli.training.small_networks import build_small_networks
from tests.fake_device import CARD, fake_card
from tests.training.small_runs import AUTOENCODER, NETWORK_SIZE, small_config

BATCH, CLIP, SIDE = 2, 4, 32


@pytest.fixture
def card(monkeypatch):
    """A fake card, whose random generators are the host's."""
    monkeypatch.setattr(stages, "create_generator", lambda *arguments: SimpleNamespace(device=CARD))
    for module in (torch, objective.torch):
        for name in ("rand", "randn", "randint"):
            monkeypatch.setattr(module, name, without_generator(getattr(torch, name)))
    with fake_card() as traffic, torch.no_grad():
        yield traffic


def without_generator(function):
    def call(*arguments, generator=None, **options):
        return function(*arguments, **options)

    return call


def build_step(stage: str, tmp_path):
    """Return the network on the card, its losses and a micro-batch on the host."""
    config = small_config(tmp_path, tmp_path)
    network = build_small_networks(NetworkSize(**{**NETWORK_SIZE, "channels": (8, 16), "attention": (False, True)}),
                                   video=stage == "video").to(CARD)  # fmt: skip
    sizes = AutoencoderConfig(**{**AUTOENCODER, "channels": (8, 8, 8)})
    vae = AutoencoderKL(**sizes.network_config(SIDE)).eval().requires_grad_(False).to(CARD)
    bank = MemoryBank(8, network.clip.config.hidden_size).to(CARD)
    accelerator = SimpleNamespace(gather=lambda tensor: tensor, sync_gradients=True)
    run = SimpleNamespace(config=config, device=CARD, bank=bank, accelerator=accelerator)
    denoising = DenoisingObjective(torch.linspace(0.99, 0.01, 1000).to(CARD), "epsilon", 0.1, 5.0)
    frames = 1 if stage == "image" else CLIP
    images = torch.zeros(BATCH, frames, 3, SIDE, SIDE, dtype=torch.uint8)
    batch = {
        "target": images,
        "render": images,
        "photo": images[:, 0],
        "other": images[:, 0],
        "motion": torch.zeros(BATCH, frames, 74),
        "person": torch.zeros(BATCH, dtype=torch.long),
        "number": torch.zeros(BATCH, dtype=torch.long),
        "known": torch.ones(BATCH, dtype=torch.long),
    }
    kind = stages._ImageLosses if stage == "image" else stages._VideoLosses
    return network, kind(run, vae, denoising), batch


@pytest.mark.parametrize("stage", ["image", "video"])
def test_training_step_runs_on_the_card_without_a_wait(card, tmp_path, stage):
    network, losses, batch = build_step(stage, tmp_path)
    card.clear()
    on_device = send_batch(batch, CARD)
    parts = losses(network, on_device)
    assert {part.device for part in parts.values()} == {CARD}
    assert card.waits == [], card.waits
    assert len(card.copies) >= len(batch) - 1
    update_weights(network)
    assert card.waits == [], card.waits


def update_weights(network: torch.nn.Module) -> None:
    """Clip gradients, take an optimizer step and move an average, as the trainer does."""
    parameters = list(network.parameters())
    averages = [parameter.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    torch.optim.AdamW(parameters, 1e-5).step()
    torch._foreach_lerp_(averages, parameters, 0.1)


def test_augmentation_makes_the_host_wait_for_nothing(card):
    images = torch.zeros(BATCH, 3, SIDE, SIDE, device=CARD)
    card.clear()
    assert augmentation.augment_photometric(images, SimpleNamespace(device=CARD)).device == CARD
    assert card.waits == []


def test_sample_numbers_stay_on_the_host():
    with fake_card():
        batch = send_batch({"number": torch.zeros(2), "photo": torch.zeros(2)}, CARD)
    assert (batch["number"].device.type, batch["photo"].device) == ("cpu", CARD)
