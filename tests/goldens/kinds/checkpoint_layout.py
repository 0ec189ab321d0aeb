"""The audio networks' keys in SadTalker's single file (mimaface_cli.speech.sadtalker_checkpoint)."""

from collections.abc import Iterator

import torch

from mimaface_cli.speech.audio2pose import TRAINING_PREFIXES
from mimaface_cli.speech.sadtalker_checkpoint import EXPRESSION, POSE, drop_training_keys
from mimaface_cli.weights.state_dict import load_strict
from tests.goldens.fixture import Check, Fixture
from tests.goldens.kinds._sadtalker import expression_network, pose_network


def check(fixture: Fixture) -> Iterator[Check]:
    spec = fixture.spec
    for name, build in ((EXPRESSION, expression_network), (POSE, pose_network)):
        rows = {key.removeprefix(f"{name}."): row for key, row in spec["keys"].items() if key.startswith(f"{name}.")}
        with torch.device("meta"):
            state = {key: torch.empty(shape, dtype=getattr(torch, dtype)) for key, (dtype, shape) in rows.items()}
            network = build({key: shape for key, (_, shape) in rows.items()})
        kept = drop_training_keys(state)
        ours = {key: (value.dtype, value.shape) for key, value in network.state_dict().items()}
        theirs = {key: (value.dtype, value.shape) for key, value in kept.items()}
        differing = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
        yield Check(f"{name} keys, shapes and types", len(differing), 0)
        load_strict(network, kept, name)

        parts = {key.removeprefix(f"{name}."): part for key, part in spec["sub_prefix_summary"].items()}
        dropped = sum(part["tensors"] for key, part in parts.items() if key in TRAINING_PREFIXES)
        yield Check(f"{name} tensors dropped", abs(len(state) - len(kept) - dropped), 0)
        summary = spec["prefix_summary"][name]
        yield Check(f"{name} tensors", abs(len(state) - summary["tensors"]), 0)
        yield Check(f"{name} values", abs(sum(v.numel() for v in state.values()) - summary["values"]), 0)
        size = sum(value.numel() * value.element_size() for value in state.values())
        yield Check(f"{name} bytes", abs(size - summary["bytes"]), 0)
