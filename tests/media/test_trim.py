"""Times as users write them, and spans of a video."""

from fractions import Fraction

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.trim import Moment, Trim


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", Fraction(25, 2)),
        ("1:30", Fraction(90)),
        ("1:02:03.5", Fraction(7447, 2)),
        ("0,25", Fraction(1, 4)),
        ("00:00:01:12", Fraction(37, 25)),
    ],
)
def test_moment_is_exact_in_every_notation(text, seconds):
    assert Moment.parse(text, "start").to_seconds(Fraction(25)) == seconds


@pytest.mark.parametrize("text", ["x", "1:60", "-1", "00:61:00.0", "1e3", ""])
def test_moment_refuses_other_texts_and_names_the_option(text):
    with pytest.raises(InputError) as caught:
        Moment.parse(text, "start")
    assert caught.value.field == "start"


def test_trim_is_false_only_without_a_limit():
    assert not Trim() and not Trim.parse(None, None)
    assert Trim.parse("1", None) and Trim.parse(None, "2")


def test_trim_gives_seconds_at_a_frame_rate():
    assert Trim.parse("1:00", None).seconds(Fraction(25)) == (60.0, None)
    assert Trim.parse("00:00:00:05", "2.5").seconds(Fraction(25)) == (0.2, 2.5)


@pytest.mark.parametrize("duration", ["0", "0.000", "00:00:00:00"])
def test_trim_refuses_a_duration_of_zero(duration):
    with pytest.raises(InputError) as caught:
        Trim.parse(None, duration)
    assert caught.value.field == "duration"
