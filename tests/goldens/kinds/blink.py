"""SadTalker's random blinks (mimaface_cli.speech.blink). Its other sequence, with fixed gaps, is not used."""

from collections.abc import Iterator

from mimaface_cli.speech.blink import BLINK_CLOSURE, generate_blinks
from tests.goldens.fixture import Check, Fixture, absolute


def check(fixture: Fixture) -> Iterator[Check]:
    yield absolute("random pattern", BLINK_CLOSURE, fixture.spec["config"]["random_pattern"], 0)
    for case in fixture.spec["cases"]:
        name = f"random_n{case['num_frames']}"
        closure = generate_blinks(case["num_frames"], case["python_random_seed"])
        yield absolute(name, closure, fixture.arrays[name], 0)
