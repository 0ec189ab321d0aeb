"""Animation from Python: cleanup after failures, progress reports, and inputs in memory."""

import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.apps.animate import animate, render_frames
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.source_loading import load_portrait
from mimaface_cli.errors import InputError
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import FRAMES, NTSC, read_video


@pytest.mark.parametrize("stage", ["extracting the driver's motion", "animating"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_interrupted_run_leaves_no_file_and_no_thread(sample, tmp_path, stage, stop):
    before = set(threading.enumerate())

    def report(stage_now: str, done: int, total: int | None) -> None:
        if stage_now == stage and done == 3:
            raise stop

    with pytest.raises(stop):
        animate(sample.portrait, sample.driver, tmp_path / "a.mp4", AnimateOptions(compare=True), progress=report)
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) <= before


def test_progress_reaches_the_total_of_each_stage(sample, tmp_path):
    reports: dict[str, list] = {}
    result = animate(
        sample.portrait,
        sample.driver,
        tmp_path / "a.mkv",
        AnimateOptions(audio=str(sample.audio), encode=EncodeOptions(codec="hevc", crf=30, preset="ultrafast")),
        progress=lambda stage, done, total: reports.setdefault(stage, []).append((done, total)),
    )
    assert list(reports) == ["extracting the driver's motion", "animating"]
    assert all(steps == [(k + 1, FRAMES) for k in range(FRAMES)] for steps in reports.values())
    assert result.frames == FRAMES and result.frame_rate == NTSC and result.audio == str(sample.audio)


def test_result_of_a_video_source_keeps_its_times(sample, tmp_path):
    """A driver of one frame drives the whole source."""
    Image.fromarray(read_video(sample.driver)[0][FRAMES // 2]).save(tmp_path / "open.png")
    options = AnimateOptions(output_mode="crop", encode=EncodeOptions(preset="ultrafast"))
    result = animate(sample.driver, tmp_path / "open.png", tmp_path / "a.mp4", options)
    assert result.frames == FRAMES and (result.width, result.height) == (512, 512) and result.audio == "none"
    images, times = read_video(tmp_path / "a.mp4")
    assert times == [k / NTSC for k in range(FRAMES)] and len(images) == FRAMES
    assert result.duration == pytest.approx(float(FRAMES / Fraction(NTSC)))


def test_animate_options_refuse_an_unknown_driver_face():
    with pytest.raises(InputError, match=r"^driver_face: unknown face selector"):
        AnimateOptions(driver_face="9")


def test_portrait_and_track_in_memory_give_the_frames_of_their_files(sample, tmp_path):
    options = AnimateOptions(encode=EncodeOptions(codec="ffv1"))
    animate(sample.portrait, sample.track, tmp_path / "files.mkv", options)
    portrait, track = load_portrait(sample.portrait), MotionTrack.load(sample.track)
    unmarked = replace(options, provenance=replace(options.provenance, on=False))
    animate(portrait, track, tmp_path / "memory.mkv", unmarked)
    marked, plain = (np.stack(read_video(tmp_path / name)[0]).astype(int) for name in ("files.mkv", "memory.mkv"))
    assert marked.shape == plain.shape and np.abs(marked - plain).max() <= 8  # the watermark is in one of them


def test_render_frames_yields_the_frames_that_animate_writes(sample, tmp_path):
    options = AnimateOptions(encode=EncodeOptions(codec="ffv1", lossless=True))
    unmarked = replace(options, provenance=replace(options.provenance, on=False))
    animate(sample.portrait, sample.track, tmp_path / "out.mkv", unmarked)
    stream = render_frames(sample.portrait, sample.track)
    frames = list(stream.frames)
    assert len(frames) == FRAMES == len(stream.pts) and stream.frame_rate == NTSC
    assert np.array_equal(np.stack(frames), np.stack(read_video(tmp_path / "out.mkv")[0]))


@pytest.mark.parametrize(("background", "channels"), [("transparent", 4), ("navy", 3)])
def test_render_frames_replaces_the_background(sample, background, channels):
    options = AnimateOptions(max_size=256, background=background, matte=Path("m.mp4"), matte_kind="person")
    stream = render_frames(sample.portrait, sample.track, options)
    frame = next(stream.frames)
    stream.close()
    assert frame.shape == (256, 256, channels)
    assert tuple(frame[10, 10]) == ((0, 0, 0, 0) if channels == 4 else (0, 0, 128))


def test_edited_track_in_memory_changes_the_frames(sample):
    portrait, track = load_portrait(sample.portrait), MotionTrack.load(sample.track)
    turned = track.pose.copy()
    turned[:, 1] *= -1
    streams = [render_frames(portrait, motion) for motion in (track, replace(track, pose=turned))]
    first, second = (list(stream.frames)[FRAMES // 4] for stream in streams)
    assert (first != second).any()


def test_comparison_of_a_portrait_in_memory_is_refused(sample, tmp_path):
    with pytest.raises(InputError, match=r"^compare: "):
        animate(load_portrait(sample.portrait), sample.track, tmp_path / "a.mp4", AnimateOptions(compare=True))
