"""Options of speech-driven motion."""

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.speech.speech_options import SpeechOptions


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"space": "flame"}, "space"),
        ({"seed": -1}, "seed"),
        ({"pose_style": 46, "space": "bfm09"}, "pose_style"),
        ({"pose_style": 3}, "pose_style"),
        ({"source": "face.jpg"}, "source"),
        ({"checkpoint": "weights.safetensors"}, "checkpoint"),
        ({"expression_scale": 4.0}, "expression_scale"),
        ({"still": True, "pose_from": "a.npz"}, "still"),
    ],
)
def test_speech_options_name_the_field_of_an_invalid_value(values, field):
    with pytest.raises(InputError) as failure:
        SpeechOptions(**values)
    assert failure.value.field == field


def test_speech_options_suggest_the_space_of_sadtalker_options():
    with pytest.raises(InputError, match="Set `space=bfm09`"):
        SpeechOptions(pose_style=3)
