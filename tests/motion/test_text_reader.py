"""Text and CSV files: encoding, size and shape."""

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion import text_reader
from mimaface_cli.motion.text_reader import TableRow, read_table, read_text


def test_read_table_skips_blank_lines_and_strips_fields(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufeffa, b\n\n1 ,2\n,,\n", encoding="utf-8")
    assert read_table(path) == (["a", "b"], [TableRow(3, ["1", "2"])])


def test_read_table_refuses_rows_of_another_length(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n\n\n1,2,3\n")
    with pytest.raises(InputError, match="line 4: has 3 fields, but the header has 2"):
        read_table(path)


@pytest.mark.parametrize(("name", "message"), [("a.csv", "UTF-8"), ("none.csv", "no such file"), ("", "is a folder")])
def test_read_text_refuses_what_is_not_a_text_file(tmp_path, name, message):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match=message):
        read_text(tmp_path / name)


def test_read_text_refuses_large_files(tmp_path, monkeypatch):
    monkeypatch.setattr(text_reader, "MAX_BYTES", 10)
    (tmp_path / "a.csv").write_text("x" * 11)
    with pytest.raises(InputError, match="larger than the limit"):
        read_text(tmp_path / "a.csv")
