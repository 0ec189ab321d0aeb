"""Interlaced, telecined and progressive videos with right, wrong and missing flags."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.deinterlace_option import FIELD, OFF
from mimaface_cli.media.reader import probe, read_frames
from tests.media.ffmpeg import run_ffmpeg

WIDTH, HEIGHT, STEP = 400, 480, 4  # a bar moves by STEP pixels in 1/50 s
FILM = Fraction(24000, 1001)


def write_moving_bar(
    path: Path, filters: str, *encoder: str, rate: Fraction = Fraction(50), seconds: float = 1.2
) -> Path:
    """Write a bar that moves to the right over a soft texture."""
    source = f"color=0x606060:s={WIDTH}x{HEIGHT}:r={rate}:d={seconds}"
    bar = f"color=0xe0e0e0:s=24x{HEIGHT}:r={rate}:d={seconds}"
    step = STEP * 50 / rate
    graph = f"[0][1]overlay=x='8+{float(step)}*n':y=0:eval=frame,{filters}format=yuv420p"
    inputs = ["-f", "lavfi", "-i", source, "-f", "lavfi", "-i", bar]
    run_ffmpeg(*inputs, "-filter_complex", graph, *encoder, path)
    return path


def combing(image: np.ndarray) -> float:
    """Return how far neighboring lines differ where the bar's edges are."""
    gray = image[..., 1].astype(float)
    return float(np.abs(np.diff(gray, axis=0)).mean(0).max())


def bar_positions(path: Path, **options) -> tuple[list[float], list[float]]:
    """Return the horizontal center of the bar in each frame, and the frames' times."""
    centers, times = [], []
    for frame in read_frames(path, **options):
        columns = np.flatnonzero(frame.image[..., 1].mean(0) > 150)
        centers.append(float(columns.mean()))
        times.append(frame.pts)
    return centers, times


INTERLACE = {"tff": "interlace=scan=tff:lowpass=off,", "bff": "interlace=scan=bff:lowpass=off,"}
H264 = {
    "tff": ("-c:v", "libx264", "-crf", "12", "-x264-params", "tff=1"),
    "bff": ("-c:v", "libx264", "-crf", "12", "-x264-params", "bff=1"),
}
MPEG2 = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2")


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("kind", ["h264", "mpeg2", "unflagged"])
def test_interlaced_video_is_deinterlaced(tmp_path, order, kind):
    filters, encoder, name = INTERLACE[order], H264[order], "a.mp4"
    if kind == "mpeg2":
        encoder, name = MPEG2, "a.ts"
    if kind == "unflagged":
        filters, encoder = filters + "setfield=prog,", ("-c:v", "libx264", "-crf", "12")
    path = write_moving_bar(tmp_path / name, filters, *encoder)
    info = probe(path)
    assert info.frame_rate == 25 and info.scan == "interlaced"
    assert any("interlaced" in note and "25 frames per second" in note for note in info.notes)
    frames = [frame.image for frame in read_frames(path)]
    assert len(frames) == info.frame_count == 30
    assert max(combing(image) for image in frames[2:-2]) < 25
    combed = [frame.image for frame in read_frames(path, deinterlace=OFF)]
    assert min(combing(image) for image in combed[2:-2]) > 50


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_field_rate_shows_every_field_in_order(tmp_path, order):
    path = write_moving_bar(tmp_path / "a.mp4", INTERLACE[order], *H264[order])
    info = probe(path, deinterlace=FIELD)
    assert (info.frame_rate, info.frame_count) == (50, 60)
    centers, times = bar_positions(path, deinterlace=FIELD)
    assert len(centers) == 60 and times == pytest.approx([n / 50 for n in range(60)], abs=1e-4)
    assert np.diff(centers[2:-2]) == pytest.approx(STEP, abs=1.1)
    centers, times = bar_positions(path, deinterlace=FIELD, start=0.4)
    assert times[0] == pytest.approx(0.4, abs=1e-4) and len(centers) == 40


def test_progressive_video_with_an_interlaced_flag_is_unchanged(tmp_path):
    path = write_moving_bar(tmp_path / "a.mp4", "", *H264["tff"], rate=Fraction(25))
    info = probe(path, deinterlace=FIELD)
    assert (info.scan, info.frame_rate, info.notes) == ("progressive", 25, ())
    pairs = zip(read_frames(path), read_frames(path, deinterlace=OFF), strict=True)
    assert all(np.array_equal(first.image, second.image) for first, second in pairs)


def test_progressive_video_is_unchanged(tmp_path):
    path = write_moving_bar(tmp_path / "a.mp4", "", "-c:v", "libx264", rate=Fraction(25))
    assert probe(path).scan == "progressive" and probe(path).notes == ()


def test_still_interlaced_video_is_handled_by_its_flags(tmp_path):
    """Without motion, the fields tell nothing."""
    path = tmp_path / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=gray:s=240x480:r=25:d=1", "-c:v", "libx264", "-x264-params", "tff=1", path)
    assert probe(path).scan == "interlaced" and len(list(read_frames(path))) == 25


def test_frames_of_telecined_film_are_restored(tmp_path):
    path = write_moving_bar(tmp_path / "a.ts", "telecine=first_field=top,", *MPEG2, rate=FILM, seconds=1.7)
    info = probe(path)
    assert (info.scan, info.frame_rate) == ("telecined", FILM)
    centers, times = bar_positions(path)
    assert len(centers) == pytest.approx(41, abs=2)
    assert np.diff(times) == pytest.approx(float(1 / FILM), abs=2e-3)
    assert np.diff(centers[4:-4]) == pytest.approx(STEP * 50 / float(FILM), abs=2)
    assert max(combing(frame.image) for frame in read_frames(path)) < 40


def test_deinterlaced_colors_are_those_of_the_decoder(tmp_path):
    path = write_moving_bar(tmp_path / "a.mp4", INTERLACE["tff"], *H264["tff"])
    pairs = zip(read_frames(path), read_frames(path, deinterlace=OFF), strict=True)
    for first, second in pairs:
        assert np.abs(first.image[:, -4:].astype(int) - second.image[:, -4:]).max() <= 1


def test_unknown_mode_is_refused(tmp_path):
    path = write_moving_bar(tmp_path / "a.mp4", INTERLACE["tff"], *H264["tff"])
    with pytest.raises(InputError, match="deinterlace"):
        probe(path, deinterlace="fields")
