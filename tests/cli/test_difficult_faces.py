"""Sources and drivers whose face is missing in some frames, not upright, or small."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.media.reader import read_frames
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import CommandResult, read_video, write_video

RATE = Fraction(25)
QUICK = ("--no-provenance", "--max-size", "256", "--json")


def parse_result(result: CommandResult) -> dict:
    """Return the JSON of a successful run."""
    assert result.code == 0, result.err
    return json.loads(result.out)


def write_frames(path: Path, frames: list[np.ndarray]) -> Path:
    return write_video(path, frames, [Fraction(k, 25) for k in range(len(frames))], RATE)


def decode(path: Path) -> list[np.ndarray]:
    """Return the frames as the program reads them."""
    return [frame.image for frame in read_frames(path)]


def mean_changes(first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    return np.array([np.abs(a.astype(int) - b).mean() for a, b in zip(first, second, strict=True)])


@pytest.fixture(scope="module")
def photo(sample) -> np.ndarray:
    """The portrait, 256 pixels wide and higher than wide."""
    return np.asarray(Image.open(sample.portrait).convert("RGB").resize((256, 256)))[:, 24:232].copy()


@pytest.fixture
def laugh(sample, tmp_path) -> Path:
    """A track of 12 frames at 25 per second with an open mouth and a turned head."""
    track = MotionTrack.load(sample.track).select_frames(slice(0, 12))
    expression, pose = np.repeat(track.expression[7:8], 12, 0), np.repeat(track.pose[4:5], 12, 0)
    expression[0], pose[0] = track.expression[0], track.pose[0]
    meta = replace(track.meta, frame_rate=RATE)
    replace(track, expression=expression, pose=pose, pts=np.arange(12) / 25, meta=meta).save(tmp_path / "laugh.npz")
    return tmp_path / "laugh.npz"


@pytest.mark.parametrize("region", ["all", "lips"], ids=["head moves", "head stays"])
def test_source_frames_without_a_face_stay_as_they_are(run_command, photo, laugh, tmp_path, region):
    rows = np.arange(photo.shape[0], dtype=np.uint8)[:, None, None]
    insert = np.ascontiguousarray(np.broadcast_to(rows, photo.shape))
    source = write_frames(tmp_path / "cutaway.mp4", [*[photo] * 4, *[insert] * 3, *[photo] * 5])
    values = parse_result(
        run_command("animate", source, laugh, "-o", "out.mkv", "--lossless", "--region", region, *QUICK)
    )
    assert values["source_frames_without_face"] == [4, 5, 6]
    assert "3 source frames show no face; they stay as they are" in values["notes"]
    changes = mean_changes(decode(source), decode(tmp_path / "out.mkv"))
    assert (changes[4:7] == 0).all()
    assert (changes[[2, 3, 9, 10]] > 0.4).all()


def test_motion_eases_out_before_a_face_disappears(run_command, photo, laugh, tmp_path):
    frames = [photo.copy() for _ in range(12)]
    for k, frame in enumerate(frames[8:]):  # covered in the same shot, not cut
        frame[:, : 90 + 40 * k] = frame[2, 2]
    source = write_frames(tmp_path / "leaves.mp4", frames)
    values = parse_result(run_command("animate", source, laugh, "-o", "out.mkv", "--lossless", *QUICK))
    missing = values["source_frames_without_face"]
    assert missing and missing[-1] == 11
    changes = mean_changes(decode(source), decode(tmp_path / "out.mkv"))
    assert (changes[missing] == 0).all()
    first = missing[0]
    assert changes[first - 1] < 0.35 * changes[2] and changes[first - 2] < changes[first - 4]


def test_head_moves_with_the_body_of_the_source(run_command, photo, laugh, tmp_path):
    from mimaface_cli.face.detection import detect_faces

    canvas = np.full((256, 420, 3), 96, np.uint8)
    frames = []
    for k in range(12):
        frame = canvas.copy()
        frame[:, 10 * k : 10 * k + photo.shape[1]] = photo
        frames.append(frame)
    source = write_frames(tmp_path / "walks.mp4", frames)
    parse_result(run_command("animate", source, laugh, "-o", "out.mkv", "--lossless", *QUICK, "--max-size", "0"))
    result = decode(tmp_path / "out.mkv")
    for k in (3, 7, 11):
        before, after = (detect_faces(images[k])[0].box for images in (frames, result))
        assert np.abs((before - after)[::2]).mean() < 12


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_photo_is_animated_as_the_upright_one(run_command, photo, laugh, tmp_path, turns):
    Image.fromarray(photo).save(tmp_path / "upright.png")
    Image.fromarray(np.rot90(photo, turns)).save(tmp_path / "turned.png")
    for words in (("animate", laugh), ("edit", "--seconds", "0.1", "--set", "jawOpen=0.6")):
        frames = {}
        for name in ("upright", "turned"):
            command, *rest = words
            folder = f"{command}-{name}"
            values = parse_result(run_command(command, f"{name}.png", *rest, "-o", f"{folder}/%05d.png", *QUICK))
            frames[name] = [np.asarray(Image.open(path)) for path in sorted((tmp_path / folder).iterdir())]
        assert (values["width"], values["height"]) == np.rot90(photo, turns).shape[1::-1]
        back = [np.rot90(frame, -turns) for frame in frames["turned"]]
        assert mean_changes(frames["upright"], back).max() < 0.5
        assert mean_changes(frames["upright"], [photo] * len(back)).max() > 0.5


def write_lossless(path: Path, frames: list[np.ndarray]) -> Path:
    """Write a video whose decoded frames are exactly the given ones, whichever way they are turned."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.pix_fmt, (stream.height, stream.width) = "bgr0", frames[0].shape[:2]
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        out.mux(stream.encode(None))
    return path


