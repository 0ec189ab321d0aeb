"""The video UNet: Stable Diffusion's image UNet run on every frame, with attention over the frames in between.

The spatial blocks are diffusers' own; frames are folded into the batch for them. After each resnet (and its token
attention) of the down and up blocks a motion module lets every pixel position attend to itself in the other frames.
Parameter names are the released ones, so that released state dicts load strictly.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mimaface_cli.errors import WeightsError

RELEASE_CONFIG: Mapping[str, Any] = {
    "in_channels": 13,  # noisy latent 4, render latent 4, conditioning latent 4, mask 1
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,  # the number of heads, in spite of its name
    "layers_per_block": 2,
    "use_motion_module": True,
}


@dataclass(frozen=True)
class MotionConfig:
    """Where motion modules stand (resolutions: 1 = latent size, 2 = half, ...) and how they are built."""

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
    """Sinusoidal frame positions, kept in the checkpoint as a (1, max_frames, C) buffer."""

    def __init__(self, channels: int, max_frames: int):
        super().__init__()
        angles = torch.arange(max_frames)[:, None] * torch.exp(
            torch.arange(0, channels, 2) * (-math.log(10000.0) / channels)
        )
        table = torch.zeros(1, max_frames, channels)
        table[0, :, 0::2] = angles.sin()
        table[0, :, 1::2] = angles.cos()
        self.register_buffer("pe", table)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[:, : x.shape[1]]


class TemporalAttention(nn.Module):
    """Self-attention over frames, (N, F, C) -> (N, F, C); positions enter queries, keys and values alike."""

    def __init__(self, channels: int, config: MotionConfig):
        super().__init__()
        self.heads = config.heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.pos_encoder = FramePositions(channels, config.max_frames) if config.positions else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pos_encoder(x)
        q, k, v = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for project in (self.to_q, self.to_k, self.to_v)
        )
        return self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TemporalBlock(nn.Module):
    """Pre-norm attentions over frames, then a GEGLU feed-forward, each with its residual."""

    def __init__(self, channels: int, config: MotionConfig):
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(channels, config) for _ in range(config.attentions))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(config.attentions))
        self.ff = FeedForward(channels, activation_fn="geglu")
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        for norm, attention in zip(self.norms, self.attention_blocks, strict=True):
            x = x + attention(norm(x))
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """(B*F, C, h, w) -> the same: every pixel position is a sequence of F frames; zero at initialization."""

    def __init__(self, channels: int, config: MotionConfig):
        super().__init__()
        inner = channels // config.heads // config.width_divisor * config.heads
        groups = 32 if channels % 32 == 0 else config.small_groups  # 32 as released, whatever the image model has
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner)
        self.transformer_blocks = nn.ModuleList(TemporalBlock(inner, config) for _ in range(config.blocks))
        self.proj_out = nn.Linear(inner, channels)
        if config.zero_init:
            nn.init.zeros_(self.proj_out.weight)
            nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        folded, channels, height, width = x.shape
        shape = (folded // frames, frames, height * width, channels)
        y = self.norm(x).permute(0, 2, 3, 1).reshape(shape).transpose(1, 2).flatten(0, 1)
        y = self.proj_in(y)
        for block in self.transformer_blocks:
            y = block(y)
        y = self.proj_out(y).unflatten(0, (shape[0], shape[2])).transpose(1, 2)
        return x + y.reshape(folded, height, width, channels).permute(0, 3, 1, 2)


class MotionModule(nn.Module):
    """The released name's outer shell around a temporal transformer."""

    def __init__(self, channels: int, config: MotionConfig):
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels, config)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        return self.temporal_transformer(x, frames)


class FeatureCache:
    """What a denoising step leaves for the next ones, which differ little from it.

    deep: what reaches the last layer of the last up block from all below it (DeepCache: with `take_deep` only that
    layer runs). tokens: results of the token attentions (T-GATE: taken with `take_tokens`).
    """

    def __init__(self) -> None:
        self.deep: Tensor | None = None
        self.tokens: dict[int, Tensor] = {}
        self.take_deep = self.take_tokens = False

    @staticmethod
    def fitting(kept: Tensor | None, batch: int) -> Tensor | None:
        """What was kept for `batch` items; of both guidance halves the conditional one, which is the last."""
        return kept[-batch:] if kept is not None and kept.shape[0] >= batch else None


