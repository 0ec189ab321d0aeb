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


def test_whatever_is_predicted_min_snr_weighs_the_clean_latents_error():
    torch.manual_seed(0)
    clean, guess, noise = torch.randn(3, 2, 4, 1, 5, 5).double()
    alphas = torch.tensor([0.3, 0.97], dtype=torch.double)
    level = alphas[:, None, None, None, None]
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    # The noise that a guess at the clean latents implies, with the same noisy latents.
    implied = (noisy - level.sqrt() * guess) / (1 - level).sqrt()
    expected = ((guess - clean).square().flatten(1).mean(1) * (alphas / (1 - alphas)).clamp_max(5.0)).mean()
    for prediction in ("epsilon", "v", "sample"):
        target = prediction_target(prediction, clean, noise, alphas)
        made = prediction_target(prediction, guess, implied, alphas)
        loss = denoising_loss(made, target, alphas, 5.0, prediction)
        assert loss == pytest.approx(float(expected), rel=1e-4)


def test_identity_loss_is_equation_2():
    bank = MemoryBank(4, 2)
    bank.add(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]), torch.tensor([7, 8, 9]))
    token, positive = torch.tensor([[5.0, 0.0]]), torch.tensor([[[1.0, 1.0]]])
    near = math.exp(math.sqrt(0.5))
    # Person 7's own stored token, alike as it is, is no negative; nor is the place not yet filled.
    expected = -math.log(near / (near + math.exp(0) + math.exp(-1)))
    assert identity_loss(token, positive, torch.tensor([7]), bank).item() == pytest.approx(expected, rel=1e-5)


def test_identity_loss_is_zero_and_finite_in_its_gradient_while_the_bank_is_empty():
    tokens = torch.randn(3, 4, requires_grad=True)
    loss = identity_loss(tokens, torch.randn(2, 3, 4), torch.arange(3), MemoryBank(8, 4))
    loss.backward()
    assert loss == 0 and torch.isfinite(tokens.grad).all()


def test_without_a_bank_the_batch_s_other_people_are_the_negatives():
    tokens = torch.tensor([[5.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    positives = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]], requires_grad=True)
    near = math.exp(math.sqrt(0.5))
    # The third sample is the first one's person: neither is the other's negative.
    person = torch.tensor([4, 6, 4])
    first = -math.log(math.e / (math.e + near))
    second = -math.log(near / (near + math.exp(0) + math.exp(1)))
    third = -math.log(math.exp(0.8) / (math.exp(0.8) + math.exp(1.4 * math.sqrt(0.5))))
    loss = identity_loss(tokens, positives, person, None)
    assert loss.item() == pytest.approx((first + second + third) / 3, rel=1e-5)
    loss.backward()  # they move away too
    assert torch.isfinite(positives.grad).all() and positives.grad[0, 1].any()
    assert identity_loss(tokens, positives.detach(), torch.zeros(3, dtype=torch.long), None) == 0


def test_identity_loss_pulls_positives_nearer_and_pushes_others_away():
    bank = MemoryBank(1, 2)
    bank.add(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    token = torch.tensor([[1.0, 1.0]], requires_grad=True)
    loss = identity_loss(token, torch.tensor([[[1.0, 0.0]]]), torch.tensor([0]), bank)
    bank.add(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))  # moving on must not disturb the backward pass
    loss.backward()
    assert token.grad[0, 0] < 0 < token.grad[0, 1]


def test_the_bank_forgets_the_oldest_and_resumes_where_it_was():
    bank = MemoryBank(3, 2)
    bank.add(torch.eye(2), torch.tensor([0, 1]))
    bank.add(torch.eye(2), torch.tensor([2, 3]))
    assert bank.person.tolist() == [3, 1, 2]
    again = MemoryBank(3, 2)
    again.load_state_dict(bank.state_dict())
    for each in (bank, again):
        each.add(torch.ones(5, 2), torch.arange(4, 9))  # more than it holds
    assert sorted(bank.person.tolist()) == [6, 7, 8]
    assert torch.equal(bank.person, again.person) and torch.equal(bank.tokens, again.tokens)
    with pytest.raises(ValueError, match="the configured one is"):
        MemoryBank(4, 2).load_state_dict(bank.state_dict())
