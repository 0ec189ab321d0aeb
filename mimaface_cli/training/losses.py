"""Training losses: denoising error (min-SNR weights optional) and identity contrast."""

import torch
from torch import Tensor
from torch.nn import functional


def prediction_target(prediction: str, clean: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """Return the training target of the denoiser.

    Args:
        prediction: "epsilon" for the noise (paper, release), "sample" for the clean latents, or "v".
        clean: (B, ...) clean latents.
        noise: (B, ...) their noise.
        alphas: (B,) the schedule's cumulative products at each sample's timestep.

    Source: v: Salimans & Ho 2022, appendix D.
    """
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return clean
    alphas = alphas.reshape(-1, *[1] * (clean.dim() - 1))
    return alphas.sqrt() * noise - (1 - alphas).sqrt() * clean


def denoising_loss(
    predicted: Tensor, target: Tensor, alphas: Tensor, gamma: float | None = None, prediction: str = "epsilon"
) -> Tensor:
    """Return the mean squared error of a prediction.

    It is averaged over each sample and then over the batch.

    Args:
        predicted: (B, ...); the error is computed in float32.
        target: (B, ...), the result of `prediction_target`.
        alphas: (B,) the schedule's cumulative products at each sample's timestep, in (0, 1).
        gamma: Bound of min-SNR (the release uses 5). The error of the clean latents is weighted by min(SNR, gamma),
            whatever is predicted. None for no weights, as in the paper.
        prediction: As for `prediction_target`.

    Source: min-SNR: Hang et al. 2023, section 3.4.
    """
    error = (predicted.float() - target.float()).square().flatten(1).mean(1)
    if gamma is not None:
        ratio = alphas.float() / (1 - alphas.float())
        error = error * ratio.clamp_max(gamma)
        # The squared error of the prediction per squared error of the clean latents.
        if prediction == "epsilon":
            error = error / ratio
        elif prediction == "v":
            error = error / (ratio + 1)
    return error.mean()


class MemoryBank:
    """The latest ID tokens with their people: the negatives of the identity loss.

    Args:
        size: Number of tokens.
        width: Width of a token.
        device: Device of the bank.

    Attributes:
        tokens: (size, width) float32, of unit length.
        person: (size,) person numbers from 0; -1 marks an empty slot.
        next: Slot of the next token.

    Source: paper, figure 4.
    """

    def __init__(self, size: int, width: int, device: torch.device | str = "cpu") -> None:
        self.tokens = torch.zeros(size, width, device=device)
        self.person = torch.full((size,), -1, dtype=torch.long, device=device)
        self.next = 0

    def to(self, device: torch.device) -> "MemoryBank":
        """Move the bank to a device and return it."""
        self.tokens, self.person = self.tokens.to(device), self.person.to(device)
        return self

    def add(self, tokens: Tensor, person: Tensor) -> None:
        """Replace the oldest tokens. If there are more tokens than slots, the last ones remain.

        Args:
            tokens: (B, width); they need not have unit length.
            person: (B,) person numbers.
        """
        size = len(self.tokens)
        skipped = max(0, len(tokens) - size)
        unit_tokens = functional.normalize(tokens.detach().float()[skipped:], dim=1)
        slots = (self.next + skipped + torch.arange(len(unit_tokens), device=self.tokens.device)) % size
        self.tokens[slots] = unit_tokens.to(self.tokens.device)
        self.person[slots] = person[skipped:].to(self.person)
        self.next = (self.next + len(tokens)) % size

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors that an exact resume needs."""
        return {"tokens": self.tokens.clone(), "person": self.person.clone(), "next": torch.tensor(self.next)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the result of `state_dict`.

        Raises:
            ValueError: The state belongs to a bank of another size.
        """
        if state["tokens"].shape != self.tokens.shape or state["person"].shape != self.person.shape:
            saved, needed = tuple(state["tokens"].shape), tuple(self.tokens.shape)
            raise ValueError(f"the saved memory bank is {saved}, the configured one is {needed}")
        self.tokens.copy_(state["tokens"])
        self.person.copy_(state["person"])
        self.next = int(state["next"])


def identity_loss(
    tokens: Tensor, positives: Tensor, person: Tensor, bank: MemoryBank | None, temperature: float = 1.0
) -> Tensor:
    """Return the identity contrastive loss, averaged over positives and batch.

    Args:
        tokens: (B, C) ID tokens of the source images.
        positives: (P, B, C) ID tokens of their augmented views and of other frames of the same people.
        person: (B,) person numbers.
        bank: Source of the negatives, the tokens of other people. Without a bank, the negatives are the positives of
            the batch's other people, which get gradients too.
        temperature: Divisor of the similarities; the paper has none, which equals 1.

    Returns:
        The loss; zero for samples without a negative.

    Source: paper, equation 2.
    """
    anchor, positives = functional.normalize(tokens.float(), dim=1), functional.normalize(positives.float(), dim=2)
    if bank is None:
        similarity, negative_person = anchor @ positives.transpose(1, 2), person
    else:  # The tokens are copied, because the bank may change before the backward pass reads them.
        similarity = (anchor @ bank.tokens.clone().T).expand(len(positives), -1, -1)
        negative_person = bank.person
    is_negative = (negative_person >= 0) & (negative_person != person.to(negative_person)[:, None])
    negative = (similarity / temperature).masked_fill(~is_negative, float("-inf"))
    positive = (positives * anchor).sum(2) / temperature
    logits = torch.cat([positive[..., None], negative], 2)
    return -logits.log_softmax(2)[..., 0].mean()
