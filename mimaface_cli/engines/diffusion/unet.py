"""The video UNet: Stable Diffusion's image UNet on every frame, with attention over the frames in between.

The spatial blocks are those of diffusers; frames are folded into their batch. After each resnet (and its token
attention) of the down and up blocks, a motion module lets every pixel position attend to itself in the other frames.
Parameter names are the released ones, so that released state dicts load strictly.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mimaface_cli.engines.diffusion.motion_module import MotionConfig, MotionModule
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


class FeatureCache:
    """Features of earlier denoising steps that later steps reuse, as consecutive steps differ little.

    Attributes:
        deep: Input of the last layer of the last up block from all layers below it, or None.
        tokens: Outputs of the token attentions by the identity of their processor.
        use_deep: Whether to run only that last layer (DeepCache).
        use_tokens: Whether to reuse the token attentions (T-GATE).

    Source: X. Ma et al., DeepCache, 2024; W. Zhang et al., T-GATE, 2024.
    """

    def __init__(self) -> None:
        self.deep: Tensor | None = None
        self.tokens: dict[int, Tensor] = {}
        self.use_deep = self.use_tokens = False

    @staticmethod
    def select(cached: Tensor | None, batch: int) -> Tensor | None:
        """Select cached features for `batch` items: of both guidance halves the conditional one, which is the last."""
        return cached[-batch:] if cached is not None and cached.shape[0] >= batch else None


class TokenAttention(AttnProcessor2_0):
    """The attention of diffusers to the condition tokens, with reuse of its output from an earlier step."""

    cache: FeatureCache | None = None

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Attend, or return the cached output."""
        cache = self.cache
        if cache is None:
            return super().__call__(attn, hidden_states, *args, **kwargs)
        if cache.use_tokens:
            cached = FeatureCache.select(cache.tokens.get(id(self)), hidden_states.shape[0])
            if cached is not None:
                return cached
        cache.tokens[id(self)] = attended = super().__call__(attn, hidden_states, *args, **kwargs)
        return attended


# Resnet, token attention, motion module; each may be None.
Layer = tuple[nn.Module | None, nn.Module | None, nn.Module | None]


class VideoUNet(nn.Module):
    """Predicts the noise in the latents of a clip, or what else it was trained for (`ModelCard.prediction`).

    Args:
        config: Options of UNet2DConditionModel and the release's motion options; without `use_motion_module` it is the
            image model.

    Attributes:
        token_width: Width of the condition tokens.
        max_frames: Largest number of frames of a clip, or None for no limit.
        gradient_checkpointing: Whether to recompute activations in the backward pass.

    Raises:
        WeightsError: For an unknown option.
    """

    def __init__(self, config: Mapping[str, Any] = RELEASE_CONFIG) -> None:
        super().__init__()
        image, motion = parse_unet_config(config)
        try:
            base: Any = UNet2DConditionModel(**image)  # Any: its blocks have no common type
        except TypeError as error:
            raise WeightsError(f"UNet config: {error}. Use the config.json that came with the weights.") from error
        self.gradient_checkpointing = False
        self._token_attentions: list[TokenAttention] = []
        self.token_width: int = base.config.cross_attention_dim
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
            self._add_motion_modules(motion)
        for module in self.modules():
            if isinstance(module, BasicTransformerBlock) and module.attn2 is not None:
                processor = TokenAttention()
                module.attn2.set_processor(processor)
                self._token_attentions.append(processor)

    def forward(
        self, sample: Tensor, timestep: Tensor | float, tokens: Tensor, cache: FeatureCache | None = None
    ) -> Tensor:
        """Predict the noise of B clips of F frames.

        Args:
            sample: (B, 13, F, h, w) noisy latents, render latents and ICA channels, of any latent size. F is limited
                by the frame positions (32 in the release).
            timestep: Scalar or (B,), fractional.
            tokens: (B, T, C) condition tokens per clip, or (B, F, T, C) per frame.
            cache: Features of earlier calls for the same clip; filled, and used where it says so.

        Returns:
            (B, 4, F, h, w) prediction.

        Raises:
            WeightsError: For too many frames.
        """
        batch, _, frames, _, _ = sample.shape
        if self.max_frames is not None and frames > self.max_frames:
            raise WeightsError(
                f"a clip of {frames} frames is too long for this model. Give at most {self.max_frames} frames."
            )
        x = sample.transpose(1, 2).flatten(0, 1)
        tokens = tokens.repeat_interleave(frames, 0) if tokens.dim() == 3 else tokens.flatten(0, 1)
        if not isinstance(timestep, Tensor):
            # Filled on the device: a copy from the host would make the host wait in every step.
            timestep = torch.full((), timestep, dtype=torch.float32, device=x.device)
        timestep = timestep.to(x.device).expand(batch)
        embedding = self.time_embedding(self.time_proj(timestep).to(x.dtype)).repeat_interleave(frames, 0)

        for attention in self._token_attentions:
            attention.cache = cache
        x = self.conv_in(x)
        last = list(_layers(self.up_blocks[-1]))[-1]
        deep = FeatureCache.select(cache.deep, len(x)) if cache is not None and cache.use_deep else None
        if deep is None:
            deep = self._run_all_but_last(x, embedding, tokens, frames)
            if cache is not None:
                cache.deep = deep
        x = self._run(last, torch.cat([deep, x], 1), embedding, tokens, frames)
        for attention in self._token_attentions:
            attention.cache = None  # else the last clip's features would stay in memory
        x = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return x.unflatten(0, (batch, frames)).transpose(1, 2)

    def compile_layers(self, attentions: bool = True) -> None:
        """Let torch compile each kind of layer once.

        Compiling the whole network would take minutes and could not skip layers.

        Args:
            attentions: Whether to compile the spatial attentions as well, which then cannot reuse tokens.
        """
        dynamo: Any = torch._dynamo.config
        dynamo.recompile_limit = max(64, dynamo.recompile_limit)  # one compilation for each shape
        for block in (*self.down_blocks, self.mid_block, *self.up_blocks):
            for kind in ("resnets", "motion_modules", *(["attentions"] if attentions else [])):
                for layer in getattr(block, kind, ()):
                    layer.compile(dynamic=False)  # kernels for any size would be slower

    def _add_motion_modules(self, motion: MotionConfig) -> None:
        for level, block in enumerate(self.down_blocks):
            _add_motion(block, 2**level, motion)
        for level, block in enumerate(reversed(self.up_blocks)):
            _add_motion(block, 2**level, motion)
        if motion.mid_block:
            channels = self.mid_block.resnets[0].out_channels
            self.mid_block.motion_modules = nn.ModuleList(
                MotionModule(channels, motion) for _ in self.mid_block.attentions
            )

    def _run_all_but_last(self, x: Tensor, embedding: Tensor, tokens: Tensor, frames: int) -> Tensor:
        """Run everything between the input convolution and the last layer of the last up block."""
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
                x = upsample(x, skips[-1].shape[2:])  # for odd sizes: back to the size of the skip connection
        return x

    def _run(self, layer: Layer, x: Tensor, embedding: Tensor, tokens: Tensor, frames: int) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(_run_layer, layer, x, embedding, tokens, frames, use_reentrant=False)
        return _run_layer(layer, x, embedding, tokens, frames)


