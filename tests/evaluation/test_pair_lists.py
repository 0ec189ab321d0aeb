"""Lists: what is read, what is refused with its row, what a seed draws."""

import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.evaluation.pair_lists import COLUMNS, make_list, read_list, write_list


@pytest.fixture
def media(tmp_path):
    """VoxCeleb's way of naming: three people, five clips; and a photo of a fourth."""
    for name in (
        "id10001#a#1.mp4",
        "id10001#b#1.mp4",
        "id10002#a#1.mp4",
        "id10002#c#2.mp4",
        "id10003#a#1.mov",
        "id10004.jpg",
    ):
        (tmp_path / "media" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "media" / name).write_bytes(b"x")
    (tmp_path / "media" / ".hidden.mp4").write_bytes(b"x")
    (tmp_path / "media" / "notes.txt").write_text("x")
    return tmp_path / "media"


def person(name: str) -> str:
    return name[name.index("id1") :][:7]


def test_same_identity_takes_each_video_once(media):
    rows = make_list(media, "same", 100, 0, frames=40, stride=2)
    assert len(rows) == 5 and all(row["source"] == row["driver"] for row in rows)
    assert len({row["driver"] for row in rows}) == 5
    assert rows[0] | {"frames": "40", "stride": "2", "source_frame": "0", "start": "0"} == rows[0]


def test_cross_identity_never_pairs_a_person_with_itself(media):
    rows = make_list(media, "cross", 60, 4)
    assert len(rows) == 60 and all(person(row["source"]) != person(row["driver"]) for row in rows)
    assert len({row["result"] for row in rows}) == 60
    assert {row["driver"] for row in rows[:5]} == {row["driver"] for row in rows}  # each once before one comes again
    assert any(row["source"].endswith(".jpg") for row in rows) and not any(
        row["driver"].endswith(".jpg") for row in rows
    )


def test_a_seed_draws_the_same_and_another_draws_other(media):
    assert make_list(media, "cross", 20, 7) == make_list(media, "cross", 20, 7) != make_list(media, "cross", 20, 8)


def test_who_is_who_may_be_said(media):
    with pytest.raises(InputError, match="one person only"):
        make_list(media, "cross", 3, 0, identity="id1")
    rows = make_list(media, "cross", 30, 0, identity=r"#(\w)#|^id10004")
    assert len(rows) == 30
    with pytest.raises(InputError, match="does not match"):
        make_list(media, "cross", 3, 0, identity="zebra")
    with pytest.raises(InputError, match="not a regular expression"):
        make_list(media, "cross", 3, 0, identity="(")


def test_a_list_is_read_as_it_was_written(media):
    rows = make_list(media, "cross", 6, 0, frames=10)
    path = media.parent / "list.csv"
    write_list(path, media, rows)
    with pytest.raises(OutputError, match="exists already"):
        write_list(path, media, rows)
    pairs = read_list(path)
    assert [pair.result for pair in pairs] == [row["result"] for row in rows]
    assert all(
        pair.source == media / row["source"] and pair.frames == 10 and not pair.same for pair, row in zip(pairs, rows)
    )
    assert "media/" in path.read_text() and str(media.parent) not in path.read_text()  # the two can move together
    assert pairs[0].span() == slice(0, 10, 1) and not pairs[0].whole


def write(media, *lines):
    path = media / "list.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


A, B = "id10001#a#1.mp4", "id10002#a#1.mp4"


def test_the_protocol_is_that_of_the_files_unless_it_is_said(media):
    path = write(media, "source,driver", f"{A},{A}", f"{B},{A}")
    assert [pair.same for pair in read_list(path)] == [True, False]
    assert [pair.same for pair in read_list(path, "same")] == [True, True]
    assert [pair.same for pair in read_list(path, "cross")] == [False, False]
    assert read_list(path)[1].result == "0001_id10002#a#1__id10001#a#1.mp4" and read_list(path)[1].whole


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["source,driver"], "has no rows"),
        (["source,frames", f"{A},3"], "no column driver"),
        (["source,driver,speed", f"{A},{B},1"], "column 'speed' is not known"),
        (["source,driver,driver", f"{A},{B},{B}"], "twice"),
        (["source,driver", f"{A},gone.mp4"], "line 2: driver gone.mp4: no such file"),
        (["source,driver", f"{A},{B}", f"nobody.jpg,{B}"], "line 3: source nobody.jpg: no such file"),
        (["source,driver", f",{B}"], "line 2: has no source"),
        (["source,driver", f"{A},{B},7"], "line 2: has another number of fields"),
        (["source,driver", f"{A}"], "line 2: has another number of fields"),
        (["source,driver,frames", f"{A},{B},nan"], "line 2: frames is 'nan'"),
        (["source,driver,frames", f"{A},{B},-4"], "line 2: frames is '-4'"),
        (["source,driver,stride", f"{A},{B},0"], "line 2: stride is '0'"),
        (["source,driver,start", f"{A},{B},{'9' * 400}"], "line 2: start is"),
        (["source,driver,result", f"{A},{B},../out.mp4"], "plain file name"),
        (["source,driver,result", f"{A},{B},a\\b.mp4"], "plain file name"),
        (["source,driver,result", f"{A},{B},x.mp4", f"{B},{A},X.mp4"], "is that of .*line 2"),
        (["source,driver", f'"{A},{B}'], "is not a CSV list"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(media, lines, words):
    with pytest.raises(InputError, match=words) as told:
        read_list(write(media, *lines))
    assert "\n" not in str(told.value)


def test_a_list_may_come_from_a_spreadsheet_and_other_bytes_are_refused(media):
    path = media / "list.csv"
    path.write_bytes(("\ufeff" + f"source, driver \r\n{A},{B}\r\n").encode())
    assert read_list(path)[0].driver == media / B
    path.write_bytes(b"source,driver\n\xff\xfe,\x00\n")
    with pytest.raises(InputError, match="list.csv"):
        read_list(path)
    with pytest.raises(InputError, match="no such file"):
        read_list(media / "none.csv")
    assert COLUMNS[:2] == ("source", "driver")


def test_folders_without_videos_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        make_list(tmp_path / "gone", "same", 3, 0)
    with pytest.raises(InputError, match="holds no videos"):
        make_list(tmp_path, "same", 3, 0)
