"""Options of commands that are built from option dataclasses."""

from dataclasses import fields, is_dataclass
from typing import Literal, get_type_hints

import pytest
from typer.main import get_command

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.batch.batch_options import BatchOptions
from mimaface_cli.cli.app import app
from mimaface_cli.cli.options import field_option, with_choices
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions, PairListOptions
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import CODECS
from mimaface_cli.options import OptionInfo, option_info
from mimaface_cli.speech.speech_options import SpeechOptions

OWNERS = (
    AnimateOptions,
    BatchOptions,
    DenoiseSettings,
    EditOptions,
    EvaluateOptions,
    ExtractOptions,
    PairListOptions,
    SpeechOptions,
)


def find_option(flag: str, *path: str):
    command = get_command(app)
    for name in path:
        command = command.commands[name]
    return next(option for option in command.params if flag in option.opts)


@pytest.mark.parametrize("owner", OWNERS)
def test_default_options_are_valid(owner):
    assert is_dataclass(owner())


@pytest.mark.parametrize("owner", OWNERS)
def test_help_is_a_short_sentence(owner):
    for definition in fields(owner):
        info = definition.metadata.get("option")
        if isinstance(info, OptionInfo):
            assert info.help.endswith(".") and 10 < len(info.help) < 200, definition.name


@pytest.mark.parametrize(
    ("flag", "path", "owner", "field"),
    [
        ("--max-size", ("animate",), AnimateOptions, "max_size"),
        ("--region", ("animate",), AnimateOptions().retarget.__class__, "region"),
        ("--seed", ("audio",), SpeechOptions, "seed"),
        ("--smooth", ("extract",), ExtractOptions, "smooth"),
        ("--cell", ("edit",), EditOptions, "cell"),
        ("--network-step", ("evaluate", "measure"), EvaluateOptions, "network_step"),
        ("--pairs", ("evaluate", "make-list"), PairListOptions, "pairs"),
        ("--retry", ("batch",), BatchOptions, "retry"),
    ],
)
def test_command_takes_default_and_help_from_dataclass(flag, path, owner, field):
    option = find_option(flag, *path)
    assert option.default == getattr(owner, field)
    assert option.help.startswith(option_info(owner, field).help.rstrip(".")[:20])


def test_with_choices_replaces_text_by_literal():
    from typing import Annotated

    @with_choices
    def command(
        region: Annotated[str, field_option(AnimateOptions().retarget.__class__, "region")] = "all",
    ) -> None: ...

    assert get_type_hints(command)["region"] == Literal["all", "face", "eyes", "lips", "pose"]


def test_codec_help_names_every_codec():
    text = option_info(EncodeOptions, "codec").help
    assert all(name in text for name in CODECS)


@pytest.mark.parametrize(
    ("info", "value", "text"),
    [
        (OptionInfo("", minimum=0, maximum=3), 4, "^size: 4 is out of range. Give a number from 0 to 3.$"),
        (OptionInfo("", minimum=0, maximum=3), float("nan"), "^size: nan is out of range"),
        (OptionInfo("", minimum=64, special=0, unit="pixels"), 8, "Give at least 64 pixels, or 0.$"),
        (OptionInfo("", above=0, maximum=1), 0.0, "Give a number above 0 and at most 1.$"),
        (OptionInfo("", above=0), -1.5, "^size: -1.5 is out of range. Give a number above 0.$"),
        (OptionInfo("", maximum=2**32 - 1), 2**32, "Give at most 4294967295.$"),
        (OptionInfo("", choices=("a", "b", "c")), "d", "^size: unknown value 'd'. Choose a, b or c.$"),
    ],
)
def test_option_info_states_problem_and_range(info, value, text):
    with pytest.raises(InputError, match=text):
        info.check("size", value)


def test_option_info_accepts_none_and_special_value():
    OptionInfo("", minimum=64, special=0).check("size", 0)
    OptionInfo("", minimum=64).check("size", None)
