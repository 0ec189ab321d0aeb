"""The option `background`: colors, files and values that are refused."""

from pathlib import Path

import pytest

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.background_option import background_path, parse_color
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.errors import InputError


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("white", (255, 255, 255)),
        ("SkyBlue", (135, 206, 235)),
        ("#00b140", (0, 177, 64)),
        ("#f00", (255, 0, 0)),
        ("#00b140ff", (0, 177, 64)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
        ("beach.jpg", None),
        ("./red", None),
        ("keep", None),
        ("transparent", None),
    ],
)
def test_parse_color_reads_names_and_notations(text, color):
    assert parse_color(text) == color
    assert background_path(text) == (Path(text) if text in ("beach.jpg", "./red") else None)


@pytest.mark.parametrize("options", [AnimateOptions, EditOptions])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty\. Give keep, transparent, a color"),
        ("#00b14080", r"#00b14080 is partly transparent\. Give an opaque color such as #00b140"),
        ("rgb(300, 0, 0)", r"out of range\. Give values from 0 to 255"),
    ],
)
def test_backgrounds_that_cannot_be_shown_are_refused(options, text, message):
    with pytest.raises(InputError, match=message) as caught:
        options(background=text)
    assert caught.value.field == "background"


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"matte_kind": "person"}, "matte_kind", "needs the path of the matte. Give `matte` as well"),
        ({"matte": Path("person")}, "matte", "person is a kind, not a path.*`matte_kind=person`"),
        ({"matte": Path("m.mp4"), "background": "red"}, "background", "Set `matte_kind=person`"),
        ({"matte": Path("m.mp4"), "background": "transparent"}, "background", "Set `matte_kind=person`"),
        ({"compare": True, "background": "transparent"}, "background", "cannot be combined with `compare`"),
        ({"compare": True, "matte": Path("m.mp4"), "matte_kind": "person"}, "matte", "combined with `compare`"),
        ({"matte": Path("m.mp4"), "matte_kind": "hair"}, "matte_kind", "Choose changed or person"),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(options, field, message):
    with pytest.raises(InputError, match=message) as caught:
        AnimateOptions(**options)
    assert caught.value.field == field


def test_layers_that_fit_together_are_accepted():
    AnimateOptions(matte=Path("m.mp4"), matte_kind="person", background="transparent")
    AnimateOptions(compare=True, background="white")
