"""Motion modules: attention over the frames of a clip, inserted between the image UNet's layers.

Parameter names are the released ones, so that released state dicts load strictly.
"""

import math
from dataclasses import dataclass

import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class MotionConfig:
    """Positions and sizes of the motion modules.

    Attributes:
        resolutions: Levels of the UNet with motion modules: 1 is the latent size, 2 is half of it, and so on.
        mid_block: Whether the mid block has them.
        heads: Attention heads.
        blocks: Transformer blocks of a module.
        attentions: Attentions of a block.
        small_groups: Groups of the norm where the channels are no multiple of 32.
        max_frames: Number of frame positions.
        positions: Whether frame positions are added.
        width_divisor: Divisor of the transformer's width.
        zero_init: Whether the output projection starts at zero.
    """

    resolutions: tuple[int, ...] = (1, 2, 4, 8)
    mid_block: bool = False
    heads: int = 8
    blocks: int = 1
    attentions: int = 2
    small_groups: int = 32
    max_frames: int = 32
    positions: bool = True
    width_divisor: int = 1
    zero_init: bool = True


class FramePositions(nn.Module):
    """Sinusoidal frame positions, stored in the checkpoint as a (1, max_frames, C) buffer."""

    pe: Tensor

    def __init__(self, channels: int, max_frames: int) -> None:
        super().__init__()
        frequencies = torch.exp(torch.arange(0, channels, 2) * (-math.log(10000.0) / channels))
        angles = torch.arange(max_frames)[:, None] * frequencies
        table = torch.zeros(1, max_frames, channels)
        table[0, :, 0::2] = angles.sin()
        table[0, :, 1::2] = angles.cos()
        self.register_buffer("pe", table)

    def forward(self, x: Tensor) -> Tensor:
        """Add the positions to sequences (N, F, C)."""
        return x + self.pe[:, : x.shape[1]]


class TemporalAttention(nn.Module):
    """Self-attention over frames (N, F, C); the positions enter queries, keys and values alike."""

    def __init__(self, channels: int, config: MotionConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.pos_encoder = FramePositions(channels, config.max_frames) if config.positions else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        x = self.pos_encoder(x)
        q, k, v = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for project in (self.to_q, self.to_k, self.to_v)
        )
        return self.to_out[0](scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TemporalBlock(nn.Module):
    """Pre-norm attentions over frames, then a GEGLU feed-forward, each with its residual."""

    def __init__(self, channels: int, config: MotionConfig) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(channels, config) for _ in range(config.attentions))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(config.attentions))
        self.ff = FeedForward(channels, activation_fn="geglu")
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform sequences (N, F, C)."""
        for norm, attention in zip(self.norms, self.attention_blocks, strict=True):
            x = x + attention(norm(x))
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """A transformer over frames: every pixel position of (B*F, C, h, w) is a sequence of F frames."""

    def __init__(self, channels: int, config: MotionConfig) -> None:
        super().__init__()
        width = channels // config.heads // config.width_divisor * config.heads
        groups = 32 if channels % 32 == 0 else config.small_groups  # 32 as released, whatever the image model has
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, width)
        self.transformer_blocks = nn.ModuleList(TemporalBlock(width, config) for _ in range(config.blocks))
        self.proj_out = nn.Linear(width, channels)
        if config.zero_init:
            nn.init.zeros_(self.proj_out.weight)
            nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Transform features (B*F, C, h, w) of clips of F frames, with a residual."""
        folded, channels, height, width = x.shape
        shape = (folded // frames, frames, height * width, channels)
        y = self.norm(x).permute(0, 2, 3, 1).reshape(shape).transpose(1, 2).flatten(0, 1)
        y = self.proj_in(y)
        for block in self.transformer_blocks:
            y = block(y)
        y = self.proj_out(y).unflatten(0, (shape[0], shape[2])).transpose(1, 2)
        return x + y.reshape(folded, height, width, channels).permute(0, 3, 1, 2)


class MotionModule(nn.Module):
    """A temporal transformer under the name that it has in the release."""

    def __init__(self, channels: int, config: MotionConfig) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels, config)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Transform features (B*F, C, h, w) of clips of F frames."""
        return self.temporal_transformer(x, frames)
