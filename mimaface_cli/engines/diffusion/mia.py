"""Motion-Identity Modulated Appearance (MIA): the condition tokens of the UNet's cross-attention.

There are two variants. `ReleaseMIA` is the released module with its parameter names: every coefficient group becomes
one token in front of the CLIP tokens. `PaperMIA` is the paper's Eq. (1): patch tokens attend to motion tokens. Both
compute one set of tokens per frame; `pool_frames` averages them over a clip as the release does.
"""

import re
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.checkpoint_layouts import strip_module_prefix
from mimaface_cli.weights.state_dict import count_blocks, load_network

# Coefficient groups in token order, with their sizes; names as in `mimaface_cli.face.d3dfr.FIELDS`.
RELEASE_MOTION = {"gaze": 4, "expression": 64, "texture": 80, "illumination": 27, "angles": 3, "translation": 3}
RELEASE_NAMES = {"expression": "exp", "texture": "tex", "illumination": "gamma"}
SOURCE_GROUPS = ("texture", "illumination")  # the groups that belong to the photo and do not move
PAPER_MOTION = {"pose": 6, "expression": 64, "gaze": 4}
ADAPTER_LAYERS = 3


class TokenSelfAttention(nn.Module):
    """Self-attention over tokens (B, T, width) with one fused projection, in which q, k and v are stored per head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_qkv = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        q, k, v = self.c_qkv(x).unflatten(2, (self.heads, -1)).transpose(1, 2).chunk(3, -1)
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.c_proj(attended)


class TokenMLP(nn.Module):
    """Two linear layers with a GELU in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens (B, T, width)."""
        return self.c_proj(gelu(self.c_fc(x)))


class TokenBlock(nn.Module):
    """A pre-norm transformer block over tokens (B, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = TokenSelfAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = TokenMLP(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then apply the MLP, each with its residual."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Adapter(nn.Module):
    """The transformer that mixes the tokens (B, T, width)."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.resblocks = nn.ModuleList(TokenBlock(width, heads) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Apply all blocks."""
        for block in self.resblocks:
            x = block(x)
        return x


class ReleaseMIA(nn.Module):
    """The released variant: linear tokens of identity and coefficients before the CLIP tokens, mixed by the adapter.

    Args:
        width: Width of the condition tokens.
        clip_width: Width of the CLIP tokens.
        identity_width: Number of ArcFace features.
        motion: Size of each coefficient group, in token order.
        layers: Transformer blocks of the adapter.
        heads: Attention heads of the adapter.

    Source: release, class MIM.
    """

    def __init__(
        self,
        width: int = 768,
        clip_width: int = 1024,
        identity_width: int = 25088,
        motion: Mapping[str, int] = RELEASE_MOTION,
        layers: int = ADAPTER_LAYERS,
        heads: int = 1,
    ) -> None:
        super().__init__()
        self.motion = tuple(motion)
        self.transform_dim_clip = nn.Linear(clip_width, width)
        self.transform_dim_arcface = nn.Linear(identity_width, width)
        for name, size in motion.items():
            self.add_module(_layer_name(name), nn.Linear(size, width))
        self.mapper = Adapter(width, layers, heads)
        self.layer_norm = nn.LayerNorm(width)

    @property
    def heads(self) -> int:
        """Attention heads of the adapter."""
        return self.mapper.heads

    def motion_layers(self) -> dict[str, nn.Linear]:
        """Return the linear layers of the coefficient groups that move, by submodule name."""
        moving = (_layer_name(group) for group in self.motion if group not in SOURCE_GROUPS)
        return {name: cast(nn.Linear, self.get_submodule(name)) for name in moving}

    def forward(self, appearance: Tensor, identity: Tensor, motion: Mapping[str, Tensor]) -> Tensor:
        """Compute condition tokens.

        Args:
            appearance: (B, N, clip_width) CLIP tokens.
            identity: (B, identity_width) ArcFace features.
            motion: Coefficient groups (B, F, size) by name.

        Returns:
            (B, F, 1 + groups + N, width): identity, the groups in their order, then the CLIP tokens.
        """
        batch, frames = motion[self.motion[0]].shape[:2]
        still = torch.cat([self.transform_dim_arcface(identity)[:, None], self.transform_dim_clip(appearance)], 1)
        still = still[:, None].expand(-1, frames, -1, -1)
        groups = [self.get_submodule(_layer_name(group))(motion[group]) for group in self.motion]
        tokens = torch.cat([still[:, :, :1], torch.stack(groups, 2), still[:, :, 1:]], 2)
        return self.layer_norm(self.mapper(tokens.flatten(0, 1))).unflatten(0, (batch, frames))


class PaperMIA(nn.Module):
    """The paper's variant: patches + softmax(patches motionᵀ / √d) motion, then [class; patches] through the adapter.

    Each motion group (pose, expression, gaze) is embedded as `tokens_per_group` tokens, which are both keys and values.
    At least two motion tokens are needed, as a softmax over a single key is constant.

    Args:
        width: Width of the condition tokens.
        clip_width: Width of the CLIP tokens.
        motion: Size of each coefficient group.
        tokens_per_group: Motion tokens per group.
        layers: Transformer blocks of the adapter.
        heads: Attention heads of the adapter.

    Raises:
        ValueError: For less than two motion tokens.

    Source: paper, Eq. (1).
    """

    def __init__(
        self,
        width: int = 768,
        clip_width: int = 1024,
        motion: Mapping[str, int] = PAPER_MOTION,
        tokens_per_group: int = 1,
        layers: int = ADAPTER_LAYERS,
        heads: int = 8,
    ) -> None:
        super().__init__()
        if len(motion) * tokens_per_group < 2:
            raise ValueError("motion modulation needs at least two motion tokens")
        self.clip_width = clip_width
        embedded = tokens_per_group * clip_width
        self.embed = nn.ModuleDict({name: nn.Linear(size, embedded) for name, size in motion.items()})
        self.project = nn.Linear(clip_width, width)
        self.adapter = Adapter(width, layers, heads)
        self.norm = nn.LayerNorm(width)

    @property
    def heads(self) -> int:
        """Attention heads of the adapter."""
        return self.adapter.heads

    def motion_layers(self) -> dict[str, nn.Linear]:
        """Return the linear layers of the coefficient groups, by submodule name."""
        return {f"embed.{group}": cast(nn.Linear, layer) for group, layer in self.embed.items()}

    def motion_tokens(self, motion: Mapping[str, Tensor]) -> Tensor:
        """Embed motion groups (B, F, size) as tokens (B, F, groups * tokens_per_group, clip_width)."""
        embedded = [embed(motion[name]).unflatten(-1, (-1, self.clip_width)) for name, embed in self.embed.items()]
        return torch.cat(embedded, 2)

    def modulate(self, patches: Tensor, motion: Tensor) -> Tensor:
        """Modulate patches (B, P, d) by motion tokens (B, F, M, d).

        Returns:
            (B, F, P, d) modulated patches.

        Source: paper, Eq. (1).
        """
        patches = patches[:, None].expand(-1, motion.shape[1], -1, -1)
        return patches + scaled_dot_product_attention(patches, motion, motion)

    def forward(self, appearance: Tensor, motion: Mapping[str, Tensor]) -> Tensor:
        """Compute condition tokens.

        Args:
            appearance: (B, 1 + P, clip_width) CLIP tokens, the class token first.
            motion: Coefficient groups (B, F, size) by name.

        Returns:
            (B, F, 1 + P, width).
        """
        identity, patches = appearance[:, :1], appearance[:, 1:]
        patches = self.modulate(patches, self.motion_tokens(motion))
        batch, frames = patches.shape[:2]
        tokens = torch.cat([identity[:, None].expand(-1, frames, -1, -1), patches], 2)
        return self.norm(self.adapter(self.project(tokens).flatten(0, 1))).unflatten(0, (batch, frames))


def pool_frames(tokens: Tensor) -> Tensor:
    """Average tokens (B, F, T, C) over the frames to (B, T, C), as the release conditions its UNet."""
    return tokens.mean(1)


def build_mia(
    state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, name: str = "MIA"
) -> ReleaseMIA | PaperMIA:
    """Build the module that fits the weights, in eval mode and float32; variant and sizes follow from the weights.

    Args:
        state: The weights.
        metadata: Metadata of the safetensors file; `heads` gives the attention heads of the paper's variant (default
            8), which the weights do not show.
        name: Name of the file, for messages.

    Raises:
        WeightsError: If the weights do not fit; lists missing, unexpected and misshapen ones.
    """
    state = strip_module_prefix(state)
    is_paper = any(key.startswith(("embed.", "adapter.")) for key in state)
    with torch.device("meta"):
        module = _build_paper_variant(state, metadata or {}, name) if is_paper else _build_release_variant(state)
    return load_network(module, state, name)


def _build_release_variant(state: Mapping[str, Tensor]) -> ReleaseMIA:
    width, clip_width = _matrix_shape(state, "transform_dim_clip.weight", (768, 1024))
    motion = {
        group: _matrix_shape(state, f"{_layer_name(group)}.weight", (width, size))[1]
        for group, size in RELEASE_MOTION.items()
    }
    identity_width = _matrix_shape(state, "transform_dim_arcface.weight", (width, 25088))[1]
    layers = count_blocks(state, "mapper.resblocks.") or ADAPTER_LAYERS
    return ReleaseMIA(width, clip_width, identity_width, motion, layers)


def _build_paper_variant(state: Mapping[str, Tensor], metadata: Mapping[str, str], name: str) -> PaperMIA:
    width, clip_width = _matrix_shape(state, "project.weight", (768, 1024))
    embedded = {match[1] for key in state if (match := re.fullmatch(r"embed\.(\w+)\.(weight|bias)", key))}
    groups = [group for group in PAPER_MOTION if group in embedded] + sorted(embedded - PAPER_MOTION.keys())
    shapes = {
        group: _matrix_shape(state, f"embed.{group}.weight", (clip_width, PAPER_MOTION.get(group, 1)))
        for group in groups
    }
    tokens = max((rows // clip_width for rows, _ in shapes.values()), default=1)
    heads = metadata.get("heads", "8")
    if not heads.isdecimal() or not 0 < int(heads[:6]) <= width or width % int(heads[:6]):
        raise WeightsError(
            f"{name}: {heads[:20]!r} attention heads do not divide the width {width}. Fetch the right file."
        )
    motion = {group: size for group, (_, size) in shapes.items()} or PAPER_MOTION
    if len(motion) * tokens < 2:
        raise WeightsError(f"{name}: a single motion token makes attention constant. Fetch the right file.")
    layers = count_blocks(state, "adapter.resblocks.") or ADAPTER_LAYERS
    return PaperMIA(width, clip_width, motion, max(tokens, 1), layers, int(heads))


def _layer_name(group: str) -> str:
    """Name of a coefficient group's layer in the release."""
    return f"transform_dim_{RELEASE_NAMES.get(group, group)}"


def _matrix_shape(state: Mapping[str, Tensor], key: str, default: tuple[int, int]) -> tuple[int, int]:
    """The shape of a matrix; the default if it is missing or no matrix, which loading reports afterwards."""
    if key not in state or state[key].dim() != 2:
        return default
    rows, columns = state[key].shape
    return rows, columns
