"""Preparation of edits: the kind of result for each input and output, and invalid combinations."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mimaface_cli.apps.edit_job import DEFAULT_DURATION, EditJob, PhotoInput, TrackInput, VideoInput, prepare_edit
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.errors import InputError, MimafaceError, OutputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ignore_progress


def prepare(source: Path, output: Path, **options) -> EditJob:
    return prepare_edit(source, output, EditOptions(**options), overwrite=False, cache=None, progress=ignore_progress)


@pytest.mark.parametrize(
    ("source", "output", "options", "kind", "input_type"),
    [
        ("track", "x.npz", {}, "track", TrackInput),
        ("portrait", "x.npz", {}, "track", PhotoInput),
        ("portrait", "x.png", {}, "image", PhotoInput),
        ("portrait", "x.mp4", {}, "video", PhotoInput),
        ("portrait", "frames/%05d.png", {}, "video", PhotoInput),
        ("portrait", "x.png", {"grid": ("yaw=-10:10:3",)}, "grid", PhotoInput),
        ("driver", "x.npz", {"speed": 2.0}, "track", VideoInput),
        ("driver", "x.mp4", {}, "video", VideoInput),
    ],
)
def test_kind_of_the_result_follows_from_input_and_output(sample, tmp_path, source, output, options, kind, input_type):
    job = prepare(getattr(sample, source), tmp_path / output, **options)
    assert job.kind == kind
    assert isinstance(job.input, input_type)
    assert (job.size is None) == (kind == "track")


def test_photo_without_keyframes_becomes_a_video_of_the_default_duration(sample, tmp_path):
    assert prepare(sample.portrait, tmp_path / "x.mp4").options.seconds == DEFAULT_DURATION
    assert prepare(sample.portrait, tmp_path / "x.mp4", keys=("1:yaw=10",)).options.seconds is None
    assert prepare(sample.portrait, tmp_path / "x.mp4", seconds=0.5).options.seconds == 0.5


@pytest.mark.parametrize(("output", "longest"), [("x.png", 2000), ("x.mp4", 1920), ("frames/%05d.png", 1920)])
def test_only_a_video_of_a_photo_has_a_size_limit_by_default(sample, tmp_path, output, longest):
    Image.open(sample.portrait).resize((2000, 1000)).save(tmp_path / "large.png")
    assert prepare(tmp_path / "large.png", tmp_path / output).size == (longest, longest // 2)
    assert prepare(tmp_path / "large.png", tmp_path / output, max_size=0).size == (2000, 1000)
    assert prepare(tmp_path / "large.png", tmp_path / output, max_size=100).size == (100, 50)


def test_photo_with_a_mixed_track_becomes_a_video_of_its_duration(sample, tmp_path):
    job = prepare(sample.portrait, tmp_path / "x.mp4", mix=sample.track)
    assert job.options.seconds == pytest.approx(MotionTrack.load(sample.track).duration)


@pytest.mark.parametrize(
    ("source", "output", "options", "field"),
    [
        ("track", "x.npz", {"seconds": 2.0}, "seconds"),
        ("driver", "x.mp4", {"seconds": 2.0}, "seconds"),
        ("driver", "x.mp4", {"start": 0.1}, "start"),
        ("portrait", "x.mp4", {"smooth": 2.0}, "smooth"),
        ("portrait", "x.npz", {"duration": 2.0}, "duration"),
        ("portrait", "x.png", {"seconds": 2.0}, "seconds"),
        ("portrait", "x.mp4", {"grid": ("yaw=0:1:2",)}, "grid"),
        ("portrait", "x.npz", {"grid": ("yaw=0:1:2",)}, "grid"),
        ("track", "x.png", {"grid": ("yaw=0:1:2",)}, "grid"),
        ("portrait", "x.png", {"grid": ("yaw=0:1:2",), "keys": ("1:yaw=3",)}, "grid"),
    ],
)
def test_options_that_do_not_suit_input_and_output_are_named(sample, tmp_path, source, output, options, field):
    with pytest.raises(InputError) as caught:
        prepare(getattr(sample, source), tmp_path / output, **options)
    assert caught.value.field == field


def test_image_cannot_show_keyframes(sample, tmp_path):
    with pytest.raises(InputError, match=r"x.png: is one image, but keyframes and `mix` change over time"):
        prepare(sample.portrait, tmp_path / "x.png", keys=("1:yaw=3",))


def test_track_cannot_be_rendered(sample, tmp_path):
    with pytest.raises(OutputError, match=r"a track has no image to render. Write .npz, or run mimaface animate"):
        prepare(sample.track, tmp_path / "x.mp4")


@pytest.mark.parametrize("name", ["frames", "frames/%d.jpg"])
def test_folder_of_frames_is_edited_as_a_video(sample, tmp_path, name):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.jpg").write_bytes(sample.portrait.read_bytes())
    assert isinstance(prepare(tmp_path / name, tmp_path / "x.mp4").input, VideoInput)


def test_output_must_not_be_an_input(sample, tmp_path):
    track = tmp_path / "x.npz"
    replace(MotionTrack.load(sample.track)).save(track)
    with pytest.raises(MimafaceError, match=r"x.npz"):
        prepare_edit(track, track, EditOptions(), overwrite=True, cache=None, progress=ignore_progress)
