"""MotionTrack: round trips, parts of tracks, and what the constructor refuses."""

import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import MAX_FRAMES
from mimaface_cli.motion.track_meta import MAX_META_CHARACTERS, TrackMeta

KEYS = ("identity", "texture", "expression", "illumination", "pose", "gaze", "crop", "pts", "valid")
PER_FRAME = ("expression", "illumination", "pose", "gaze", "crop", "pts", "valid")


def make_track(frames: int = 12, **meta) -> MotionTrack:
    random = np.random.default_rng(7)
    details = {
        "extractor": "test",
        "extractor_version": "3",
        "frame_rate": Fraction(30000, 1001),
        "source_hash": "a" * 64,
        "audio_hash": "b" * 64,
        "width": 640,
        "height": 360,
        "options": {"smooth": 1.0, "face": "links é", "list": [1, None, True]},
        "cuts": (4, 9) if frames > 9 else (),
    }
    return MotionTrack(
        identity=random.normal(size=80),
        texture=random.normal(size=80),
        expression=random.normal(size=(frames, 64)),
        illumination=random.normal(size=(frames, 27)),
        pose=random.normal(size=(frames, 6)),
        gaze=random.normal(size=(frames, 4)),
        crop=random.normal(size=(frames, 2, 3)),
        pts=np.cumsum(random.uniform(0.01, 0.1, frames)),
        valid=random.random(frames) > 0.3,
        meta=TrackMeta("face478", **details | meta),
    )


def assert_same(one: MotionTrack, other: MotionTrack) -> None:
    assert one.meta == other.meta
    for key in KEYS:
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key), strict=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "track.npz"


# --- what works


def test_round_trip_keeps_every_number_and_the_meta(path):
    track = make_track()
    track.save(path)
    assert_same(MotionTrack.load(path), track)


def test_the_file_is_what_the_contract_says(path):
    make_track(5).save(path)
    with np.load(path, allow_pickle=False) as file:
        found = {key: (file[key].shape, file[key].dtype.str) for key in file.files if key != "meta"}
        meta = json.loads(str(file["meta"]))
    assert found == {
        "identity": ((80,), "<f4"),
        "texture": ((80,), "<f4"),
        "expression": ((5, 64), "<f4"),
        "illumination": ((5, 27), "<f4"),
        "pose": ((5, 6), "<f4"),
        "gaze": ((5, 4), "<f4"),
        "crop": ((5, 2, 3), "<f4"),
        "pts": ((5,), "<f8"),
        "valid": ((5,), "|b1"),
    }
    assert meta == {
        "version": 1,
        "space": "face478",
        "extractor": "test",
        "extractor_version": "3",
        "frame_rate": "30000/1001",
        "source_hash": "a" * 64,
        "audio_hash": "b" * 64,
        "width": 640,
        "height": 360,
        "options": {"smooth": 1.0, "face": "links é", "list": [1, None, True]},
        "cuts": [],
    }


def test_equal_tracks_give_equal_bytes(tmp_path):
    make_track().save(tmp_path / "one.npz")
    make_track().save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_compressed_and_fortran_ordered_files_load_too(path):
    track = make_track()
    arrays = {key: np.array(getattr(track, key), order="F") for key in KEYS}
    np.savez_compressed(path, **arrays, meta=np.array(track.meta.to_json()), extra=1)
    assert_same(MotionTrack.load(path), track)


