"""Lists of pairs: reading, errors with their line, reproducible sampling."""

import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.evaluation.list_sampling import make_list, write_list
from mimaface_cli.evaluation.pair_lists import COLUMNS, read_list

ANN, BOB = "id10001#a#1.mp4", "id10002#a#1.mp4"


@pytest.fixture
def media(tmp_path):
    """A folder with VoxCeleb's file names: five clips of three people, and a photo of a fourth."""
    folder = tmp_path / "media"
    folder.mkdir()
    clips = (ANN, "id10001#b#1.mp4", BOB, "id10002#c#2.mp4", "id10003#a#1.mov")
    for name in (*clips, "id10004.jpg", ".hidden.mp4", "notes.txt"):
        (folder / name).write_bytes(b"x")
    return folder


def person_of(name: str) -> str:
    return name[name.index("id1") :][:7]


def write_lines(media, *lines):
    path = media / "list.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_make_list_same_uses_each_video_once(media):
    rows = make_list(media, "same", 100, 0, frames=40, stride=2)
    assert len(rows) == 5 and all(row["source"] == row["driver"] for row in rows)
    assert len({row["driver"] for row in rows}) == 5
    assert rows[0] | {"frames": "40", "stride": "2", "source_frame": "0", "start": "0"} == rows[0]


def test_make_list_cross_pairs_different_people(media):
    rows = make_list(media, "cross", 60, 4)
    assert len(rows) == 60 and all(person_of(row["source"]) != person_of(row["driver"]) for row in rows)
    assert len({row["result"] for row in rows}) == 60
    assert {row["driver"] for row in rows[:5]} == {row["driver"] for row in rows}  # each once before one repeats
    assert any(row["source"].endswith(".jpg") for row in rows)
    assert not any(row["driver"].endswith(".jpg") for row in rows)


def test_make_list_depends_on_the_seed_alone(media):
    assert make_list(media, "cross", 20, 7) == make_list(media, "cross", 20, 7) != make_list(media, "cross", 20, 8)


def test_make_list_takes_people_from_a_regular_expression(media):
    assert len(make_list(media, "cross", 30, 0, identity=r"#(\w)#|^id10004")) == 30
    for identity, message in (("id1", "one person only"), ("zebra", "does not match"), ("(", "regular expression")):
        with pytest.raises(InputError, match=message):
            make_list(media, "cross", 3, 0, identity=identity)


def test_make_list_refuses_folders_without_videos(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        make_list(tmp_path / "missing", "same", 3, 0)
    with pytest.raises(InputError, match="contains no videos"):
        make_list(tmp_path, "same", 3, 0)


def test_read_list_returns_what_write_list_wrote(media):
    rows = make_list(media, "cross", 6, 0, frames=10)
    path = media.parent / "list.csv"
    write_list(path, media, rows)
    with pytest.raises(OutputError, match="exists"):
        write_list(path, media, rows)
    pairs = read_list(path)
    assert [pair.result for pair in pairs] == [row["result"] for row in rows]
    assert [pair.source for pair in pairs] == [media / row["source"] for row in rows]
    assert all(pair.frames == 10 and not pair.same for pair in pairs)
    assert pairs[0].span() == slice(0, 10, 1) and not pairs[0].is_whole


def test_write_list_uses_paths_relative_to_the_list(media):
    path = media.parent / "list.csv"
    write_list(path, media, make_list(media, "same", 2, 0))
    assert "media/" in path.read_text() and str(media.parent) not in path.read_text()


def test_read_list_takes_the_protocol_from_the_files_unless_it_is_set(media):
    path = write_lines(media, "source,driver", f"{ANN},{ANN}", f"{BOB},{ANN}")
    assert [pair.same for pair in read_list(path)] == [True, False]
    assert [pair.same for pair in read_list(path, "same")] == [True, True]
    assert [pair.same for pair in read_list(path, "cross")] == [False, False]
    second = read_list(path)[1]
    assert second.result == "0001_id10002#a#1__id10001#a#1.mp4" and second.is_whole


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["source,driver"], "has no rows"),
        (["source,frames", f"{ANN},3"], "no column driver"),
        (["source,driver,speed", f"{ANN},{BOB},1"], "unknown column 'speed'"),
        (["source,driver,driver", f"{ANN},{BOB},{BOB}"], "twice"),
        (["source,driver", f"{ANN},missing.mp4"], r"line 2: driver missing\.mp4: no such file"),
        (["source,driver", f"{ANN},{BOB}", f"missing.jpg,{BOB}"], r"line 3: source missing\.jpg: no such file"),
        (["source,driver", f",{BOB}"], "line 2: has no source"),
        (["source,driver", f"{ANN},{BOB},7"], "line 2: has a different number of fields"),
        (["source,driver", f"{ANN}"], "line 2: has a different number of fields"),
        (["source,driver,frames", f"{ANN},{BOB},nan"], "line 2: frames is 'nan'"),
        (["source,driver,frames", f"{ANN},{BOB},-4"], "line 2: frames is '-4'"),
        (["source,driver,stride", f"{ANN},{BOB},0"], "line 2: stride is '0'"),
        (["source,driver,start", f"{ANN},{BOB},{'9' * 400}"], "line 2: start is"),
        (["source,driver,result", f"{ANN},{BOB},../out.mp4"], "plain file name"),
        (["source,driver,result", f"{ANN},{BOB},a\\b.mp4"], "plain file name"),
        (["source,driver,result", f"{ANN},{BOB},x.mp4", f"{BOB},{ANN},X.mp4"], "is also that of .*line 2"),
        (["source,driver", f'"{ANN},{BOB}'], "is not a CSV list"),
    ],
)
def test_read_list_reports_errors_with_their_line(media, lines, message):
    with pytest.raises(InputError, match=message) as error:
        read_list(write_lines(media, *lines))
    assert "\n" not in str(error.value)


def test_read_list_accepts_spreadsheet_exports(media):
    path = media / "list.csv"
    path.write_bytes(("\ufeff" + f"source, driver \r\n{ANN},{BOB}\r\n").encode())
    assert read_list(path)[0].driver == media / BOB
    assert COLUMNS[:2] == ("source", "driver")


def test_read_list_refuses_binary_and_missing_files(media):
    path = media / "list.csv"
    path.write_bytes(b"source,driver\n\xff\xfe,\x00\n")
    with pytest.raises(InputError, match=r"list\.csv"):
        read_list(path)
    with pytest.raises(InputError, match="no such file"):
        read_list(media / "none.csv")
