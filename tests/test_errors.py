"""Messages of library errors, as error lines quote them."""

from mimaface_cli.errors import brief


def test_brief_returns_one_short_line():
    assert brief(ValueError("first\n   second\tthird")) == "first second third"
    assert brief(RuntimeError("x" * 500)) == "x" * 160
    assert brief("x" * 500, 120) == "x" * 120
    assert brief(KeyError()) == "KeyError"
