"""Job files: reading, order and errors."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimaface_cli.batch.job_file import read_jobs
from mimaface_cli.errors import InputError

OPTIONS = {"region": False, "crf": False, "audio": False, "pose-from": False, "matte": False, "overwrite": True}


def read(folder: Path, text: str, check=lambda words: None):
    """Write a job file and read its jobs."""
    path = folder / "jobs.csv"
    path.write_bytes(text.encode())
    return read_jobs(path, OPTIONS, check)


def test_csv_and_json_lines_give_the_same_jobs(tmp_path):
    table = (
        "source,Driver,--output,region,overwrite,pose_from\n"
        "a b.jpg,d.mp4,o.mp4,lips,yes,\n"
        "\n"
        'c.jpg,"d,1.mp4",p.mp4,,no,x.npz\n'
    )
    rows = [
        {"source": "a b.jpg", "driver": "d.mp4", "output": "o.mp4", "region": "lips", "overwrite": True},
        None,
        {"source": "c.jpg", "driver": "d,1.mp4", "output": "p.mp4", "region": None, "pose-from": "x.npz"},
    ]
    lines = "\n".join("" if row is None else json.dumps(row) for row in rows)
    from_table, from_lines = read(tmp_path, "\ufeff" + table), read(tmp_path, lines)
    assert [job.words for job in from_table] == [job.words for job in from_lines]
    assert from_table[0].words == ["--output=o.mp4", "--region=lips", "--overwrite", "--", "a b.jpg", "d.mp4"]
    assert [job.row for job in from_table] == [2, 4] and [job.row for job in from_lines] == [1, 3]
    assert from_table[0].id == from_lines[0].id != from_table[1].id
    assert from_table[1].inputs == tuple(tmp_path / name for name in ("c.jpg", "d,1.mp4", "x.npz"))
    assert read(tmp_path, table.replace(",", ";").replace('"d;1.mp4"', "d,1.mp4"))[1].driver == "d,1.mp4"


def test_percent_sign_means_numbered_images_only_for_image_suffixes(tmp_path):
    (tmp_path / "100%.jpg").write_bytes(b"")
    jobs = read(tmp_path, "source,driver,output\n100%.jpg,d.mp4,50%.mp4\n100%.jpg,frames/%05d.png,51%.mp4\n")
    assert [job.outputs for job in jobs] == [(tmp_path / "50%.mp4",), (tmp_path / "51%.mp4",)]
    assert [job.inputs for job in jobs] == [(tmp_path / "100%.jpg", tmp_path / name) for name in ("d.mp4", "frames")]


def test_read_jobs_sorts_jobs_after_those_that_they_need(tmp_path):
    jobs = read(
        tmp_path, "source,driver,output\ns.jpg,frames,c.mp4\na.mp4,d.mp4,frames/%05d.png\ns.jpg,d.mp4,./x/../a.mp4\n"
    )
    assert [job.row for job in jobs] == [4, 3, 2]
    assert jobs[0].after == () and jobs[1].after == (jobs[0].id,) and jobs[2].after == (jobs[1].id,)


BAD = {
    "unknown column": (
        "source,driver,output,regoin\na,b,c,x\n",
        "row 1: unknown column 'regoin'. Did you mean region?",
    ),
    "unknown name": ('{"sorce": "a"}', "row 1: unknown column 'sorce'. Did you mean source?"),
    "no similar name": ("source,driver,output,qqqq\n", "unknown column 'qqqq'. See mimaface animate --help-all"),
    "repeated column": ("source,driver,output,crf,--crf\n", "row 1: the column crf appears twice"),
    "repeated name": ('{"source": "a", "source": "b"}', "row 1: is not a JSON object (a name appears twice)"),
    "no driver": ("source,driver,output\na,,c\n", "row 2: has no driver"),
    "too many cells": ("source,driver,output\na,b,c,d\n", "row 2: has 4 cells for 3 columns"),
    "broken quotes": ('source,driver,output\na,b,c\n"a"x,b,c\n', "row 3: cannot be read"),
    "broken JSON": ('{"source": "a", "driver": "b", "output": "c"}\n{"source"', "row 2: is not a JSON object"),
    "list value": ('{"source": ["a"]}', "row 1: source must be text"),
    "deep nesting": ('{"source": ' + "[" * 100_000, "row 1: is not a JSON object"),
    "switch with another value": ("source,driver,output,overwrite\na,b,c,perhaps\n", "row 2: overwrite is a switch"),
    "zero byte": ('{"source": "a\\u0000b", "driver": "b", "output": "c"}', "row 1: source contains"),
    "same output": ("source,driver,output\na,b,c.mp4\nd,e,./c.mp4\n", "row 3: writes "),
    "matte and output": ("source,driver,output,matte\na,b,c.mp4,d.mp4\na,b,d.mp4,\n", "row 3: writes "),
    "cycle": ("source,driver,output\na,y.mp4,x.mp4\na,z.mp4,y.mp4\na,x.mp4,z.mp4\n", "need each other's outputs"),
    "job that needs itself": ("source,driver,output\na.mp4,b,a.mp4\n", "rows 2 -> 2 need"),
    "no jobs": ("source,driver,output\n", "contains no jobs"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_job_file_error_names_row(tmp_path, name):
    text, message = BAD[name]
    with pytest.raises(InputError) as raised:
        read(tmp_path, text)
    assert message in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_parser_error_names_row(tmp_path):
    text = "source,driver,output,crf\na,b,c,1\na,b,d,x\n"
    with pytest.raises(InputError, match="row 3: no number"):
        read(tmp_path, text, check=lambda words: "no number" if "--crf=x" in words else None)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode(errors="replace"))))
def test_any_bytes_give_jobs_or_short_error(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    for start in (b"", b"source,driver,output\n", b'{"source": "a", "driver": "b", "output": '):
        path = folder / "fuzz.csv"
        path.write_bytes(start + content or b"x")
        try:
            assert read_jobs(path, OPTIONS, lambda words: None)
        except InputError as error:
            assert len(str(error)) < 600
