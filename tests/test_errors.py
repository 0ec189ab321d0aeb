"""What libraries say of their failures, as our lines carry it."""

from mimaface_cli.errors import brief


def test_it_is_one_short_line():
    assert brief(ValueError("first\n   second\tthird")) == "first second third"
    assert brief(RuntimeError("x" * 500)) == "x" * 160
    assert brief("x" * 500, 120) == "x" * 120
    assert brief(KeyError()) == "KeyError"
