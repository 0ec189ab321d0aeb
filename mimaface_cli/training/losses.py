"""What training minimizes: the denoiser's squared error, min-SNR weighted or not, and the identity contrastive loss."""

import torch
import torch.nn.functional as F
from torch import Tensor


def prediction_target(prediction: str, clean: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """What a denoiser is to predict of clean latents and their noise, both (B, ...), at cumulative products alphas
    (B,): the noise ("epsilon": paper, release), the latents ("sample"), or "v" (Salimans & Ho 2022, appendix D).
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
    """Mean squared error of predicted against target, both (B, ...), in float32, over each sample and then the batch.

    alphas: (B,), the schedule's cumulative products at each sample's timestep, in (0, 1). gamma: min-SNR's bound (the
    release: 5), which weighs the error of the clean latents by min(SNR, gamma) whatever is predicted (Hang et al. 2023,
    section 3.4); None (the paper) for no weights.
    """
    error = (predicted.float() - target.float()).square().flatten(1).mean(1)
    if gamma is not None:
        ratio = alphas.float() / (1 - alphas.float())
        error = error * ratio.clamp_max(gamma) / {"epsilon": ratio, "v": ratio + 1, "sample": 1}[prediction]
    return error.mean()


class MemoryBank:
    """The last `size` ID tokens, unit length, and whose they are (paper, figure 4).

    tokens: (size, C) float32. person: (size,) integers from 0 up, -1 where nothing has been stored yet.
    """

    def __init__(self, size: int, width: int, device: torch.device | str = "cpu"):
        self.tokens = torch.zeros(size, width, device=device)
        self.person = torch.full((size,), -1, dtype=torch.long, device=device)
        self.next = 0

    def add(self, tokens: Tensor, person: Tensor) -> None:
        """Store (B, C) tokens of (B,) people over the oldest; of more than the bank holds, the last stay."""
        size = len(self.tokens)
        skipped = max(0, len(tokens) - size)
        kept = F.normalize(tokens.detach().float()[skipped:], dim=1)
        place = (self.next + skipped + torch.arange(len(kept), device=self.tokens.device)) % size
        self.tokens[place] = kept.to(self.tokens.device)
        self.person[place] = person[skipped:].to(self.person)
        self.next = (self.next + len(tokens)) % size

    def state_dict(self) -> dict[str, Tensor]:
        """All that an exact resume needs, as tensors."""
        return {"tokens": self.tokens.clone(), "person": self.person.clone(), "next": torch.tensor(self.next)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a saved state; ValueError where it is of a bank of another size."""
        if state["tokens"].shape != self.tokens.shape or state["person"].shape != self.person.shape:
            found, needed = tuple(state["tokens"].shape), tuple(self.tokens.shape)
            raise ValueError(f"the memory bank saved is {found}, this one is {needed}")
        self.tokens.copy_(state["tokens"])
        self.person.copy_(state["person"])
        self.next = int(state["next"])


def identity_loss(
    tokens: Tensor, positives: Tensor, person: Tensor, bank: MemoryBank | None, temperature: float = 1.0
) -> Tensor:
    """The identity contrastive loss (paper, equation 2), mean over positives and batch.

    tokens: (B, C), ID tokens of the sources. positives: (P, B, C), those of their augmented views and of other frames
    of the same people. person: (B,). Negatives are the bank's tokens of other people, or, without a bank, the positives
    of the batch's other people, which learn from it too. The paper has no temperature, that is 1. While there is nobody
    else the loss is zero, for there is nothing to tell apart.
    """
    anchor, positives = F.normalize(tokens.float(), dim=1), F.normalize(positives.float(), dim=2)
    if bank is None:
        negative, whose = anchor @ positives.transpose(1, 2), person
    else:  # a copy: the bank may move on before the backward pass reads it
        negative, whose = (anchor @ bank.tokens.clone().T).expand(len(positives), -1, -1), bank.person
    other = (whose >= 0) & (whose != person.to(whose)[:, None])
    negative = (negative / temperature).masked_fill(~other, float("-inf"))
    positive = (positives * anchor).sum(2) / temperature
    logits = torch.cat([positive[..., None], negative], 2)
    return -logits.log_softmax(2)[..., 0].mean()
