"""What a model file must hold, checked before it is installed: cheap facts of names and shapes, never code."""

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from mimaface_cli.errors import WeightsError, brief
from mimaface_cli.weights.matlab import read_mat

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN = 4
_LARGEST_JSON = 1 << 20
_WRAPPERS = ("state_dict", "model")  # under which training scripts keep the weights beside other things


@dataclass(frozen=True)
class Network:
    """shapes: entries that must be there, and their shapes (None: any size). keys: what every name must match.

    keep: what is installed of it, the rest is left behind (None: everything). rename: pairs of pattern and replacement.
    """

    shapes: Mapping[str, tuple[int | None, ...]]
    keys: str
    keep: str | None = None
    rename: tuple[tuple[str, str], ...] = ()


_UNET_KEYS = r"(conv_in|conv_out|conv_norm_out|time_embedding|down_blocks|mid_block|up_blocks)\."
_MOTION = "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight"


def _image_unet(channels: int) -> Network:
    shapes = {
        "conv_in.weight": (None, channels, 3, 3),
        "conv_in.bias": (None,),
        "time_embedding.linear_1.weight": (None, None),
        "down_blocks.0.resnets.0.conv1.weight": (None, None, 3, 3),
        "mid_block.resnets.0.conv1.weight": (None, None, 3, 3),
        "up_blocks.0.resnets.0.conv1.weight": (None, None, 3, 3),
        "conv_out.weight": (4, None, 3, 3),
    }
    return Network(shapes, rf"(?!.*motion_modules\.){_UNET_KEYS}")


