"""Style of speech-driven motion: valid values, and messages for others."""

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.speech.speech_options import SpeechOptions
from mimaface_cli.speech.style_options import EMOTIONS, SpeechStyle, parse_emotion


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"emotion": "bored"}, "emotion"),
        ({"emotion": "happy=2"}, "emotion"),
        ({"emotion": "happy=nan"}, "emotion"),
        ({"emotion": "happy="}, "emotion"),
        ({"emotion": "sad=much"}, "emotion"),
        ({"head_motion": 2.5}, "head_motion"),
        ({"blink_rate": -1}, "blink_rate"),
        ({"idle": float("nan")}, "idle"),
    ],
)
def test_style_names_the_field_of_an_invalid_value(values, field):
    with pytest.raises(InputError) as failure:
        SpeechStyle(**values)
    assert failure.value.field == field and "\n" not in str(failure.value)


def test_parse_emotion_returns_name_and_strength():
    assert parse_emotion("sad=0.4") == ("sad", 0.4)
    assert parse_emotion("calm") == ("calm", 1.0)
    assert parse_emotion(None) is None
    for name in EMOTIONS:
        assert SpeechStyle(emotion=f"{name}=0.5").changed_fields() == ["emotion"]


@pytest.mark.parametrize(
    ("values", "style", "field"),
    [
        ({"still": True}, {"head_motion": 1.5}, "head_motion"),
        ({"pose_from": "a.npz"}, {"head_motion": 1.5}, "head_motion"),
        ({"blinks_from": "a.npz"}, {"blink_rate": 30}, "blink_rate"),
        ({"space": "bfm09"}, {"emotion": "happy"}, "emotion"),
    ],
)
def test_speech_options_refuse_a_style_that_another_option_overrules(values, style, field):
    with pytest.raises(InputError) as failure:
        SpeechOptions(**values, style=SpeechStyle(**style))
    assert failure.value.field == field
    SpeechOptions(**values)
