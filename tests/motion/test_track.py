"""MotionTrack: round trips, ranges of frames, and what the constructor refuses."""

import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import ARRAY_NAMES, MAX_FRAMES, PER_FRAME_ARRAYS
from mimaface_cli.motion.track_meta import TrackMeta
from tests.motion.tracks import assert_same_track


def make_track(frames: int = 12, **meta: Any) -> MotionTrack:
    """Return a track with random arrays; `meta` replaces fields of its metadata."""
    random = np.random.default_rng(7)
    fields: dict[str, Any] = {
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
        meta=TrackMeta("face478", **fields | meta),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "track.npz"


def test_saved_track_loads_unchanged(path):
    track = make_track()
    track.save(path)
    assert_same_track(MotionTrack.load(path), track)


def test_file_has_the_documented_keys_shapes_and_dtypes(path):
    make_track(5).save(path)
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: (file[key].shape, file[key].dtype.str) for key in file.files if key != "meta"}
        meta = json.loads(str(file["meta"]))
    assert arrays == {
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


def test_compressed_and_fortran_ordered_files_load(path):
    track = make_track()
    arrays = {key: np.array(getattr(track, key), order="F") for key in ARRAY_NAMES}
    np.savez_compressed(path, **arrays, meta=np.array(track.meta.to_json()), extra=1)
    assert_same_track(MotionTrack.load(path), track)


def test_save_replaces_a_file_only_with_overwrite(path):
    make_track(3).save(path)
    with pytest.raises(OutputError, match="exists"):
        make_track(4).save(path)
    assert len(MotionTrack.load(path)) == 3
    make_track(4).save(path, overwrite=True)
    assert len(MotionTrack.load(path)) == 4


def test_failed_save_keeps_the_old_file_and_leaves_no_temporary_file(path, monkeypatch):
    make_track(3).save(path)

    def fail_half_way(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail_half_way)
    with pytest.raises(OutputError, match="no space left"):
        make_track(4).save(path, overwrite=True)
    assert os.listdir(path.parent) == ["track.npz"] and len(MotionTrack.load(path)) == 3


def test_duration_includes_the_last_frame():
    track = replace(make_track(3), pts=[1.0, 1.5, 1.75])
    assert len(track) == 3 and track.frame_rate == Fraction(30000, 1001)
    assert track.duration == pytest.approx(0.75 + 1001 / 30000)


def test_duration_of_the_last_frame_counts_and_is_saved(path):
    track = make_track(12, last_duration=1.5)
    assert track.duration == pytest.approx(track.pts[-1] - track.pts[0] + 1.5)
    track.save(path)
    assert MotionTrack.load(path).last_duration == 1.5
    assert track.select_frames(slice(2, 12)).last_duration == 1.5
    assert track.select_frames(slice(2, 11)).meta.last_duration is None  # nominal
    assert "last_duration" not in make_track().meta.to_json()


def test_selected_frame_lasts_until_the_frame_after_it():
    track = make_track(12)
    pts = track.pts.copy()
    pts[6:] += 2
    part = replace(track, pts=pts).select_frames(slice(0, 6))
    assert part.duration == pytest.approx(pts[6] - pts[0])


def test_neutral_track_is_the_mean_face_at_a_constant_rate():
    track = MotionTrack.neutral(100, "bfm09", Fraction(30000, 1001), width=8, height=4)
    assert len(track) == 100 and track.meta.space == "bfm09" and (track.meta.width, track.meta.height) == (8, 4)
    assert not any(getattr(track, key).any() for key in ("identity", "texture", "expression", "pose", "gaze"))
    assert track.valid.all() and (track.crop == np.eye(2, 3)).all()
    np.testing.assert_allclose(track.pts, np.arange(100) * 1001 / 30000, rtol=1e-15)
    assert track.duration == pytest.approx(100 * 1001 / 30000)


def test_arrays_are_cast_copied_and_read_only():
    expression = np.ones((4, 64), np.float32)
    track = replace(make_track(4), expression=expression, gaze=np.ones((4, 4), np.int16), pts=[0, 1, 2, 3])
    expression[:] = 5
    assert track.expression.dtype == np.float32 and (track.expression == 1).all()
    assert track.pts.dtype == np.float64 and track.gaze.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        track.expression[0] = 2


def test_select_frames_moves_the_cuts():
    track = make_track(12)
    part = track.select_frames(slice(2, 10))
    assert len(part) == 8 and part.meta.cuts == (2, 7) and part.frame_rate == track.frame_rate
    for key in PER_FRAME_ARRAYS:
        np.testing.assert_array_equal(getattr(part, key), getattr(track, key)[2:10])
    np.testing.assert_array_equal(part.identity, track.identity)


@pytest.mark.parametrize(
    ("frame_range", "cuts"),
    [
        (slice(4, None), (5,)),  # the first shot of the result has no cut
        (slice(0, 9), (4,)),
        (slice(0, 4), ()),
        (slice(-4, -1), (1,)),
        (slice(0, None, 2), (2, 5)),  # frame 9 is skipped: its shot starts with frame 10
        (slice(3, None, 4), (1, 2)),  # 3, 7, 11
        (slice(0, None, 6), (1,)),  # 0, 6: the second shot starts with 6, the third is beyond the end
        (slice(None), (4, 9)),
    ],
)
def test_select_frames_moves_cuts_to_the_next_selected_frame(frame_range, cuts):
    assert make_track(12).select_frames(frame_range).meta.cuts == cuts


def test_select_frames_with_a_step_divides_the_frame_rate():
    assert make_track(12).select_frames(slice(0, None, 2)).frame_rate == Fraction(15000, 1001)


def test_select_frames_refuses_an_empty_or_backward_range():
    with pytest.raises(InputError, match="none of the track's 12 frames"):
        make_track().select_frames(slice(20, 30))
    with pytest.raises(ValueError, match="positive"):
        make_track().select_frames(slice(None, None, -1))


def test_require_space_explains_how_to_extract_again():
    make_track().require_space("face478", "mesh")
    message = r"^a\.npz: .*face478 .*diffusion.* bfm09\. Run mimaface extract again .* `space=bfm09`"
    with pytest.raises(InputError, match=message):
        make_track().require_space("bfm09", "diffusion", "a.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identity": np.zeros(79)}, r"identity: has shape \(79,\), expected \(80\)"),
        ({"expression": np.zeros((12, 63))}, r"expression: has shape \(12, 63\), expected \(N, 64\)"),
        ({"pose": np.zeros((11, 6))}, "pose: has 11 frames, but pts has 12"),
        ({"pts": np.zeros(())}, r"pts: has shape \(\), expected \(N\)"),
        ({"gaze": np.full((12, 4), np.nan)}, "gaze: contains NaN or Inf"),
        ({"gaze": np.full((12, 4), 1e39)}, "gaze: contains NaN or Inf"),
        ({"pts": np.r_[0:11, 10]}, "pts: must increase strictly"),
        ({"pts": np.arange(12) * 1e12}, "pts: must increase strictly"),
        ({"valid": np.ones(12)}, "valid: has dtype float64, expected bool"),
        ({"pose": np.zeros((12, 6), complex)}, "pose: has dtype complex128, expected float32"),
        ({"pose": np.full((12, 6), "1")}, "pose: has dtype <U1, expected float32"),
    ],
)
def test_invalid_arrays_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(make_track(12), **change)