NETWORKS: Mapping[str, Network] = {
    "d3dfr": Network(
        {"backbone.conv1.weight": (None, 3, 7, 7)}
        | {f"fianl_layers.{i}.weight": (size, None, 1, 1) for i, size in enumerate((80, 64, 80, 3, 27, 2, 1, 4))},
        r"(backbone|fianl_layers)\.",
    ),
    "curricularface": Network(
        {"input_layer.0.weight": (None, 3, 3, 3), "output_layer.3.weight": (None, None)},
        r"(input_layer|body|output_layer)\.",
    ),
    "image unet": _image_unet(13),
    "sd unet": _image_unet(4),
    # The released video model takes its motion modules and input convolution from this file, all else from the image
    # model's: the other three quarters are never read.
    "video unet": Network(
        {"conv_in.weight": (None, 13, 3, 3), "conv_in.bias": (None,), _MOTION: (None, None)},
        _UNET_KEYS,
        keep=r"conv_in\.|.*motion_modules\.",
    ),
    "motion modules": Network({_MOTION: (None, None)}, _UNET_KEYS, keep=r".*motion_modules\."),
    "mia": Network(
        {
            "transform_dim_clip.weight": (None, None),
            "transform_dim_arcface.weight": (None, None),
            "mapper.resblocks.0.attn.c_qkv.weight": (None, None),
            "layer_norm.weight": (None,),
        },
        r"(transform_dim_\w+|mapper|layer_norm)\.",
    ),
    # The paper's variant of the same module, as own training leaves it.
    "paper mia": Network(
        {"project.weight": (None, None), "adapter.resblocks.0.attn.c_qkv.weight": (None, None), "norm.weight": (None,)},
        r"(embed\.\w+|project|adapter|norm)\.",
    ),
    # Of a whole CLIP, the vision half; its prefix came and went with the versions of transformers.
    "clip": Network(
        {
            "embeddings.class_embedding": (None,),
            "embeddings.patch_embedding.weight": (None, 3, None, None),
            "encoder.layers.0.self_attn.q_proj.weight": (None, None),
        },
        r"(vision_model|text_model|embeddings|pre_layrnorm|encoder|post_layernorm|visual_projection|text_projection)\."
        r"|logit_scale$",
        keep=r"(vision_model\.)?(?!.*position_ids$)(embeddings|pre_layrnorm|encoder|post_layernorm)\.",
        rename=((r"^vision_model\.", ""),),
    ),
    # Attention parts have had other names in diffusers, which published files still use.
    "vae": Network(
        {
            "encoder.conv_in.weight": (None, 3, 3, 3),
            "decoder.conv_in.weight": (None, 4, 3, 3),
            "decoder.conv_out.weight": (3, None, 3, 3),
            "quant_conv.weight": (8, 8, 1, 1),
            "post_quant_conv.weight": (4, 4, 1, 1),
        },
        r"(encoder|decoder|quant_conv|post_quant_conv)\.",
        rename=tuple(
            (rf"(\.attentions\.\d+)\.{old}\.", rf"\1.{new}.")
            for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
        ),
    ),
    "lpips heads": Network({f"lin{i}.model.1.weight": (1, None, 1, 1) for i in range(5)}, r"lin\d\."),
    "alexnet": Network({"features.0.weight": (64, 3, 11, 11)}, r"(features|classifier)\.", keep=r"features\."),
    "inception": Network({"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "fc.weight": (1008, 2048)}, r"[A-Za-z0-9_]+\."),
    "i3d": Network(
        {"Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7), "logits.conv3d.weight": (400, 1024, 1, 1, 1)},
        r"(Conv3d|Mixed|logits)\w*\.",
    ),
}


def read_network(path: Path, content: str) -> "dict[str, Tensor]":
    """The weights in a safetensors file or a pickle of tensors, named and cut as they are installed, memory-mapped.

    Raises WeightsError where the file cannot be read, would run code, or holds another network.
    """
    return select(_read_state(path), content, str(path))


def read_attention_heads(path: Path) -> dict[str, str]:
    """What a safetensors file says of its attention heads, which no weight tells: {"heads": "8"}, or nothing."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            heads = (file.metadata() or {}).get("heads", "")
    except (OSError, SafetensorError):  # a pickle says nothing
        return {}
    return {"heads": heads} if heads.isdecimal() and len(heads) < 5 else {}


def select(state: "Mapping[str, Tensor]", content: str, name: str) -> "dict[str, Tensor]":
    """Of a network's state what is installed, under the names it has there. name: the file, for the message.

    Raises WeightsError where it is another network's.
    """
    if content == "mia" and "project.weight" in {key.removeprefix("module.") for key in state}:
        content = "paper mia"
    network = NETWORKS[content]
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    unexpected = sorted(key for key in state if not re.match(network.keys, key))
    kept = {key: value for key, value in state.items() if network.keep is None or re.match(network.keep, key)}
    for pattern, replacement in network.rename:
        kept = {re.sub(pattern, replacement, key): value for key, value in kept.items()}
    faults = {
        "missing": sorted(network.shapes.keys() - kept.keys()),
        "unexpected": unexpected,
        "of another shape": [
            f"{key} {list(kept[key].shape)}"
            for key, shape in network.shapes.items()
            if key in kept and not _fits(tuple(kept[key].shape), shape)
        ],
    }
    if told := [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in faults.items() if keys]:
        raise WeightsError(f"{name}: not the weights expected ({content}): {'; '.join(told)}; fetch the right file")
    return kept


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w is None or w == s for s, w in zip(shape, wanted, strict=True))


def _read_state(path: Path) -> "dict[str, Tensor]":
    import torch
    from safetensors.torch import load_file

    try:
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:9] == b"{":  # a safetensors header, whatever the file's name
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|global:?)\s+([\w.]+)", str(error))
        what = f"it would run {found[1]}" if found else "it is damaged, or would run code"
        raise WeightsError(f"{path}: not plain weights ({what}); not installed, fetch it from its source") from error
    except Exception as error:  # on damaged bytes the unpickler raises whatever its parts do
        reason = brief(getattr(error, "strerror", None) or error)
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); fetch it again") from error
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if (
        not isinstance(loaded, dict)
        or not loaded
        or not all(isinstance(value, torch.Tensor) for value in loaded.values())
    ):
        raise WeightsError(f"{path}: holds no table of weights; fetch the right file")
    if not all(isinstance(key, str) for key in loaded):
        raise WeightsError(f"{path}: holds weights without names; fetch the right file")
    dense = all(value.layout is torch.strided and not value.is_quantized for value in loaded.values())
    if not dense or sum(value.numel() * value.element_size() for value in loaded.values()) > 2 * path.stat().st_size:
        # Views can promise more than the file holds: such a file would fill memory and disk.
        raise WeightsError(f"{path}: holds weights of a kind that cannot be kept; fetch the right file")
    return {key: value.detach() for key, value in loaded.items()}


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")


def check_unconverted(path: Path, content: str) -> None:
    """Check a file that is kept as it is, by its content's name. Raises WeightsError."""
    _PLAIN[content](path)


def _config(**wanted: object) -> Callable[[Path], None]:
    """A check of a config.json: the options it must have, with their values (... : any)."""

    def check(path: Path) -> None:
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST_JSON + 1)
            config = json.loads(text) if len(text) <= _LARGEST_JSON else None
        except (OSError, ValueError, RecursionError) as error:
            raise WeightsError(f"{path}: cannot be read as a model's config; fetch it again") from error
        found = config if isinstance(config, dict) else {}
        # A whole CLIP keeps its vision half's options in a part of their own.
        found = found | found["vision_config"] if isinstance(found.get("vision_config"), dict) else found
        for name, value in wanted.items():
            if name not in found or (value is not ... and found[name] != value):
                expected = name if value is ... else f"{name} {value}"
                raise WeightsError(f"{path}: not the config expected: it lacks {expected}; fetch the right file")

    return check


def _check_bfm(path: Path) -> None:
    names = {"meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "point_buf", "keypoints"}
    if absent := sorted(names - read_mat(path).keys()):  # all of it: a file cut short is noticed only where it is read
        raise WeightsError(f"{path}: not BFM09_model_info.mat: it lacks {', '.join(absent)}; fetch the right file")


_PLAIN: Mapping[str, Callable[[Path], None]] = {
    "bfm09": _check_bfm,
    "unet config": _config(block_out_channels=..., cross_attention_dim=...),
    "vae config": _config(block_out_channels=..., latent_channels=4),
    "clip config": _config(hidden_size=..., patch_size=..., num_hidden_layers=...),
}
