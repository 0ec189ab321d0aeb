"""The record, the metadata, and what reads them back."""

import json
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ExifTags, Image

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.writer import open_writer
from mimaface_cli.media.xmp import append_xmp_box, read_xmp_box
from mimaface_cli.provenance import metadata, record
from mimaface_cli.provenance.inspect import inspect
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.stamp import check, stamp
from tests.benchmarks.provenance import made_clip

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@pytest.fixture
def given(tmp_path) -> dict[str, Path]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.jpg").write_bytes(b"a photo")
    return {"source": tmp_path / "in" / "photo.jpg"}


def built(given, options=AnimateOptions(), whole=False) -> record.Record:
    return record.build("animate", "mesh", given, ["face478"], options, whole=whole)


def test_a_record_is_named_by_its_content_alone(given):
    one = built(given)
    assert one == built(given) and one.identifier == built(given).identifier and 0 <= one.identifier < 1 << 48
    assert one.name == f"{one.identifier:012x}" and one.source_type == COMPOSITE
    assert built(given, whole=True).source_type.endswith("/trainedAlgorithmicMedia")
    assert built(given, AnimateOptions(smooth=2.0)).identifier != one.identifier
    options = AnimateOptions(provenance=ProvenanceOptions(True, Path("secret.pem"), Path("key.pem")))
    assert built(given, options).identifier == one.identifier and "pem" not in json.dumps(built(given, options).content)
    given["source"].write_bytes(b"another photo")
    assert built(given).identifier != one.identifier
    assert str(given["source"].parent) not in json.dumps(one.content)  # where it lay is nobody's business
    assert [entry["name"] for entry in one.content["weights"]] == ["face478.npz"]
    assert len(one.content["weights"][0]["sha256"]) == 64


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.png", "a.jpg", "a.webp", "a.tif", "a.exr", "a/", "b/%d.exr"]
)
def test_written_and_read_back_everywhere(given, tmp_path, name):
    """The writer, the stamp and `inspect` together: the same identifier by four ways."""
    if name.endswith(".exr"):
        pytest.importorskip("OpenEXR", reason="EXR needs the extra exr")
    path, size, notes = tmp_path / name, (192, 160), []
    output = path / "%05d.png" if name.endswith("/") else path
    path = path.parent if "%" in name else path
    count = 6 if path.suffix == "" or path.suffix in (".mp4", ".mov", ".mkv", ".webm") else 1
    made = stamp(
        output, size, ProvenanceOptions(), notes, command="animate", engine="mesh", inputs=given, weights=[], asked={},
        whole=False,
    )  # fmt: skip
    attachments = Attachments(made.tags, made.xmp, made.seal)
    options = EncodeOptions(crf=16)
    with made, open_writer(output, *size, Fraction(25), options=options, attachments=attachments) as writer:
        for k, frame in enumerate(made.frames(made_clip(1, count, *size))):
            writer.write(frame, k / 25)
    found = inspect(path)
    assert found.recognized and found.agree and found.unchanged and notes == []
    assert set(found.identifiers) == {"metadata", "record", "watermark"}
    assert set(found.identifiers.values()) == {made.record.name} and made.told["identifier"] == made.record.name
    assert found.metadata["digitalSourceType"] == COMPOSITE and found.metadata["engine"] == "mesh"
    assert found.metadata["xmp"] == (output.suffix not in (".mkv", ".webm", ".exr"))
    assert found.record["content"]["inputs"][0]["name"] == "photo.jpg"
    beside = record.sidecar(path)
    assert beside.name == f"{path.name}.provenance.json" and beside.parent == tmp_path

    # A record beside another file proves nothing.
    text = json.loads(beside.read_text())
    text["output"]["sha256"] = "0" * 64
    beside.write_text(json.dumps(text))
    assert inspect(path).unchanged is False
    beside.write_text("{")
    with pytest.raises(InputError, match="no record of mimaface"):
        inspect(path)


def test_other_programs_read_what_pictures_say(given, tmp_path):
    told = built(given)
    with open_writer(
        tmp_path / "a.jpg", 64, 64, Fraction(25), attachments=Attachments(metadata.tags(told), metadata.xmp(told))
    ) as w:
        w.write(np.zeros((64, 64, 3), np.uint8), 0)
    with Image.open(tmp_path / "a.jpg") as image:
        described = ElementTree.fromstring(image.info["xmp"])[0][0]
        assert described.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType") == COMPOSITE
        assert told.name in described.attrib.values()
        assert "Generated" in image.getexif()[ExifTags.Base.ImageDescription]