def _layers(block: Any) -> Iterator[Layer]:
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


def _add_motion(block: Any, resolution: int, config: MotionConfig) -> None:
    if resolution in config.resolutions:
        block.motion_modules = nn.ModuleList(MotionModule(resnet.out_channels, config) for resnet in block.resnets)


def parse_unet_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], MotionConfig | None]:
    """Split a released config into the options of UNet2DConditionModel and those of the motion modules.

    Returns:
        The image options, and the motion options or None for an image model.

    Raises:
        WeightsError: For an option that is not supported.
    """
    image = {key: value for key, value in config.items() if not key.startswith("_")}
    for key in ("down_block_types", "up_block_types"):
        if key in image:
            image[key] = tuple(name.replace("3D", "2D") for name in image[key])
    if "mid_block_type" in image:
        image["mid_block_type"] = image["mid_block_type"].replace("3D", "2D")
    if not image.pop("use_inflated_groupnorm", True):
        raise WeightsError(
            "UNet config: norms over all frames (use_inflated_groupnorm false) are not supported. Use the released "
            "config.json."
        )
    has_motion = image.pop("use_motion_module", False)
    options: dict[str, Any] = {
        "small_groups": image.get("norm_num_groups", 32),
        "resolutions": tuple(image.pop("motion_module_resolutions", (1, 2, 4, 8))),
        "mid_block": image.pop("motion_module_mid_block", False),
    }
    kind = image.pop("motion_module_type", "Vanilla")
    released_options = dict(image.pop("motion_module_kwargs", {}))
    attentions = tuple(released_options.pop("attention_block_types", ("Temporal_Self", "Temporal_Self")))
    if kind != "Vanilla" or set(attentions) != {"Temporal_Self"}:
        raise WeightsError(
            f"UNet config: motion modules {kind} {list(attentions)} are not supported. Use the released config.json."
        )
    for name, released_name in (
        ("heads", "num_attention_heads"),
        ("blocks", "num_transformer_block"),
        ("max_frames", "temporal_position_encoding_max_len"),
        ("positions", "temporal_position_encoding"),
        ("width_divisor", "temporal_attention_dim_div"),
        ("zero_init", "zero_initialize"),
    ):
        if released_name in released_options:
            options[name] = released_options.pop(released_name)
    if released_options:
        raise WeightsError(
            f"UNet config: unknown motion options {sorted(released_options)}. Use the released config.json."
        )
    return image, MotionConfig(attentions=len(attentions), **options) if has_motion else None


def merge_release_states(image: Mapping[str, Tensor], video: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Merge the state of the released video model.

    Motion modules and the input convolution come from 3dunet.pth (`video`), everything else from the image model.
    """
    motion = {key: value for key, value in video.items() if "motion_modules." in key or "conv_in." in key}
    return {**image, **motion}
