"""MIA: the condition tokens that the UNet's cross-attention reads, from appearance, identity and motion.

Two variants. `ReleaseTokens` is the released module (its parameter names included): every coefficient group becomes
one token in front of the CLIP tokens. `PaperTokens` is the paper's equation 1: patch tokens attend to motion tokens.
Both give one set of tokens per frame; `pool_frames` averages them over a clip as the release does.
"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.state_dict import count_blocks, load_network, strip_module_prefix

# Coefficient groups in token order, with their widths; names as in `mimaface_cli.face.d3dfr.FIELDS`.
RELEASE_MOTION = {"gaze": 4, "expression": 64, "texture": 80, "illumination": 27, "angles": 3, "translation": 3}
RELEASE_NAMES = {"expression": "exp", "texture": "tex", "illumination": "gamma"}
SOURCE_GROUPS = ("texture", "illumination")  # of those groups, what is the photo's and does not move
PAPER_MOTION = {"pose": 6, "expression": 64, "gaze": 4}


class Attention(nn.Module):
    """Self-attention with one fused projection; q, k and v lie head by head in it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.c_qkv = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.c_qkv(x).unflatten(2, (self.heads, -1)).transpose(1, 2).chunk(3, -1)
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = MLP(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Adapter(nn.Module):
    """The transformer that mixes the tokens, (B, T, width) -> (B, T, width)."""

    def __init__(self, width: int, layers: int, heads: int):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class ReleaseMIA(nn.Module):
    """The released MIM: linear tokens of identity and coefficients before the CLIP tokens, mixed by the adapter.

    motion: width of each coefficient group, in token order.
    """

    def __init__(
        self,
        width: int = 768,
        clip_width: int = 1024,
        identity_width: int = 25088,
        motion: Mapping[str, int] = RELEASE_MOTION,
        layers: int = 3,
        heads: int = 1,
    ):
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
        """Of the adapter."""
        return self.mapper.resblocks[0].attn.heads

    def motion_layers(self) -> dict[str, nn.Linear]:
        """What reads the coefficients that move, by its name in here."""
        moving = (_layer_name(group) for group in self.motion if group not in SOURCE_GROUPS)
        return {name: self.get_submodule(name) for name in moving}

    def forward(self, appearance: Tensor, identity: Tensor, motion: Mapping[str, Tensor]) -> Tensor:
        """Appearance (B, N, clip_width), identity (B, identity_width), motion groups (B, F, size).

        Returns (B, F, 1 + groups + N, width): identity, the groups in their order, then the CLIP tokens.
        """
        batch, frames = motion[self.motion[0]].shape[:2]
        still = torch.cat([self.transform_dim_arcface(identity)[:, None], self.transform_dim_clip(appearance)], 1)
        still = still[:, None].expand(-1, frames, -1, -1)
        groups = [self.get_submodule(_layer_name(group))(motion[group]) for group in self.motion]
        tokens = torch.cat([still[:, :, :1], torch.stack(groups, 2), still[:, :, 1:]], 2)
        return self.layer_norm(self.mapper(tokens.flatten(0, 1))).unflatten(0, (batch, frames))


class PaperMIA(nn.Module):
    """The paper's MIA: patch tokens + softmax(patch motion^T / sqrt(d)) motion, then [class; patches] -> adapter.

    Motion groups (pose, expression, gaze) are embedded as `tokens_per_group` tokens each, which serve as keys and as
    values; there are at least two in all, as a softmax over a single key would be constant.
    """

    def __init__(
        self,
        width: int = 768,
        clip_width: int = 1024,
        motion: Mapping[str, int] = PAPER_MOTION,
        tokens_per_group: int = 1,
        layers: int = 3,
        heads: int = 8,
    ):
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
        """Of the adapter."""
        return self.adapter.resblocks[0].attn.heads

    def motion_layers(self) -> dict[str, nn.Linear]:
        """What reads the coefficients that move, by its name in here."""
        return {f"embed.{group}": layer for group, layer in self.embed.items()}

    def motion_tokens(self, motion: Mapping[str, Tensor]) -> Tensor:
        """Motion groups (B, F, size) -> (B, F, groups * tokens_per_group, clip_width)."""
        embedded = [embed(motion[name]).unflatten(-1, (-1, self.clip_width)) for name, embed in self.embed.items()]
        return torch.cat(embedded, 2)

    def modulate(self, patches: Tensor, motion: Tensor) -> Tensor:
        """Equation 1: patches (B, P, d) and motion tokens (B, F, M, d) -> modulated patches (B, F, P, d)."""
        patches = patches[:, None].expand(-1, motion.shape[1], -1, -1)
        return patches + F.scaled_dot_product_attention(patches, motion, motion)

    def forward(self, appearance: Tensor, motion: Mapping[str, Tensor]) -> Tensor:
        """Appearance (B, 1 + P, clip_width), class token first; motion groups (B, F, size) -> (B, F, 1 + P, width)."""
        identity, patches = appearance[:, :1], appearance[:, 1:]
        patches = self.modulate(patches, self.motion_tokens(motion))
        batch, frames = patches.shape[:2]
        tokens = torch.cat([identity[:, None].expand(-1, frames, -1, -1), patches], 2)
        return self.norm(self.adapter(self.project(tokens).flatten(0, 1))).unflatten(0, (batch, frames))


def pool_frames(tokens: Tensor) -> Tensor:
    """(B, F, T, C) -> (B, T, C): one set of tokens for the whole clip, as the release conditions its UNet."""
    return tokens.mean(1)


def build_mia(
    state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, name: str = "MIA"
) -> ReleaseMIA | PaperMIA:
    """The module whose weights these are, of either variant, its sizes read from them; in eval mode, float32.

    metadata: the safetensors file's; `heads` counts where the weights cannot tell (paper variant, default 8). name: the
    file, for the message. Raises WeightsError that lists what is missing, unexpected or misshapen.
    """
    state = strip_module_prefix(state)
    paper = any(key.startswith(("embed.", "adapter.")) for key in state)
    with torch.device("meta"):
        module = _paper_variant(state, metadata or {}, name) if paper else _release_variant(state)
    return load_network(module, state, name)


def _release_variant(state: Mapping[str, Tensor]) -> ReleaseMIA:
    options = {}
    width, clip_width = _sizes(state, "transform_dim_clip.weight", (768, 1024))
    motion = {
        name: _sizes(state, f"{_layer_name(name)}.weight", (width, size))[1] for name, size in RELEASE_MOTION.items()
    }
    if layers := count_blocks(state, "mapper.resblocks."):
        options["layers"] = layers
    identity_width = _sizes(state, "transform_dim_arcface.weight", (width, 25088))[1]
    return ReleaseMIA(width, clip_width, identity_width, motion, **options)


def _paper_variant(state: Mapping[str, Tensor], metadata: Mapping[str, str], name: str) -> PaperMIA:
    options = {}
    width, clip_width = _sizes(state, "project.weight", (768, 1024))
    found = {match[1] for key in state if (match := re.fullmatch(r"embed\.(\w+)\.(weight|bias)", key))}
    names = [group for group in PAPER_MOTION if group in found] + sorted(found - PAPER_MOTION.keys())
    motion = {
        group: _sizes(state, f"embed.{group}.weight", (clip_width, PAPER_MOTION.get(group, 1))) for group in names
    }
    tokens = max((embedded // clip_width for embedded, _ in motion.values()), default=1)
    if layers := count_blocks(state, "adapter.resblocks."):
        options["layers"] = layers
    heads = metadata.get("heads", "8")
    if not heads.isdecimal() or not 0 < int(heads[:6]) <= width or width % int(heads[:6]):
        raise WeightsError(f"{name}: {heads[:20]!r} heads do not divide the width {width}; fetch the right file")
    motion = {group: size for group, (_, size) in motion.items()} or PAPER_MOTION
    if len(motion) * tokens < 2:
        raise WeightsError(f"{name}: has a single motion token, at which attention is constant; fetch the right file")
    return PaperMIA(width, clip_width, motion, max(tokens, 1), heads=int(heads), **options)


def _layer_name(group: str) -> str:
    """Of a coefficient group's layer in the release."""
    return f"transform_dim_{RELEASE_NAMES.get(group, group)}"


def _sizes(state: Mapping[str, Tensor], key: str, default: tuple[int, int]) -> tuple[int, int]:
    """The shape of a matrix; the default where it is missing or no matrix, which loading then reports."""
    return tuple(state[key].shape) if key in state and state[key].dim() == 2 else default