@pytest.mark.parametrize("frames", [0, MAX_FRAMES + 1])
def test_tracks_without_frames_or_with_too_many_are_refused(frames):
    track = make_track(2)
    arrays = {key: getattr(track, key) for key in PER_FRAME_ARRAYS}
    changes = {key: np.broadcast_to(array[:1], (frames, *array.shape[1:])) for key, array in arrays.items()}
    with pytest.raises(ValueError, match=f"pts: has {frames} frames, expected 1 to {MAX_FRAMES}"):
        replace(track, **changes)


def test_cuts_beyond_the_track_are_refused():
    with pytest.raises(ValueError, match=r"^meta: cuts: frame 12 is beyond the 12 frames of the track$"):
        make_track(12, cuts=(12,))


def test_motion_arrays_are_copies_with_angles_unwrapped_on_request():
    pose = np.zeros((2, 6))
    pose[:, 2] = 3.1, -3.1
    track = replace(make_track(2), pose=pose)
    arrays = track.motion_arrays()
    arrays["gaze"][:] = 5
    assert not (track.gaze == 5).any()
    assert arrays["pose"][1, 2] == pytest.approx(-3.1)
    assert track.motion_arrays(unwrap=True)["pose"][1, 2] == pytest.approx(2 * np.pi - 3.1)
