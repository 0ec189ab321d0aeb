"""The video UNet: parameter names, output and inner activations (mimaface_cli.engines.diffusion.unet)."""

import re
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from mimaface_cli.engines.diffusion.unet import VideoUNet
from tests.goldens.fixture import Check, Fixture, relative_to_max, same_keys

_INNER = re.compile(
    r"(?:(?P<side>down|up)_block(?P<block>\d+)|mid_block)(?:_motion_module(?P<motion>\d+))?_output"
    r"(?:_batch(?P<batch>\d+))?"
)


def check(fixture: Fixture) -> Iterator[Check]:
    if "unet3d_all" in fixture.spec:
        yield from _check_keys(fixture)
        return
    unet = VideoUNet({**fixture.spec.get("defaults_used", {}), **fixture.spec["config"]})
    yield fixture.fill(unet)
    tolerance = fixture.spec["tolerance"]["relative_to_max"]
    for case in fixture.spec["cases"]:
        prefix = case["tag"] + "_"
        names = [name.removeprefix(prefix) for name in fixture.arrays if name.startswith(prefix)]
        inputs = [fixture.tensor(prefix + name) for name in ("sample", "timestep", "encoder_hidden_states")]
        computed: dict[str, Tensor] = {}
        matches = {name: match for name in names if (match := _INNER.fullmatch(name))}
        hooks = [
            _part(unet, match).register_forward_hook(partial(_capture, computed, name))
            for name, match in matches.items()
        ]
        computed["output"] = unet(*inputs)
        for hook in hooks:
            hook.remove()
        for name, match in matches.items():
            computed[name] = computed[name].unflatten(0, (-1, inputs[0].shape[2])).transpose(1, 2)
            if match["batch"]:
                computed[name] = computed[name][int(match["batch"]) :][:1]
        for name in ["output", *matches]:
            yield relative_to_max(prefix + name, computed[name], fixture.arrays[prefix + name], tolerance)


def _capture(computed: dict[str, Tensor], name: str, module: nn.Module, inputs: tuple, output: Tensor) -> None:
    computed[name] = output


def _part(unet: VideoUNet, match: re.Match) -> nn.Module:
    """Return the module that produces the activation that an array is named after."""
    if not match["side"]:
        return unet.mid_block.resnets[-1]
    block = getattr(unet, f"{match['side']}_blocks")[int(match["block"])]
    if match["motion"]:
        return block.motion_modules[int(match["motion"])]
    for name in ("downsamplers", "upsamplers", "motion_modules", "attentions", "resnets"):
        if parts := getattr(block, name, None):
            return parts[-1]
    raise ValueError("an empty block")


def _check_keys(fixture: Fixture) -> Iterator[Check]:
    """Check the key lists of a network of any size, built without memory for its weights."""
    spec = fixture.spec
    with torch.device("meta"):
        video = VideoUNet(spec["config"])
        image = VideoUNet({**spec["config"], "use_motion_module": False})
    union = {row[0]: row for row in spec["image_model_unet"] + spec["3dunet_pth_used"]}
    used = [row for row in union.values() if "motion_modules." in row[0] or "conv_in." in row[0]]
    yield same_keys(video, union.values())
    yield same_keys(image, spec["image_model_unet"])
    for name, state in (("unet3d_all", video.state_dict()), ("image_model_unet", image.state_dict())):
        numbers = [len(state), sum(tensor.numel() for tensor in state.values())]
        yield Check(f"counts {name}", sum(abs(a - b) for a, b in zip(numbers, spec["counts"][name], strict=True)), 0)
    yield Check("keys taken from 3dunet.pth", abs(len(used) - spec["counts"]["used_from_3dunet_pth"][0]), 0)
