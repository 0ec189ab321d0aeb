"""Tensor names and shapes of the released networks, and which tensors are installed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimaface_cli.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_LISTED_KEYS = 4
_PARALLEL_PREFIX = "module."  # added to every key by torch.nn.DataParallel


@dataclass(frozen=True)
class NetworkLayout:
    """Tensors that identify a network's state dict, and those that are installed.

    Attributes:
        shapes: Tensors that must be present, with their shapes; a size of None means any size.
        key_pattern: Regular expression that the start of every key must match.
        installed_pattern: Regular expression for the keys to install, or None for all.
        renames: Pairs of regular expression and replacement, applied to the installed keys in order.
    """

    shapes: Mapping[str, tuple[int | None, ...]]
    key_pattern: str
    installed_pattern: str | None = None
    renames: tuple[tuple[str, str], ...] = ()


_UNET_KEYS = r"(conv_in|conv_out|conv_norm_out|time_embedding|down_blocks|mid_block|up_blocks)\."
_MOTION_MODULE = "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight"


def _image_unet_layout(input_channels: int) -> NetworkLayout:
    shapes = {
        "conv_in.weight": (None, input_channels, 3, 3),
        "conv_in.bias": (None,),
        "time_embedding.linear_1.weight": (None, None),
        "down_blocks.0.resnets.0.conv1.weight": (None, None, 3, 3),
        "mid_block.resnets.0.conv1.weight": (None, None, 3, 3),
        "up_blocks.0.resnets.0.conv1.weight": (None, None, 3, 3),
        "conv_out.weight": (4, None, 3, 3),
    }
    return NetworkLayout(shapes, rf"(?!.*motion_modules\.){_UNET_KEYS}")


NETWORK_LAYOUTS: Mapping[str, NetworkLayout] = {
    "d3dfr": NetworkLayout(
        {"backbone.conv1.weight": (None, 3, 7, 7)}
        | {f"fianl_layers.{i}.weight": (size, None, 1, 1) for i, size in enumerate((80, 64, 80, 3, 27, 2, 1, 4))},
        r"(backbone|fianl_layers)\.",  # the released checkpoint has the misspelling "fianl" in its keys
    ),
    "curricularface": NetworkLayout(
        {"input_layer.0.weight": (None, 3, 3, 3), "output_layer.3.weight": (None, None)},
        r"(input_layer|body|output_layer)\.",
    ),
    "image unet": _image_unet_layout(13),
    "sd unet": _image_unet_layout(4),
    # The released video model takes its motion modules and input convolution from this file and everything else from
    # the image model's file. Three quarters of this file are never read.
    "video unet": NetworkLayout(
        {"conv_in.weight": (None, 13, 3, 3), "conv_in.bias": (None,), _MOTION_MODULE: (None, None)},
        _UNET_KEYS,
        installed_pattern=r"conv_in\.|.*motion_modules\.",
    ),
    "motion modules": NetworkLayout(
        {_MOTION_MODULE: (None, None)}, _UNET_KEYS, installed_pattern=r".*motion_modules\."
    ),
    "mia": NetworkLayout(
        {
            "transform_dim_clip.weight": (None, None),
            "transform_dim_arcface.weight": (None, None),
            "mapper.resblocks.0.attn.c_qkv.weight": (None, None),
            "layer_norm.weight": (None,),
        },
        r"(transform_dim_\w+|mapper|layer_norm)\.",
    ),
    # The paper's variant of the same module, as `mimaface train` saves it.
    "paper mia": NetworkLayout(
        {"project.weight": (None, None), "adapter.resblocks.0.attn.c_qkv.weight": (None, None), "norm.weight": (None,)},
        r"(embed\.\w+|project|adapter|norm)\.",
    ),
    # Only the vision encoder of a whole CLIP is installed. Some versions of transformers prefix its keys.
    "clip": NetworkLayout(
        {
            "embeddings.class_embedding": (None,),
            "embeddings.patch_embedding.weight": (None, 3, None, None),
            "encoder.layers.0.self_attn.q_proj.weight": (None, None),
        },
        r"(vision_model|text_model|embeddings|pre_layrnorm|encoder|post_layernorm|visual_projection|text_projection)\."
        r"|logit_scale$",
        installed_pattern=r"(vision_model\.)?(?!.*position_ids$)(embeddings|pre_layrnorm|encoder|post_layernorm)\.",
        renames=((r"^vision_model\.", ""),),
    ),
    # Published files still use the names that attention layers had in older versions of diffusers.
    "vae": NetworkLayout(
        {
            "encoder.conv_in.weight": (None, 3, 3, 3),
            "decoder.conv_in.weight": (None, 4, 3, 3),
            "decoder.conv_out.weight": (3, None, 3, 3),
            "quant_conv.weight": (8, 8, 1, 1),
            "post_quant_conv.weight": (4, 4, 1, 1),
        },
        r"(encoder|decoder|quant_conv|post_quant_conv)\.",
        renames=tuple(
            (rf"(\.attentions\.\d+)\.{old}\.", rf"\1.{new}.")
            for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
        ),
    ),
    "lpips heads": NetworkLayout({f"lin{i}.model.1.weight": (1, None, 1, 1) for i in range(5)}, r"lin\d\."),
    "alexnet": NetworkLayout(
        {"features.0.weight": (64, 3, 11, 11)}, r"(features|classifier)\.", installed_pattern=r"features\."
    ),
    "inception": NetworkLayout(
        {"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "fc.weight": (1008, 2048)}, r"[A-Za-z0-9_]+\."
    ),
    "i3d": NetworkLayout(
        {"Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7), "logits.conv3d.weight": (400, 1024, 1, 1, 1)},
        r"(Conv3d|Mixed|logits)\w*\.",
    ),
    "syncnet": NetworkLayout(
        {
            "netcnnaud.0.weight": (64, 1, 3, 3),
            "netcnnlip.0.weight": (96, 3, 5, 7, 7),
            "netfcaud.3.weight": (1024, 512),
            "netfclip.3.weight": (1024, 512),
        },
        r"net(cnn|fc)(aud|lip)\.",
    ),
    "arcface": NetworkLayout(
        {"conv1.weight": (None, 3, 3, 3), "fc.weight": (512, None), "features.weight": (512,)},
        r"(conv1|bn1|bn2|prelu|layer\d|fc|features)\.",
    ),
}
"""Layouts by content type (see `AssetFile.content`)."""


def select_tensors(state: "Mapping[str, Tensor]", content: str, name: str) -> "dict[str, Tensor]":
    """Select the tensors to install from a network's state dict and rename their keys.

    Args:
        state: The released state dict. A `module.` prefix on every key is removed.
        content: Key of `NETWORK_LAYOUTS`. "mia" also accepts the paper's variant of the module.
        name: File name for the error message.

    Returns:
        The tensors to install by their installed names.

    Raises:
        WeightsError: The state dict belongs to another network.
    """
    state = strip_module_prefix(state)
    if content == "mia" and "project.weight" in state:
        content = "paper mia"
    layout = NETWORK_LAYOUTS[content]
    selected = {
        key: value
        for key, value in state.items()
        if layout.installed_pattern is None or re.match(layout.installed_pattern, key)
    }
    for pattern, replacement in layout.renames:
        selected = {re.sub(pattern, replacement, key): value for key, value in selected.items()}
    mismatches = describe_mismatches(
        missing=layout.shapes.keys() - selected.keys(),
        unexpected=[key for key in state if not re.match(layout.key_pattern, key)],
        misshapen=[
            f"{key} {list(selected[key].shape)}"
            for key, shape in layout.shapes.items()
            if key in selected and not _has_shape(selected[key], shape)
        ],
    )
    if mismatches:
        raise WeightsError(
            f"{name}: does not contain the expected weights ({content}): {mismatches}. Get the right file."
        )
    return selected


def strip_module_prefix(state: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
    """Remove the `module.` that torch.nn.DataParallel adds to every key."""
    if state and all(key.startswith(_PARALLEL_PREFIX) for key in state):
        return {key.removeprefix(_PARALLEL_PREFIX): value for key, value in state.items()}
    return state


def describe_mismatches(
    missing: "Sequence[str] | set[str]", unexpected: Sequence[str], misshapen: Sequence[str]
) -> str:
    """Describe on one line how a state dict differs from what a network expects.

    Args:
        missing: Keys that the state dict lacks.
        unexpected: Keys that the network does not have.
        misshapen: Keys of tensors with the wrong shape.

    Returns:
        The number of keys of each kind and the first four of them, or "" if nothing differs.
    """
    kinds = {"missing": sorted(missing), "unexpected": sorted(unexpected), "with the wrong shape": list(misshapen)}
    return "; ".join(f"{len(keys)} {kind} ({_list_first(keys)})" for kind, keys in kinds.items() if keys)


def _has_shape(tensor: "Tensor", shape: tuple[int | None, ...]) -> bool:
    sizes = tuple(tensor.shape)
    return len(sizes) == len(shape) and all(
        expected is None or expected == size for size, expected in zip(sizes, shape, strict=True)
    )


def _list_first(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_LISTED_KEYS]) + (", ..." if len(keys) > _LISTED_KEYS else "")