def test_upside_down_video_is_driven_and_drives_as_the_upright_one(run_command, sample, tmp_path):
    upright = [frame[::2, ::2] for frame in read_video(sample.driver)[0][:10]]
    driven = {}
    for name, turns in (("upright", 0), ("turned", 2)):
        video = write_lossless(tmp_path / f"{name}.mkv", [np.rot90(frame, turns) for frame in upright])
        parse_result(run_command("animate", sample.portrait, video, "-o", f"d-{name}.mkv", "--lossless", *QUICK))
        parse_result(run_command("animate", video, sample.track, "-o", f"s-{name}.mkv", "--lossless", *QUICK))
        driven[name] = decode(tmp_path / f"d-{name}.mkv"), decode(tmp_path / f"s-{name}.mkv")
    assert mean_changes(driven["upright"][0], driven["turned"][0]).max() < 0.2
    back = [np.rot90(frame, 2) for frame in driven["turned"][1]]
    assert mean_changes(driven["upright"][1], back).max() < 0.2
    assert mean_changes(driven["upright"][1], upright).max() > 0.5


def test_shot_that_is_upside_down_drives_by_itself_and_stays_as_it_is_in_a_source(run_command, sample, tmp_path):
    upright = [frame[::2, ::2] for frame in read_video(sample.driver)[0][:10]]
    write_lossless(tmp_path / "upright.mkv", upright)
    mixed = write_lossless(tmp_path / "mixed.mkv", [*upright[:6], *(np.rot90(frame, 2) for frame in upright[6:])])
    for name in ("upright", "mixed"):
        command = ("animate", sample.portrait, f"{name}.mkv", "-o", f"d-{name}.mkv", "--lossless", *QUICK)
        parse_result(run_command(*command))
    assert mean_changes(*(decode(tmp_path / f"d-{name}.mkv") for name in ("upright", "mixed"))).max() < 1.5
    values = parse_result(run_command("animate", mixed, sample.track, "-o", "out.mkv", "--lossless", *QUICK))
    assert values["source_frames_without_face"] == [6, 7, 8, 9]
    assert any(note.startswith("in 4 source frames the face is turned otherwise") for note in values["notes"])
    assert not any("show no face" in note for note in values["notes"])
    changes = mean_changes(decode(mixed), decode(tmp_path / "out.mkv"))
    assert (changes[6:] == 0).all() and (changes[2:6] > 0.4).all()


def test_change_of_the_frame_size_is_noted_for_source_and_driver(run_command, sample, tmp_path):
    sizes = {"a": slice(None, None, 2), "b": slice(None, None, 4)}
    frames = read_video(sample.driver)[0][:5]
    for name, step in sizes.items():
        write_frames(tmp_path / f"{name}.ts", [np.ascontiguousarray(frame[step, step]) for frame in frames])
    (tmp_path / "joined.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    for inputs in ((sample.portrait, "joined.ts"), ("joined.ts", sample.track), (sample.portrait, "joined.ts")):
        notes = parse_result(run_command("animate", *inputs, "-o", "out.mp4", "--overwrite", *QUICK))["notes"]
        assert len([note for note in notes if note.startswith("joined.ts: the frame size changes to 128x128")]) == 1
    assert "the frame size changes" in run_command("extract", "joined.ts", "-o", "out.npz").err
    assert "the frame size changes" in run_command("edit", "joined.ts", "-o", "edit.npz", "--set", "yaw=3").err


def test_track_of_a_turned_photo_has_its_pixels(run_command, photo, tmp_path):
    Image.fromarray(np.rot90(photo)).save(tmp_path / "turned.png")
    assert run_command("edit", "turned.png", "-o", "photo.npz", "--set", "jawOpen=0.5").code == 0
    track = MotionTrack.load(tmp_path / "photo.npz")
    assert (track.meta.width, track.meta.height) == (photo.shape[0], photo.shape[1])
    assert abs(np.degrees(track.pose[0, 2]) - 90) < 8


def test_small_face_in_a_large_photo_and_video_is_detected(run_command, photo, laugh, tmp_path):
    canvas = np.full((1440, 2560, 3), 80, np.uint8)
    small = cv2.resize(photo, (130, 160), interpolation=cv2.INTER_AREA)  # its face is about 70 pixels high
    frames = []
    for k in range(6):
        frame = canvas.copy()
        frame[900:1060, 1900 + 2 * k : 2030 + 2 * k] = small
        frames.append(frame)
    Image.fromarray(frames[0]).save(tmp_path / "wide.png")
    parse_result(run_command("animate", "wide.png", laugh, "-o", "out/", *QUICK, "--max-size", "0"))
    changed = (
        np.abs(np.asarray(Image.open(sorted((tmp_path / "out").iterdir())[-1])).astype(int) - frames[0]).max(2) > 8
    )
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert rows[0] > 890 and rows[-1] < 1070 and columns[0] > 1890 and columns[-1] < 2040
    write_frames(tmp_path / "wide.mp4", frames)
    assert run_command("extract", "wide.mp4", "-o", "wide.npz").code == 0
    track = MotionTrack.load(tmp_path / "wide.npz")
    assert track.valid.all()


def test_error_states_how_large_a_face_must_be(run_command, photo, laugh, tmp_path):
    canvas = np.full((1080, 1920, 3), 80, np.uint8)
    canvas[500:534, 900:928] = cv2.resize(photo, (28, 34), interpolation=cv2.INTER_AREA)
    Image.fromarray(canvas).save(tmp_path / "tiny.png")
    result = run_command("animate", "tiny.png", laugh, "-o", "out.mp4")
    assert result.code == 3 and "tiny.png: shows no face" in result.err and "at least 40 pixels high" in result.err