def test_save_does_not_replace_a_file_unasked(path):
    make_track(3).save(path)
    with pytest.raises(OutputError, match="exists already"):
        make_track(4).save(path)
    assert len(MotionTrack.load(path)) == 3
    make_track(4).save(path, overwrite=True)
    assert len(MotionTrack.load(path)) == 4


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_else(path, monkeypatch):
    make_track(3).save(path)

    def breaks_off(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", breaks_off)
    with pytest.raises(OutputError, match="no space left"):
        make_track(4).save(path, overwrite=True)
    assert os.listdir(path.parent) == ["track.npz"] and len(MotionTrack.load(path)) == 3


def test_length_rate_and_duration():
    track = replace(make_track(3), pts=[1.0, 1.5, 1.75])
    assert len(track) == 3 and track.frame_rate == Fraction(30000, 1001)
    assert track.duration == pytest.approx(0.75 + 1001 / 30000)


def test_neutral_is_the_mean_face_at_a_constant_rate():
    track = MotionTrack.neutral(100, "bfm09", Fraction(30000, 1001), width=8, height=4)
    assert len(track) == 100 and track.meta.space == "bfm09" and (track.meta.width, track.meta.height) == (8, 4)
    assert not any(getattr(track, key).any() for key in ("identity", "texture", "expression", "pose", "gaze"))
    assert track.valid.all() and (track.crop == np.eye(2, 3)).all()
    np.testing.assert_allclose(track.pts, np.arange(100) * 1001 / 30000, rtol=1e-15)
    assert track.duration == pytest.approx(100 * 1001 / 30000)


def test_the_arrays_are_cast_copied_and_read_only():
    given = np.ones((4, 64), np.float32)
    track = replace(make_track(4), expression=given, gaze=np.ones((4, 4), np.int16), pts=[0, 1, 2, 3])
    given[:] = 5
    assert track.expression.dtype == np.float32 and (track.expression == 1).all()
    assert track.pts.dtype == np.float64 and track.gaze.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        track.expression[0] = 2


def test_meta_takes_whole_numbers_and_text_as_rate_and_copies_options():
    options = {"nested": {"tuple": (1, 2)}}
    meta = make_track(2, frame_rate=25, options=options).meta
    options["nested"]["tuple"] = ()
    assert meta.frame_rate == Fraction(25) and meta.options == {"nested": {"tuple": [1, 2]}}
    assert make_track(2, frame_rate="24000/1001").frame_rate == Fraction(24000, 1001)


# --- parts


def test_a_range_of_frames_takes_the_cuts_along():
    track = make_track(12)
    part = track.select_frames(slice(2, 10))
    assert len(part) == 8 and part.meta.cuts == (2, 7) and part.frame_rate == track.frame_rate
    for key in PER_FRAME:
        np.testing.assert_array_equal(getattr(part, key), getattr(track, key)[2:10])
    np.testing.assert_array_equal(part.identity, track.identity)


@pytest.mark.parametrize(
    ("which", "cuts"),
    [
        (slice(4, None), (5,)),  # begins with the cut, which is none any more
        (slice(0, 9), (4,)),
        (slice(0, 4), ()),
        (slice(-4, -1), (1,)),
        (slice(0, None, 2), (2, 5)),  # frame 9 is left out: its shot begins with frame 10
        (slice(3, None, 4), (1, 2)),  # 3, 7, 11
        (slice(0, None, 6), (1,)),  # 0, 6: the second shot's start falls on 6, the third's behind the end
        (slice(None), (4, 9)),
    ],
)
def test_cuts_of_a_range(which, cuts):
    assert make_track(12).select_frames(which).meta.cuts == cuts


def test_every_second_frame_halves_the_rate():
    assert make_track(12).select_frames(slice(0, None, 2)).frame_rate == Fraction(15000, 1001)


def test_an_empty_or_backward_range_is_refused():
    with pytest.raises(InputError, match="none of the track's 12 frames"):
        make_track().select_frames(slice(20, 30))
    with pytest.raises(ValueError, match="positive"):
        make_track().select_frames(slice(None, None, -1))


def test_the_wrong_space_says_how_to_extract_again():
    make_track().require_space("face478", "mesh")
    text = r"^a\.npz: .*face478 .*diffusion.* bfm09; re-run mimaface extract --space bfm09"
    with pytest.raises(InputError, match=text):
        make_track().require_space("bfm09", "diffusion", "a.npz")


# --- what the constructor refuses


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"identity": np.zeros(79)}, r"identity: has shape \(79,\) where \(80\)"),
        ({"expression": np.zeros((12, 63))}, r"expression: has shape \(12, 63\) where \(N, 64\)"),
        ({"pose": np.zeros((11, 6))}, "pose: has 11 frames where pts has 12"),
        ({"pts": np.zeros(())}, r"pts: has shape \(\) where \(N\)"),
        ({"gaze": np.full((12, 4), np.nan)}, "gaze: holds numbers that are not finite"),
        ({"gaze": np.full((12, 4), 1e39)}, "gaze: holds numbers that are not finite"),
        ({"pts": np.r_[0:11, 10]}, "pts: must increase strictly"),
        ({"pts": np.arange(12) * 1e12}, "pts: must increase strictly"),
        ({"valid": np.ones(12)}, "valid: has dtype float64 where bool"),
        ({"pose": np.zeros((12, 6), complex)}, "pose: has dtype complex128 where float32"),
        ({"pose": np.full((12, 6), "1")}, "pose: has dtype <U1 where float32"),
    ],
)
def test_wrong_arrays_are_refused(change, text):
    with pytest.raises(ValueError, match=text):
        replace(make_track(12), **change)


@pytest.mark.parametrize("frames", [0, MAX_FRAMES + 1])
def test_no_frames_and_too_many_are_refused(frames):
    track = make_track(2)
    arrays = {key: getattr(track, key) for key in PER_FRAME}
    changes = {key: np.broadcast_to(array[:1], (frames, *array.shape[1:])) for key, array in arrays.items()}
    with pytest.raises(ValueError, match=f"pts: has {frames} frames where 1 to {MAX_FRAMES} are possible"):
        replace(track, **changes)


def test_wrong_meta_is_refused():
    """Every field is tried in test_track_file.py; files and callers go the same way."""
    with pytest.raises(ValueError, match="^width: must be a number of pixels, is -1$"):
        make_track(width=-1)
    with pytest.raises(ValueError, match="^meta: cuts: frame 12 lies beyond the track's 12 frames$"):
        make_track(12, cuts=(12,))
    with pytest.raises(ValueError, match="^options: with the cuts they take more than 1000000 characters$"):
        make_track(options={"long": "x" * MAX_META_CHARACTERS})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, Path("x")])
def test_options_that_json_cannot_hold_are_refused(value):
    with pytest.raises(ValueError, match="options: cannot be written as JSON"):
        make_track(options={"value": value})


def test_options_nested_too_deep_are_refused():
    options = {}
    for _ in range(15):
        options = {"a": options}
    assert make_track(options=options).meta.options == options
    with pytest.raises(ValueError, match="options: are nested more than 16 deep"):
        make_track(options={"a": options})
    options["cycle"] = options
    with pytest.raises(ValueError, match="options: cannot be written as JSON"):
        make_track(options=options)
