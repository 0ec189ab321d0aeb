"""SadTalker's blink sequences (mimaface_cli.speech.blink)."""

from collections.abc import Iterator

from mimaface_cli.speech.blink import FIXED_SHAPE, RANDOM_SHAPE, fixed_blinks, random_blinks
from tests.goldens.fixture import Check, Fixture, absolute


def check(fixture: Fixture) -> Iterator[Check]:
    for name, ours in (("random", RANDOM_SHAPE), ("fixed", FIXED_SHAPE)):
        yield absolute(f"{name} pattern", ours, fixture.spec["config"][f"{name}_pattern"], 0)
    for case in fixture.spec["cases"]:
        frames = case["num_frames"]
        found = {"random": random_blinks(frames, case["python_random_seed"]), "fixed": fixed_blinks(frames)}
        for name, ratio in found.items():
            yield absolute(f"{name}_n{frames}", ratio, fixture.arrays[f"{name}_n{frames}"], 0)
