"""SadTalker's expression network (mimaface_cli.speech.audio2exp)."""

from collections.abc import Iterator

import torch

from tests.goldens.fixture import Check, Fixture, absolute
from tests.goldens.kinds._sadtalker import expression_network, filled, shapes_of


def check(fixture: Fixture) -> Iterator[Check]:
    arrays, tolerance = fixture.arrays, fixture.spec["tolerance"]
    network = expression_network(shapes_of(fixture))
    yield from filled(fixture, network)
    windows, ratio = fixture.tensor("mel_windows"), fixture.tensor("ratio")
    reference = fixture.tensor("ref")[:, : network.mapping1.out_features]

    layers: list[tuple[list[int], float, float]] = []
    for block in network.audio_encoder[:-1]:
        block.register_forward_hook(
            lambda *args: layers.append((list(args[-1].shape[1:]), float(args[-1].mean()), float(args[-1].std())))
        )
    yield absolute("audio_emb", network.audio_encoder(windows[:, None]), arrays["audio_emb"], **tolerance["audio_emb"])
    if expected := fixture.spec.get("per_layer_shape_mean_std"):
        yield Check("layer shapes", sum(a[0] != b[0] for a, b in zip(layers, expected, strict=True)), 0)

    yield absolute("exp", network(windows, reference, ratio), arrays["exp"], **tolerance["exp"])
    size = fixture.spec["config"]["chunk"]
    chunks = zip(*(values.split(size) for values in (windows, reference, ratio)), strict=True)
    yield absolute("exp in chunks", torch.cat([network(*chunk) for chunk in chunks]), arrays["exp"], **tolerance["exp"])
    if "idle_exp" in arrays:
        n = len(arrays["idle_exp"])
        idle = network(torch.zeros_like(windows[:n]), reference[:n], ratio[:n])
        yield absolute("idle_exp", idle, arrays["idle_exp"], **tolerance["exp"])
