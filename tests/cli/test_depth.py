"""Sources with more than 8 bits per channel: what is not rendered comes back as it is, and every loss is a note."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.media.reader import probe, read_frames
from tests.media.deep_media import (
    HLG,
    HLG_2020,
    PQ,
    PQ_2020,
    SDR,
    pq,
    read_color,
    read_planes,
    rgb_to_planes,
    write_planes,
)

SIDE = 256
ENCODERS = {
    ".mkv": ("ffv1", "yuv422p10le", {}),
    ".mov": ("prores_ks", "yuv422p10le", {"profile": "hq"}),
    ".mp4": ("libx265", "yuv420p10le", {"crf": "6", "x265-params": "log-level=none"}),
}
FACE = np.s_[:230, 30:226]  # rows and columns of the head, and of the body that moves with it


def face_values(sample, color) -> np.ndarray:
    """Return the sample's photo (SIDE, SIDE, 3), 0..1, with grain below a step of 8 bits, in the space of a color."""
    with Pillow.open(sample.portrait) as photo:
        image = np.asarray(photo.convert("RGB").resize((SIDE, SIDE), Pillow.Resampling.LANCZOS)) / 255
    image = np.clip(image + np.random.default_rng(1).normal(0, 0.001, image.shape), 0, 1)
    if color.transfer == PQ:
        return pq(203 * image**2.4)
    return image * 0.75 if color.transfer == HLG else image


@pytest.fixture(scope="module")
def make_source(sample, tmp_path_factory):
    """A function that returns a video of the sample's photo, three frames that shift."""
    folder = tmp_path_factory.mktemp("deep")

    def make(name, color=SDR):
        path = folder / f"{color.transfer}{name}"
        encoder, pixel_format, options = ENCODERS[path.suffix]
        if not path.exists():
            values = face_values(sample, color)
            subsampled = "yuv422p10le" if "422" in pixel_format else "yuv444p10le"
            frames = [rgb_to_planes(np.roll(values, shift, 1), color.matrix, subsampled) for shift in range(3)]
            if "420" in pixel_format:
                frames = [[planes[0], planes[1][::2, ::2], planes[2][::2, ::2]] for planes in frames]
            write_planes(path, frames, encoder=encoder, pixel_format=pixel_format, color=color, options=options)
        return path

    return make


@pytest.fixture
def animate(run_command, sample, tmp_path):
    """A function that replaces the mouth's motion of a source, and returns the result's JSON."""

    def run(source, output, *words, provenance="--no-provenance"):
        done = run_command(
            "animate", source, sample.track, "-o", output, "--region", "lips", "--json", provenance, *words
        )
        assert done.code == 0, done.err
        return json.loads(done.out)

    return run


