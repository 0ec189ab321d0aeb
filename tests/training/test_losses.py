"""Losses against equations written out by hand."""

import math

import pytest
import torch

from mimaface_cli.training.losses import MemoryBank, denoising_loss, identity_loss, prediction_target


def test_denoising_loss_is_a_mean_square_and_min_snr_bounds_easy_timesteps():
    predicted, noise = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    alphas = torch.tensor([0.5, 0.95])  # SNR 1 and 19
    assert denoising_loss(predicted, noise, alphas) == pytest.approx((2.5 + 10) / 2)
    assert denoising_loss(predicted, noise, alphas, 5.0) == pytest.approx((2.5 + 10 * 5 / 19) / 2, rel=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
def test_min_snr_weights_the_error_of_clean_latents_for_each_prediction(prediction):
    torch.manual_seed(0)
    clean, estimate, noise = torch.randn(3, 2, 4, 1, 5, 5).double()
    alphas = torch.tensor([0.3, 0.97], dtype=torch.double)
    level = alphas[:, None, None, None, None]
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    # The noise that an estimate of the clean latents implies, with the same noisy latents.
    implied_noise = (noisy - level.sqrt() * estimate) / (1 - level).sqrt()
    expected = ((estimate - clean).square().flatten(1).mean(1) * (alphas / (1 - alphas)).clamp_max(5.0)).mean()
    target = prediction_target(prediction, clean, noise, alphas)
    predicted = prediction_target(prediction, estimate, implied_noise, alphas)
    assert denoising_loss(predicted, target, alphas, 5.0, prediction) == pytest.approx(float(expected), rel=1e-4)


def test_identity_loss_equals_equation_2_of_the_paper():
    bank = MemoryBank(4, 2)
    bank.add(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]), torch.tensor([7, 8, 9]))
    token, positive = torch.tensor([[5.0, 0.0]]), torch.tensor([[[1.0, 1.0]]])
    similarity = math.exp(math.sqrt(0.5))
    # Neither the stored token of person 7 itself nor the empty slot is a negative.
    expected = -math.log(similarity / (similarity + math.exp(0) + math.exp(-1)))
    assert identity_loss(token, positive, torch.tensor([7]), bank).item() == pytest.approx(expected, rel=1e-5)


def test_identity_loss_with_an_empty_bank_is_zero_with_finite_gradients():
    tokens = torch.randn(3, 4, requires_grad=True)
    loss = identity_loss(tokens, torch.randn(2, 3, 4), torch.arange(3), MemoryBank(8, 4))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(tokens.grad).all()


def test_identity_loss_without_a_bank_uses_other_people_of_the_batch():
    tokens = torch.tensor([[5.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    positives = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]], requires_grad=True)
    similarity = math.exp(math.sqrt(0.5))
    # The first and the third sample show the same person: neither is a negative of the other.
    person = torch.tensor([4, 6, 4])
    first = -math.log(math.e / (math.e + similarity))
    second = -math.log(similarity / (similarity + math.exp(0) + math.exp(1)))
    third = -math.log(math.exp(0.8) / (math.exp(0.8) + math.exp(1.4 * math.sqrt(0.5))))
    loss = identity_loss(tokens, positives, person, None)
    assert loss.item() == pytest.approx((first + second + third) / 3, rel=1e-5)
    loss.backward()
    assert torch.isfinite(positives.grad).all()
    assert positives.grad[0, 1].any()  # Negatives get gradients too.
    assert identity_loss(tokens, positives.detach(), torch.zeros(3, dtype=torch.long), None) == 0


def test_identity_loss_attracts_positives_and_repels_other_people():
    bank = MemoryBank(1, 2)
    bank.add(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    token = torch.tensor([[1.0, 1.0]], requires_grad=True)
    loss = identity_loss(token, torch.tensor([[[1.0, 0.0]]]), torch.tensor([0]), bank)
    bank.add(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))  # A change of the bank must not disturb the backward pass.
    loss.backward()
    assert token.grad[0, 0] < 0 < token.grad[0, 1]


def test_memory_bank_replaces_the_oldest_tokens_and_restores_its_state():
    bank = MemoryBank(3, 2)
    bank.add(torch.eye(2), torch.tensor([0, 1]))
    bank.add(torch.eye(2), torch.tensor([2, 3]))
    assert bank.person.tolist() == [3, 1, 2]
    restored = MemoryBank(3, 2)
    restored.load_state_dict(bank.state_dict())
    for each in (bank, restored):
        each.add(torch.ones(5, 2), torch.arange(4, 9))  # More than it holds.
    assert sorted(bank.person.tolist()) == [6, 7, 8]
    assert torch.equal(bank.person, restored.person)
    assert torch.equal(bank.tokens, restored.tokens)


def test_memory_bank_rejects_the_state_of_another_size():
    with pytest.raises(ValueError, match="the configured one is"):
        MemoryBank(4, 2).load_state_dict(MemoryBank(3, 2).state_dict())
