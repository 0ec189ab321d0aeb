"""The released condition tokens (mimaface_cli.engines.diffusion.mia)."""

import re
from collections.abc import Iterator

from mimaface_cli.engines.diffusion.mia import RELEASE_NAMES, ReleaseMIA, pool_frames
from tests.goldens.fixture import Check, Fixture, absolute


def check(fixture: Fixture) -> Iterator[Check]:
    spec, arrays = fixture.spec, fixture.arrays
    widths = {
        match[1]: shape
        for key, shape, _ in spec["state_dict"]
        if (match := re.fullmatch(r"transform_dim_(\w+)\.weight", key))
    }
    ours = {released: name for name, released in RELEASE_NAMES.items()}
    motion = {name: shape[1] for name, shape in widths.items() if name not in ("clip", "arcface")}
    model = ReleaseMIA(
        width=widths["clip"][0],
        clip_width=widths["clip"][1],
        identity_width=widths["arcface"][1],
        motion={ours.get(name, name): size for name, size in motion.items()},
        layers=spec["adapter"]["layers"],
        heads=spec["adapter"]["heads"],
    )
    yield fixture.fill(model)

    frames = {ours.get(name, name): fixture.tensor(name)[None] for name in motion}
    tokens = model(fixture.tensor("clip_last_hidden_state"), fixture.tensor("arcface"), frames)
    yield Check("sequence length", abs(tokens.shape[2] - spec["sequence_length"]), 0)
    for name in arrays:
        if match := re.fullmatch(r"tokens_(mean|frame(\d+)|first(\d+)_all_frames|every(\d+)th_all_frames)", name):
            _, frame, first, step = match.groups()
            if frame:
                computed = tokens[0, int(frame)]
            elif first:
                computed = tokens[0, :, : int(first)]
            else:
                computed = tokens[0, :, :: int(step)] if step else pool_frames(tokens)
            yield absolute(name, computed, arrays[name], **spec["tolerance"])
