"""Stamps on real files: every mark is written and read back, and failures leave no file behind."""

import json
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ExifTags, Image

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.writer import open_writer
from mimaface_cli.provenance.inspect import inspect
from mimaface_cli.provenance.metadata import make_tags, make_xmp
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.record import COMPOSITE, SOURCE_TYPES, Generation, build_record, record_path, write_record
from mimaface_cli.provenance.stamp import RecordStamp, Stamp, check_stamp, prepare_stamp
from tests.benchmarks.marked_clips import make_clip

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")


def describe_generation(inputs, options=None) -> Generation:
    return Generation("edit", "mesh", inputs, [], options or {}, False)


def write_frames(output: Path, size: tuple[int, int], stamp: Stamp, count: int) -> None:
    attachments = Attachments(stamp.tags, stamp.xmp, stamp.seal)
    options = EncodeOptions(crf=16)
    with stamp, open_writer(output, *size, Fraction(25), options=options, attachments=attachments) as writer:
        for k, frame in enumerate(stamp.mark_frames(make_clip(1, count, *size))):
            writer.write(frame, k / 25)


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.png", "a.jpg", "a.webp", "a.tif", "a.exr", "a/", "b/%d.exr"]
)
def test_every_mark_of_a_result_is_read_back(inputs, tmp_path, name):
    if name.endswith(".exr"):
        pytest.importorskip("OpenEXR", reason="EXR needs the extra exr")
    output = tmp_path / name / "%05d.png" if name.endswith("/") else tmp_path / name
    result = output.parent if "%" in output.name else output
    size, notes = (192, 160), []
    stamp = prepare_stamp(output, size, ProvenanceOptions(), describe_generation(inputs), notes)
    write_frames(output, size, stamp, 6 if result.suffix in ("", *VIDEO_SUFFIXES) else 1)

    inspection = inspect(result)
    assert inspection.is_generated and inspection.is_consistent and inspection.matches_record and notes == []
    assert set(inspection.identifiers) == {"metadata", "record", "watermark"}
    assert set(inspection.identifiers.values()) == {stamp.record.name}
    assert stamp.summary["identifier"] == stamp.record.name
    assert inspection.metadata["digitalSourceType"] == SOURCE_TYPES + COMPOSITE
    assert inspection.metadata["engine"] == "mesh"
    assert inspection.metadata["xmp"] == (output.suffix not in (".mkv", ".webm", ".exr"))
    assert inspection.record["content"]["inputs"][0]["name"] == "photo.jpg"
    assert record_path(output) == tmp_path / f"{result.name}.provenance.json" == record_path(result)


def test_inspection_notices_the_record_of_another_file(inputs, tmp_path):
    output = tmp_path / "a.png"
    write_frames(
        output, (192, 160), prepare_stamp(output, (192, 160), ProvenanceOptions(), describe_generation(inputs), []), 1
    )
    path = record_path(output)
    values = json.loads(path.read_text())
    values["output"]["sha256"] = "0" * 64
    path.write_text(json.dumps(values))
    assert inspect(output).matches_record is False
    path.write_text("{")
    with pytest.raises(InputError, match="is not a record of mimaface"):
        inspect(output)


def test_image_metadata_is_readable_by_other_programs(inputs, tmp_path):
    record = build_record(describe_generation(inputs))
    attachments = Attachments(make_tags(record), make_xmp(record))
    with open_writer(tmp_path / "a.jpg", 64, 64, Fraction(25), attachments=attachments) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8), 0)
    with Image.open(tmp_path / "a.jpg") as image:
        description = ElementTree.fromstring(image.info["xmp"])[0][0]
        source_type = description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
        assert source_type == SOURCE_TYPES + COMPOSITE
        assert record.name in description.attrib.values()
        assert "Generated" in image.getexif()[ExifTags.Base.ImageDescription]


def test_a_stamp_without_provenance_writes_only_a_comment(inputs, tmp_path):
    output, size, notes = tmp_path / "a.png", (192, 160), []
    stamp = prepare_stamp(output, size, ProvenanceOptions(False), describe_generation(inputs), notes)
    write_frames(output, size, stamp, 1)
    assert len(notes) == 1 and "provenance is off" in notes[0] and stamp.summary == {"on": False}
    assert (np.asarray(Image.open(output)) == next(make_clip(1, 1, *size))).all()
    inspection = inspect(output)
    assert inspection.is_generated and "mimaface" in inspection.metadata["comment"]
    assert inspection.mark is None and inspection.record is None


def test_frames_that_are_too_small_get_a_note_instead_of_a_watermark(inputs, tmp_path):
    notes = []
    stamp = prepare_stamp(tmp_path / "a.png", (127, 300), ProvenanceOptions(), describe_generation(inputs), notes)
    assert isinstance(stamp, RecordStamp) and stamp.marker is None
    assert len(notes) == 1 and "127x300 is too small" in notes[0]


def test_check_stamp_refuses_to_replace_a_record_without_overwrite(tmp_path):
    (tmp_path / "a.mp4.provenance.json").write_text("existing")
    with pytest.raises(OutputError, match="exists"):
        check_stamp(tmp_path / "a.mp4", ProvenanceOptions(), False)
    check_stamp(tmp_path / "a.mp4", ProvenanceOptions(), True)
    check_stamp(tmp_path / "a.mp4", ProvenanceOptions(False), False)


def test_provenance_options_require_certificate_and_key_together():
    with pytest.raises(InputError, match=r"^private_key: is missing\. Give both"):
        ProvenanceOptions(certificate=Path("a.pem"))


@pytest.mark.parametrize("name", ["a.png", "frames/%d.png"])
def test_check_stamp_accepts_the_record_of_a_missing_result(inputs, tmp_path, name):
    output = tmp_path / name
    write_record(record_path(output), inputs["source"], build_record(describe_generation(inputs)), {})
    check_stamp(output, ProvenanceOptions(), False)
    if "%" in name:
        output.parent.mkdir()
        check_stamp(output, ProvenanceOptions(), False)  # an empty folder is not a result
        (output.parent / "0.png").write_bytes(b"a result")
    else:
        output.write_bytes(b"a result")
    with pytest.raises(OutputError, match="exists"):
        check_stamp(output, ProvenanceOptions(), False)


def write_and_fail(output: Path, inputs: dict[str, Path], error: Exception | None, options: dict[str, int]) -> None:
    """Write one frame under a stamp; with an error, fail after the record is written."""
    stamp = prepare_stamp(output, (64, 64), ProvenanceOptions(), describe_generation(inputs, options), [])
    with stamp, open_writer(output, 64, 64, Fraction(25), attachments=Attachments(seal=stamp.seal)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8), 0)
        if error is not None:
            stamp.seal(inputs["source"])
            raise error


def test_a_failure_removes_the_record_and_keeps_that_of_an_older_result(inputs, tmp_path):
    output = tmp_path / "a.png"
    with pytest.raises(OSError, match="disk"):
        write_and_fail(output, inputs, OSError("disk"), {})
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    write_and_fail(output, inputs, None, {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(before) == {"a.png", "a.png.provenance.json"}
    with pytest.raises(OSError, match="disk"):
        write_and_fail(output, inputs, OSError("disk"), {"other": 1})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
