"""The paper's identity contrastive loss (equation 2) with its memory bank and photometric views; min-SNR weights."""

import torch
import torch.nn.functional as F
from torch import Tensor


class MemoryBank:
    """The last `size` ID tokens with whom they show. tokens: (size, C), unit length; person: (size,), -1 for empty."""

    def __init__(self, size: int, width: int, device: torch.device | str = "cpu"):
        self.tokens = torch.zeros(size, width, device=device)
        self.person = torch.full((size,), -1, device=device)
        self.place = 0

    def add(self, tokens: Tensor, person: Tensor) -> None:
        """Take in (B, C) tokens, the oldest making room."""
        index = (self.place + torch.arange(len(tokens), device=self.tokens.device)) % len(self.tokens)
        self.tokens[index] = F.normalize(tokens.detach(), dim=1)
        self.person[index] = person.to(self.person)
        self.place = int((self.place + len(tokens)) % len(self.tokens))

    def state(self) -> dict[str, Tensor | int]:
        return {"tokens": self.tokens, "person": self.person, "place": self.place}

    def restore(self, state: dict[str, Tensor | int]) -> None:
        self.tokens.copy_(state["tokens"])
        self.person.copy_(state["person"])
        self.place = state["place"]


def identity_loss(token: Tensor, positives: list[Tensor], person: Tensor, bank: MemoryBank, temperature: float) -> Tensor:
    """Equation 2, mean over positives and batch. token and each of positives: (B, C); negatives: the bank's tokens of
    other people. The paper has no temperature (1)."""
    anchor = F.normalize(token, dim=1)
    negative = anchor @ bank.tokens.clone().T / temperature  # the bank moves on before the backward pass
    other = (bank.person[None] >= 0) & (bank.person[None] != person[:, None])
    negative = negative.masked_fill(~other, float("-inf"))
    total = token.new_zeros(())
    for positive in positives:
        same = (anchor * F.normalize(positive, dim=1)).sum(1, keepdim=True) / temperature
        total = total + F.cross_entropy(torch.cat([same, negative], 1), torch.zeros(len(token), dtype=torch.long, device=token.device))
    return total / len(positives)


def photometric(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """The paper's augmented view of pictures (B, 3, S, S) in [-1, 1]: grey, colours, blur or sharpening, edges, light
    from a side, noise, vignette, contrast; each on a part of the batch."""
    count, _, size, _ = pictures.shape
    device = pictures.device

    def chance(share: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=generator, device=device) < share).float()

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(count, channels, 1, 1, generator=generator, device=device)

    x = pictures * 0.5 + 0.5
    grey = (x * x.new_tensor([0.299, 0.587, 0.114])[None, :, None, None]).sum(1, keepdim=True)
    x = x + chance(0.2) * (grey - x)
    x = x * (1 + chance(0.7) * (uniform(0.7, 1.3, 3) - 1)) + chance(0.5) * uniform(-0.1, 0.1, 3)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x + chance(0.5) * uniform(-1.0, 1.0) * (soft - x)  # negative: sharpens and enhances edges
    ramp = torch.linspace(-1, 1, size, device=device)
    across, down = ramp[None, None, None, :], ramp[None, None, :, None]
    x = x * (1 + chance(0.5) * (uniform(-0.35, 0.35) * across + uniform(-0.35, 0.35) * down))
    x = x * (1 - chance(0.3) * uniform(0, 0.5) * (across**2 + down**2) / 2)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * (1 + chance(0.5) * (uniform(0.6, 1.4) - 1))
    x = x + chance(0.4) * uniform(0, 0.06) * torch.randn(x.shape, generator=generator, device=device)
    return x.clamp(0, 1) * 2 - 1


def min_snr_weight(alphas: Tensor, gamma: float = 5.0) -> Tensor:
    """Weight of the noise's squared error at cumulative alphas (B,): min(SNR, gamma) / SNR."""
    ratio = alphas / (1 - alphas)
    return ratio.clamp_max(gamma) / ratio