def outside(plane: np.ndarray) -> np.ndarray:
    """Return the samples of a plane that are not around the head."""
    kept = np.ones((SIDE, SIDE), bool)
    kept[FACE] = False
    return plane[kept[:: SIDE // plane.shape[0], :: SIDE // plane.shape[1]]]


def depth_notes(result) -> list[str]:
    return [note for note in result["notes"] if "bits per channel" in note or "HDR" in note]


@pytest.mark.parametrize("color", [SDR, PQ_2020, HLG_2020])
def test_pixels_that_are_not_rendered_keep_every_value(make_source, animate, tmp_path, color):
    source = make_source(".mkv", color)
    result = animate(source, "out.mkv", "--codec", "ffv1")
    assert depth_notes(result) == []
    assert read_color(tmp_path / "out.mkv") == color
    is_same = []
    for before, after in zip(read_planes(source), read_planes(tmp_path / "out.mkv"), strict=True):
        for plane, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(outside(plane), outside(other))
        is_same.append(before[0] == after[0])
    assert 0.9 < np.mean(is_same) < 1  # the mouth moves


@pytest.mark.parametrize("color", [SDR, PQ_2020, HLG_2020])
def test_pixels_of_prores_that_are_not_rendered_are_within_one_step_of_encoding_them_again(
    make_source, animate, tmp_path, color
):
    source = make_source(".mov", color)
    result = animate(source, "out.mov", "--codec", "prores")
    assert depth_notes(result) == []
    assert read_color(tmp_path / "out.mov") == color
    again = write_planes(
        tmp_path / "again.mov",
        read_planes(source),
        encoder="prores_ks",
        pixel_format="yuv422p10le",
        color=color,
        options={"profile": "hq"},
    )
    for before, copied, after in zip(*map(read_planes, (source, again, tmp_path / "out.mov")), strict=True):
        for plane, copy, other in zip(before, copied, after, strict=True):
            # Encoding the same planes again costs this much; the rendered pixels change the encoder's choices a little.
            own_error = abs(outside(plane) - outside(copy))
            assert np.percentile(abs(outside(copy) - outside(other)), 95) <= 1
            assert abs(outside(plane) - outside(other)).mean() <= own_error.mean() + 0.1


@pytest.mark.parametrize("color", [PQ_2020, HLG_2020])
@pytest.mark.parametrize(("codec", "output"), [("hevc", "out.mp4"), ("dnxhr", "out.mov")])
def test_hdr_stays_hdr(make_source, animate, tmp_path, color, codec, output):
    result = animate(make_source(".mp4", color), output, "--codec", codec)
    assert depth_notes(result) == []
    assert read_color(tmp_path / output) == color
    info = probe(tmp_path / output)
    assert (info.depth, info.is_hdr) == (10, True)


@pytest.mark.parametrize(
    ("color", "output", "words", "note"),
    [
        (
            SDR,
            "out.mp4",
            (),
            "the result has 8: .png, .tif and .exr images keep more, and in .mp4, --codec hevc, av1",
        ),
        (
            PQ_2020,
            "out.mp4",
            (),
            "the result is SDR with 8 bits per channel: .png and .exr images keep more, and in .mp4, --codec hevc",
        ),
        (HLG_2020, "f/%05d.tif", (), "is HDR; the result is SDR with 8 bits per channel: TIFF cannot state"),
        (SDR, "f/%05d.jpg", (), "has 10 bits per channel; the result has 8: .png, .tif and .exr images keep more"),
        (SDR, "out.mov", ("--codec", "prores", "--depth", "8"), "the result has 8: --depth is 8"),
        (SDR, "out.mkv", ("--codec", "ffv1", "--output-mode", "crop"), "the result has 8: with --output-mode"),
    ],
)
def test_every_loss_of_depth_is_a_note(make_source, animate, tmp_path, color, output, words, note):
    notes = depth_notes(animate(make_source(".mkv", color), output, *words))
    assert len(notes) == 1 and note in notes[0]
    first = tmp_path / (output % 0 if "%" in output else output)
    assert not probe(first).is_hdr


def test_12_bits_that_become_10_are_a_note(animate, sample, tmp_path):
    planes = rgb_to_planes(face_values(sample, SDR), 1, "yuv444p12le")
    source = write_planes(
        tmp_path / "in.mkv", [[4 * plane for plane in planes]] * 2, encoder="ffv1", pixel_format="yuv444p12le"
    )
    assert depth_notes(animate(source, "out.mov", "--codec", "prores")) == [
        "in.mkv: has 12 bits per channel; the result has 10"
    ]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_frames_in_and_out(sample, animate, tmp_path, suffix):
    pixels = np.rint(face_values(sample, SDR) * 65535).astype(np.uint16)
    (tmp_path / "in").mkdir()
    for number in range(2):
        cv2.imwrite(str(tmp_path / "in" / f"{number}{suffix}"), pixels[..., ::-1])
    result = animate(tmp_path / "in", f"out/%05d{suffix}")
    assert depth_notes(result) == []
    for number in range(2):
        written = cv2.imread(str(tmp_path / "out" / f"{number:05d}{suffix}"), cv2.IMREAD_UNCHANGED)[..., ::-1]
        np.testing.assert_array_equal(outside(written), outside(pixels))
        assert 0.8 < (written == pixels).all(axis=2).mean() < 1


def test_16_bit_photo_stays_16_bit_and_is_scaled_with_all_bits(sample, run_command, tmp_path):
    pixels = np.rint(face_values(sample, SDR) * 65535).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "in.png"), pixels[..., ::-1])
    for words, output in (((), "whole.png"), (("--max-size", 128), "small.tif")):
        edit = run_command(
            "edit", "in.png", "--set", "mouthSmile=0.6", "-o", output, "--no-provenance", "--json", *words
        )
        assert edit.code == 0, edit.err
        assert depth_notes(json.loads(edit.out)) == []
    whole = cv2.imread(str(tmp_path / "whole.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    np.testing.assert_array_equal(outside(whole), outside(pixels))
    assert (whole != pixels).any()
    small = cv2.imread(str(tmp_path / "small.tif"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert small.dtype == np.uint16
    expected = cv2.resize(pixels, (128, 128), interpolation=cv2.INTER_AREA)
    assert abs(small.astype(int) - expected)[:20, :20].mean() < 1500
    assert (small % 257 != 0).mean() > 0.9


def test_hdr_sequences_keep_their_light(make_source, animate, tmp_path):
    source = make_source(".mkv", PQ_2020)
    assert depth_notes(animate(source, "p/%05d.png")) == depth_notes(animate(source, "e/%05d.exr")) == []
    original = next(read_frames(source, is_deep=True)).deep.pixels
    written = next(read_frames(tmp_path / "p", is_deep=True)).deep
    assert written.space.transfer == PQ
    np.testing.assert_array_equal(outside(written.pixels), outside(original))


def test_watermark_of_an_hdr_result_is_detected(make_source, animate, run_command, tmp_path):
    result = animate(make_source(".mov", PQ_2020), "out.mov", "--codec", "prores", provenance="--provenance")
    identifier = result["provenance"]["identifier"]
    assert result["provenance"]["watermark"]
    report = run_command("inspect", "out.mov")
    assert f"watermark:   {identifier}" in report.out


def test_edit_of_an_hdr_video_stays_hdr(make_source, run_command, tmp_path):
    source = make_source(".mkv", HLG_2020)
    done = run_command(
        "edit", source, "--add", "mouthSmile=0.4", "-o", "out.mkv", "--codec", "ffv1", "--no-provenance", "--json"
    )
    assert done.code == 0, done.err
    assert depth_notes(json.loads(done.out)) == [] and read_color(tmp_path / "out.mkv") == HLG_2020
    for before, after in zip(read_planes(source), read_planes(tmp_path / "out.mkv"), strict=True):
        np.testing.assert_array_equal(outside(before[0]), outside(after[0]))


def test_depth_that_cannot_be_stored_is_one_line(make_source, run_command, sample):
    done = run_command(
        "animate", make_source(".mkv"), sample.track, "-o", "out.mov", "--codec", "prores", "--depth", "16"
    )
    assert done.code != 0
    assert "prores does not store 16 bits per channel" in done.err and done.err.count("\n") <= 2