class TokenAttention(AttnProcessor2_0):
    """diffusers' attention on the tokens, or what it gave in an earlier step."""

    reuse: FeatureCache | None = None

    def __call__(self, attn: nn.Module, hidden_states: Tensor, *args: Any, **more: Any) -> Tensor:
        reuse = self.reuse
        if reuse is None:
            return super().__call__(attn, hidden_states, *args, **more)
        if (
            reuse.take_tokens
            and (kept := FeatureCache.fitting(reuse.tokens.get(id(self)), hidden_states.shape[0])) is not None
        ):
            return kept
        reuse.tokens[id(self)] = result = super().__call__(attn, hidden_states, *args, **more)
        return result


# (resnet, token attention, motion module), each of them or None
Layer = tuple[nn.Module | None, nn.Module | None, nn.Module | None]


class VideoUNet(nn.Module):
    """Predicts the noise in a clip of latents, or whatever else it was trained to (`weights.small_model.ModelCard.prediction`).

    config: UNet2DConditionModel's options plus the release's motion options; without `use_motion_module` it is the
    image model. Raises WeightsError for an option that is not understood.
    """

    def __init__(self, config: Mapping[str, Any] = RELEASE_CONFIG):
        super().__init__()
        image, motion = parse_unet_config(config)
        try:
            base = UNet2DConditionModel(**image)
        except TypeError as error:
            raise WeightsError(f"UNet config: {error}; use the config.json that came with the weights") from error
        self.gradient_checkpointing = False
        self._token_attentions: list[TokenAttention] = []
        self.tokens_width: int = base.config.cross_attention_dim
        self.max_frames = motion.max_frames if motion and motion.positions else None
        self.conv_in = base.conv_in
        self.time_proj = base.time_proj
        self.time_embedding = base.time_embedding
        self.down_blocks = base.down_blocks
        self.mid_block = base.mid_block
        self.up_blocks = base.up_blocks
        self.conv_norm_out = base.conv_norm_out
        self.conv_act = base.conv_act
        self.conv_out = base.conv_out
        if motion:
            for level, block in enumerate(self.down_blocks):
                _add_motion(block, 2**level, motion)
            for level, block in enumerate(reversed(self.up_blocks)):
                _add_motion(block, 2**level, motion)
            if motion.mid_block:
                channels = self.mid_block.resnets[0].out_channels
                self.mid_block.motion_modules = nn.ModuleList(
                    MotionModule(channels, motion) for _ in self.mid_block.attentions
                )
        for module in self.modules():
            if isinstance(module, BasicTransformerBlock) and module.attn2 is not None:
                module.attn2.set_processor(TokenAttention())
                self._token_attentions.append(module.attn2.processor)

    def forward(
        self, sample: Tensor, timestep: Tensor | float, tokens: Tensor, reuse: FeatureCache | None = None
    ) -> Tensor:
        """Sample (B, 13, F, h, w), timestep scalar or (B,), tokens (B, T, C) for the clip or (B, F, T, C) per frame.

        Returns the prediction (B, 4, F, h, w). Any latent size is taken; F is bounded by the positions (32 as released).
        reuse: what earlier calls for the same clip kept; filled, and taken where it says so.
        """
        batch, _, frames, _, _ = sample.shape
        if self.max_frames is not None and frames > self.max_frames:
            raise WeightsError(f"clips of {frames} frames: this model's positions reach {self.max_frames}")
        x = sample.transpose(1, 2).flatten(0, 1)
        tokens = tokens.repeat_interleave(frames, 0) if tokens.dim() == 3 else tokens.flatten(0, 1)
        timestep = torch.as_tensor(timestep, device=x.device).expand(batch)
        embedding = self.time_embedding(self.time_proj(timestep).to(x.dtype)).repeat_interleave(frames, 0)

        for attention in self._token_attentions:
            attention.reuse = reuse
        x = self.conv_in(x)
        last = list(_layers(self.up_blocks[-1]))[-1]
        deep = FeatureCache.fitting(reuse.deep, len(x)) if reuse is not None and reuse.take_deep else None
        if deep is None:
            deep = self._all_but_last(x, embedding, tokens, frames)
            if reuse is not None:
                reuse.deep = deep
        x = self._run(last, torch.cat([deep, x], 1), embedding, tokens, frames)
        for attention in self._token_attentions:
            attention.reuse = None  # or the last clip's features would stay in memory
        x = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return x.unflatten(0, (batch, frames)).transpose(1, 2)

    def compile_layers(self, attentions: bool = True) -> None:
        """Let torch compile each kind of layer once instead of the whole network, which would take minutes and could
        not skip layers. attentions: also the spatial ones, which then cannot reuse tokens.
        """
        torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)  # one for each shape
        for block in (*self.down_blocks, self.mid_block, *self.up_blocks):
            for kind in ("resnets", "motion_modules", *(["attentions"] if attentions else [])):
                for layer in getattr(block, kind, ()):
                    layer.compile()

    def _all_but_last(self, x: Tensor, embedding: Tensor, tokens: Tensor, frames: int) -> Tensor:
        """Everything between the input convolution and the last layer of the last up block."""
        skips = [x]
        for block in self.down_blocks:
            for layer in _layers(block):
                x = self._run(layer, x, embedding, tokens, frames)
                skips.append(x)
            for downsample in block.downsamplers or ():
                x = downsample(x)
                skips.append(x)
        x = self.mid_block.resnets[0](x, embedding)
        mid_motion = getattr(self.mid_block, "motion_modules", [None] * len(self.mid_block.attentions))
        for attention, motion, resnet in zip(
            self.mid_block.attentions, mid_motion, self.mid_block.resnets[1:], strict=True
        ):
            x = self._run((None, attention, motion), x, embedding, tokens, frames)
            x = resnet(x, embedding)
        for block in self.up_blocks:
            layers = list(_layers(block))
            for layer in layers if block is not self.up_blocks[-1] else layers[:-1]:
                x = self._run(layer, torch.cat([x, skips.pop()], 1), embedding, tokens, frames)
            for upsample in block.upsamplers or ():
                x = upsample(x, skips[-1].shape[2:])  # odd sizes: back to what the skip connection has
        return x

    def _run(self, layer: Layer, x: Tensor, embedding: Tensor, tokens: Tensor, frames: int) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(_run_layer, layer, x, embedding, tokens, frames, use_reentrant=False)
        return _run_layer(layer, x, embedding, tokens, frames)