def test_off_leaves_a_comment_alone(given, tmp_path):
    notes = []
    made = stamp(
        tmp_path / "a.png", (192, 160), ProvenanceOptions(False), notes, command="edit", engine="mesh", inputs=given,
        weights=[], asked={}, whole=False,
    )  # fmt: skip
    frames = list(made_clip(1, 1, 192, 160))
    attachments = Attachments(made.tags, made.xmp, made.seal)
    with open_writer(tmp_path / "a.png", 192, 160, Fraction(25), attachments=attachments) as w:
        for frame in made.frames(iter(frames)):
            w.write(frame, 0)
    assert len(notes) == 1 and "--no-provenance" in notes[0] and made.told == {"on": False}
    assert (np.asarray(Image.open(tmp_path / "a.png")) == frames[0]).all()
    found = inspect(tmp_path / "a.png")
    assert found.recognized and "mimaface" in found.metadata["comment"] and found.mark is None and found.record is None


def test_what_is_too_small_for_a_mark_is_said(given, tmp_path):
    notes = []
    made = stamp(
        tmp_path / "a.png", (127, 300), ProvenanceOptions(), notes, command="edit", engine="mesh", inputs=given,
        weights=[], asked={}, whole=False,
    )  # fmt: skip
    assert made.marker is None and len(notes) == 1 and "127x300 is too small" in notes[0]


def test_an_older_record_is_not_overwritten_unasked(tmp_path):
    (tmp_path / "a.mp4.provenance.json").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        check(tmp_path / "a.mp4", ProvenanceOptions(), False)
    check(tmp_path / "a.mp4", ProvenanceOptions(), True)
    check(tmp_path / "a.mp4", ProvenanceOptions(False), False)
    with pytest.raises(InputError, match="^private_key: is missing. Give both"):
        ProvenanceOptions(certificate=Path("a.pem"))


def test_boxes_of_hostile_files(tmp_path):
    path = tmp_path / "a.mp4"
    head = b"\0\0\0\x10ftypisom\0\0\0\0"
    path.write_bytes(head)
    append_xmp_box(path, b"<x/>")
    assert read_xmp_box(path) == b"<x/>"
    uuid = path.read_bytes()[16 + 8 : 16 + 24]
    for tail in (
        b"\0\0\0\x02free",  # shorter than its own head
        b"\0\0\0\x01uuid",  # a long length that is not there
        b"\0\0\0\x01uuid" + b"\xff" * 8 + uuid,
        b"\xff\xff\xff\xffuuid" + uuid + b"ab",  # longer than the file
        b"\0\0\0\x09uuid" + uuid,
        b"\0" * 5000,
    ):
        path.write_bytes(head + tail)
        assert len(read_xmp_box(path)) <= 2
    path.write_bytes(b"")
    assert read_xmp_box(path) == b""


def _sealed(output: Path, given: dict[str, Path], fault: Exception | None, asked: dict) -> None:
    """Write one picture under a stamp; with a fault, fail after the record has got its place."""
    made = stamp(
        output, (64, 64), ProvenanceOptions(), [], command="edit", engine="mesh", inputs=given, weights=[], asked=asked,
        whole=False,
    )  # fmt: skip
    with made, open_writer(output, 64, 64, Fraction(25), attachments=Attachments(seal=made.seal)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8), 0)
        if fault is not None:
            made.seal(given["source"])
            raise fault


def test_what_fails_leaves_no_record_and_an_older_result_its_own(given, tmp_path):
    output = tmp_path / "a.png"
    with pytest.raises(OSError, match="the end"):
        _sealed(output, given, OSError("the end"), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    _sealed(output, given, None, {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(before) == {"a.png", "a.png.provenance.json"}
    with pytest.raises(OSError, match="the end"):
        _sealed(output, given, OSError("the end"), {"other": 1})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_record_without_its_result_makes_way(given, tmp_path):
    for output in (tmp_path / "a.png", tmp_path / "frames" / "%d.png"):
        record.write(record.sidecar(output), given["source"], built(given), {})
        check(output, ProvenanceOptions(), False)
        made = output.parent if "%" in output.name else output
        if made == output:
            made.write_bytes(b"a result")
        else:
            made.mkdir()
            check(output, ProvenanceOptions(), False)  # an empty folder is none
            (made / "0.png").write_bytes(b"a result")
        with pytest.raises(OutputError, match="exists already"):
            check(output, ProvenanceOptions(), False)


@pytest.mark.parametrize(
    ("output", "beside"),
    [("a/b.mp4", "a/b.mp4"), ("a/100%.mp4", "a/100%.mp4"), ("a/%05d.png", "a"), ("a/100%.mov", "a/100%.mov")],
)
def test_a_record_lies_beside_its_result(output, beside):
    assert record.sidecar(Path(output)) == Path(f"{beside}.provenance.json")