def _layers(block: nn.Module) -> Iterator[Layer]:
    """The layers of a down or up block, in order."""
    none = [None] * len(block.resnets)
    attentions = getattr(block, "attentions", none)
    return zip(block.resnets, attentions, getattr(block, "motion_modules", none), strict=True)


def _run_layer(layer: Layer, x: Tensor, embedding: Tensor, tokens: Tensor, frames: int) -> Tensor:
    resnet, attention, motion = layer
    if resnet is not None:
        x = resnet(x, embedding)
    if attention is not None:
        x = attention(x, encoder_hidden_states=tokens, return_dict=False)[0]
    return x if motion is None else motion(x, frames)


def _add_motion(block: nn.Module, resolution: int, config: MotionConfig) -> None:
    if resolution in config.resolutions:
        block.motion_modules = nn.ModuleList(MotionModule(resnet.out_channels, config) for resnet in block.resnets)


def parse_unet_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], MotionConfig | None]:
    """Split a released config into UNet2DConditionModel's options and the motion modules' (None: an image model)."""
    image = {key: value for key, value in config.items() if not key.startswith("_")}
    for key in ("down_block_types", "up_block_types"):
        if key in image:
            image[key] = tuple(name.replace("3D", "2D") for name in image[key])
    if "mid_block_type" in image:
        image["mid_block_type"] = image["mid_block_type"].replace("3D", "2D")
    if not image.pop("use_inflated_groupnorm", True):
        raise WeightsError("UNet config: norms over all frames (use_inflated_groupnorm false) are not supported")
    wanted = image.pop("use_motion_module", False)
    options = {
        "small_groups": image.get("norm_num_groups", 32),
        "resolutions": tuple(image.pop("motion_module_resolutions", (1, 2, 4, 8))),
        "mid_block": image.pop("motion_module_mid_block", False),
    }
    kind = image.pop("motion_module_type", "Vanilla")
    modules = dict(image.pop("motion_module_kwargs", {}))
    attentions = tuple(modules.pop("attention_block_types", ("Temporal_Self", "Temporal_Self")))
    if kind != "Vanilla" or set(attentions) != {"Temporal_Self"}:
        raise WeightsError(f"UNet config: motion modules {kind} {list(attentions)} are not supported")
    for name, released in (
        ("heads", "num_attention_heads"),
        ("blocks", "num_transformer_block"),
        ("max_frames", "temporal_position_encoding_max_len"),
        ("positions", "temporal_position_encoding"),
        ("width_divisor", "temporal_attention_dim_div"),
        ("zero_init", "zero_initialize"),
    ):
        if released in modules:
            options[name] = modules.pop(released)
    if modules:
        raise WeightsError(f"UNet config: unknown motion options {sorted(modules)}")
    return image, MotionConfig(attentions=len(attentions), **options) if wanted else None


def merge_release_states(image: Mapping[str, Tensor], video: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released video model's state: motion modules and the input convolution from 3dunet.pth, the rest image's."""
    taken = {key: value for key, value in video.items() if "motion_modules." in key or "conv_in." in key}
    return {**image, **taken}
