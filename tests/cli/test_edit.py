"""`mimaface edit`: edits of photos, videos and tracks."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mimaface_cli.cli.arguments import repeat_options
from mimaface_cli.cli.console import parse_frame_rate
from mimaface_cli.face import face478
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.motion.channels import find_channel
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.rotation import euler_angles
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import FRAMES, NTSC, read_video
from tests.face.test_bfm_names import synthetic_bfm_arrays


def test_repeat_options_repeats_option_before_each_assignment():
    words = [
        "in.jpg",
        "--set",
        "yaw=20",
        "pitch=-5",
        "-o",
        "out.png",
        "--grid",
        "a=0:1:2",
        "b=0:1:2",
        "rest",
        "--key",
        "1:yaw=2",
        "2.5:yaw=3",
    ]
    assert repeat_options(words) == [
        "in.jpg",
        "--set",
        "yaw=20",
        "--set",
        "pitch=-5",
        "-o",
        "out.png",
        "--grid",
        "a=0:1:2",
        "--grid",
        "b=0:1:2",
        "rest",
        "--key",
        "1:yaw=2",
        "--key",
        "2.5:yaw=3",
    ]
    assert repeat_options(["--set", "yaw=1", "photo.jpg", "x=2"]) == ["--set", "yaw=1", "photo.jpg", "x=2"]


def test_parse_frame_rate_is_exact():
    assert (
        parse_frame_rate("29.97") == NTSC
        and parse_frame_rate("30") == 30
        and parse_frame_rate("30000/1001") == NTSC
        and parse_frame_rate("12.5") * 2 == 25
    )


def test_edit_turns_head_by_measured_angle(run_command, sample, tmp_path):
    result = run_command(
        "edit", sample.portrait, "-o", "a.png", "--add", "yaw=20", "--set", "browInnerUp=0.3", "--output-mode", "crop",
        "--json",
    )  # fmt: skip
    assert result.code == 0 and "engine: mesh" in result.err
    values = json.loads(result.out)
    assert (values["kind"], values["engine"], values["frames"]) == ("image", "mesh", 1)
    assert {row["name"] for row in values["gains"]} >= {"yaw"}
    run_command("edit", sample.portrait, "-o", "same.png", "--output-mode", "crop")
    photo, turned = (detect_faces(np.asarray(Image.open(tmp_path / name)))[0] for name in ("same.png", "a.png"))
    yaw, pitch, roll = np.degrees(euler_angles(turned.rotation @ photo.rotation.T))[[1, 0, 2]]
    assert yaw == pytest.approx(20, abs=3) and abs(pitch) < 4 and abs(roll) < 3


def test_edit_smile_changes_little_else(run_command, sample, tmp_path):
    run_command("edit", sample.portrait, "-o", "same.png", "--output-mode", "crop")
    run_command("edit", sample.portrait, "-o", "a.png", "--set", "mouthSmile=0.3", "--output-mode", "crop")
    photo, edited = (detect_faces(np.asarray(Image.open(tmp_path / name)))[0].scores for name in ("same.png", "a.png"))
    smile = [blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]
    assert photo[smile].min() > 0.8 and edited[smile].max() < 0.7
    others = [k for k in range(52) if k not in smile]
    assert np.sqrt(((edited - photo)[others] ** 2).mean()) < 0.08


def test_grid_has_distinct_cells_and_labels(run_command, sample, tmp_path):
    result = run_command(
        "edit", sample.portrait, "-o", "grid.png", "--grid", "yaw=-15:15:3", "eyeBlink=0:1:2", "--cell", "96", "--json"
    )
    values = json.loads(result.out)
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (values["width"], values["height"]) and values["kind"] == "grid"
        pixels = np.asarray(image).astype(float)
    cells = [
        pixels[-(100 * (2 - row)) : -(100 * (1 - row)) - 4 or None, -(100 * (3 - k)) : -(100 * (2 - k)) or None]
        for row in range(2)
        for k in range(3)
    ]
    assert all(
        np.abs(first[:90, :90] - second[:90, :90]).mean() > 1 for first, second in itertools.combinations(cells, 2)
    )
    assert pixels[:20].min() < 100 and pixels[:, :20].min() < 100  # labels above and beside


def test_keyframes_animate_photo(run_command, sample, tmp_path):
    (tmp_path / "keys.csv").write_text("time,gazeYaw,jawOpen\n0.2,20,\n0.4,,0.5\n")
    result = run_command(
        "edit", sample.portrait, "-o", "a.npz", "--keys", "keys.csv", "--key", "0.3:yaw=15", "--frame-rate", "29.97"
    )
    assert result.code == 0, result.err
    track = MotionTrack.load(tmp_path / "a.npz")
    assert track.frame_rate == NTSC and track.meta.options["edited"] is True and len(track) == 13
    jaw = find_channel("jawOpen", "face478").read(track.expression)[:, 0]
    start = track.expression[0, blendshape_index("jawOpen")]
    assert abs(start) < 0.2 and jaw[-1] == pytest.approx(0.5, abs=1e-3) and (np.diff(jaw) >= -1e-6).all()
    yaw = find_channel("yaw", "face478").read(track.pose)[:, 0]
    assert yaw[-1] == pytest.approx(15, abs=1e-3)
    video = run_command(
        "edit", sample.portrait, "-o", "a.mp4", "--set", "yaw=10", "--seconds", "0.4", "--max-size", "128"
    )
    assert video.code == 0 and len(read_video(tmp_path / "a.mp4")[0]) == 10


def test_edit_video_keeps_frames_and_background(run_command, sample, tmp_path):
    result = run_command("edit", sample.driver, "-o", "a.mp4", "--add", "mouthSmile=-0.6", "--json")
    values = json.loads(result.out)
    assert result.code == 0 and values["frames"] == FRAMES and values["engine"] == "mesh"
    assert [row["name"] for row in values["gains"]] == ["mouthSmile"]
    images, times = read_video(tmp_path / "a.mp4")
    driver_images, driver_times = read_video(sample.driver)
    assert times == driver_times and images[0].shape == driver_images[0].shape
    change = np.abs(images[5].astype(float) - driver_images[5])
    assert change.mean() > 0.3 and change[:, -40:].mean() < 2


def test_edit_mixes_and_stretches_tracks(run_command, sample, tmp_path):
    still = MotionTrack.neutral(30, "face478", 30)
    still.save(tmp_path / "still.npz")
    result = run_command(
        "edit", "still.npz", "-o", "a.npz", "--mix", sample.track, "--region", "mouth", "--region", "head",
        "--speed", "0.5", "--json",
    )  # fmt: skip
    assert result.code == 0 and "its last frame is held" in result.err
    mixed, other = MotionTrack.load(tmp_path / "a.npz"), MotionTrack.load(sample.track)
    assert len(mixed) == 60 and np.ptp(mixed.expression[:, blendshape_index("jawOpen")]) > 0.5
    assert mixed.expression[-1, blendshape_index("jawOpen")] == pytest.approx(
        other.expression[-1, blendshape_index("jawOpen")]
    )


def test_track_show_export_and_import(run_command, sample, tmp_path):
    result = run_command("track", "show", sample.track, "--png", "curves.png")
    assert result.code == 0 and "jawOpen" in result.out and "▁" in result.out and f"{FRAMES} frames" in result.err
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 800
    values = json.loads(run_command("track", "show", sample.track, "--json", "--all").out)
    assert len(values["curves"]) == 74 and values["frame_rate"] == "30000/1001"
    for name, format in (("a.csv", None), ("a.json", None), ("b.csv", "livelink")):
        options = ["--format", format] if format else []
        assert run_command("track", "export", sample.track, "-o", name, *options).code == 0
        again = run_command(
            "track", "import", name, "-o", f"{name}.npz", *(["--frame-rate", "29.97"] if format else [])
        )
        assert again.code == 0, again.err
        track, imported = MotionTrack.load(sample.track), MotionTrack.load(tmp_path / f"{name}.npz")
        assert imported.frame_rate == NTSC
        jaw = blendshape_index("jawOpen")
        np.testing.assert_allclose(imported.expression[:, jaw], track.expression[:, jaw], atol=1e-6)
        np.testing.assert_allclose(imported.pose[:, :3], track.pose[:, :3], atol=1e-6)
    rendered = run_command("animate", sample.portrait, "b.csv.npz", "-o", "out.mp4", "--max-size", "128", "--quiet")
    assert rendered.code == 0 and len(read_video(tmp_path / "out.mp4")[0]) == FRAMES


def test_expression_names_in_bfm09_need_face_model(run_command, tmp_path):
    MotionTrack.neutral(3, "bfm09").save(tmp_path / "b.npz")
    assert run_command("edit", "b.npz", "-o", "c.npz", "--set", "exp12=0.5").code == 0
    refused = run_command("edit", "b.npz", "-o", "d.npz", "--set", "jawOpen=0.5")
    assert refused.code == 5 and "Set --bfm to the file" in refused.err and refused.err.count("\n") == 1
    savemat(tmp_path / "BFM09_model_info.mat", synthetic_bfm_arrays(face478.load()))
    model_option = ["--bfm", "BFM09_model_info.mat"]
    result = run_command("edit", "b.npz", "-o", "d.npz", "--set", "jawOpen=0.5", "--preset", "kiss=0.5", *model_option)
    assert result.code == 0 and "jawOpen: the face model represents all but" in result.err
    assert MotionTrack.load(tmp_path / "d.npz").expression[0, 0] == pytest.approx(1.5, rel=0.1)
    without = run_command("edit", "b.npz", "-o", "m.npz", "--mix", "d.npz", "--region", "mouth")
    assert (
        without.code == 5
        and "mouth: this region of the bfm09 space" in without.err
        and "Set --bfm to the file" in without.err
    )
    assert run_command("edit", "b.npz", "-o", "m.npz", "--mix", "d.npz", "--region", "mouth", *model_option).code == 0
    mixed, whole = MotionTrack.load(tmp_path / "m.npz"), MotionTrack.load(tmp_path / "d.npz")
    assert 0 < np.abs(mixed.expression).max() <= 1.5 * np.abs(whole.expression).max()
    wrong = run_command("edit", "b.npz", "-o", "e.npz", "--set", "jawOpen=0.5", "--bfm", "none.mat")
    assert wrong.code == 5 and "none.mat: no such file" in wrong.err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("TRACK", "-o", "x.npz", "--set", "jawopen=0.4"), 3, "--set: jawopen: unknown curve. Did you mean jawOpen"),
        (("TRACK", "-o", "x.npz", "--set", "jawOpen=7"), 3, "from -1 to 1.5"),
        (("TRACK", "-o", "x.npz", "--add", "yaw=nan"), 3, "'nan' is not a number"),
        (("TRACK", "-o", "x.npz", "--preset", "smirk"), 3, "smirk: unknown preset"),
        (("TRACK", "-o", "x.npz", "--keys", "none.csv"), 3, "none.csv: no such file"),
        (("TRACK", "-o", "x.npz", "--mix", "none.npz"), 3, "none.npz: no such file"),
        (("TRACK", "-o", "x.npz", "--region", "mouth"), 2, "--mix OTHER"),
        (("TRACK", "-o", "x.npz", "--mix", "TRACK", "--region", "chin"), 2, "unknown region 'chin'. Choose"),
        (("TRACK", "-o", "x.npz", "--strength", "9"), 3, "--strength: 9 is out of range"),
        (("TRACK", "-o", "x.npz", "--start", "60"), 3, "--start: 60 s is outside"),
        (("TRACK", "-o", "TRACK", "--set", "yaw=1", "--overwrite"), 4, "same file as an input"),
        (("TRACK", "-o", "x.mp4", "--set", "yaw=1"), 4, "a track has no image"),
        (("TRACK", "-o", "x.png", "--grid", "yaw=0:1:2"), 3, "--grid: renders a photo into one image. Give a photo"),
        (("TRACK",), 2, "INPUT or -o OUTPUT is missing. Give both"),
        (("PHOTO", "-o", "x.png", "--grid", "yaw=-30:30:0"), 3, "whole number from 1"),
        (("PHOTO", "-o", "x.png", "--grid", "yaw=-30:30"), 3, "NAME=FROM:TO:COUNT"),
        (
            ("PHOTO", "-o", "x.png", "--grid", "yaw=0:1:2", "pitch=0:1:2", "roll=0:1:2"),
            3,
            "--grid: more than two curves",
        ),
        (("PHOTO", "-o", "x.png", "--grid", "eyeBlink=0:1:2", "eyeBlinkLeft=0:1:2"), 3, "the same curve"),
        (("PHOTO", "-o", "x.mp4", "--grid", "yaw=0:1:2"), 3, "into one image"),
        (("PHOTO", "-o", "x.png", "--key", "1:yaw=3"), 3, "change over time"),
        (("PHOTO", "-o", "x.png", "--seconds", "3"), 3, "is one image"),
        (("PHOTO", "-o", "x.mp4", "--seconds", "0"), 2, "--seconds: 0 is out of range"),
        (("PHOTO", "-o", "x.mp4", "--frame-rate", "0"), 2, "--frame-rate: '0'"),
        (("DRIVER", "-o", "x.mp4", "--speed", "2"), 3, "the frame times of a video cannot change"),
        (("DRIVER", "-o", "x.mp4", "--seconds", "2"), 3, "--seconds: applies to photos only"),
        (("PHOTO", "-o", "x.mp4", "--smooth", "2"), 3, "--smooth: "),
    ],
)
def test_bad_edit_prints_one_error_line(run_command, sample, tmp_path, words, code, text):
    replacements = {"TRACK": sample.track, "PHOTO": sample.portrait, "DRIVER": sample.driver}
    result = run_command("edit", *(replacements.get(word, word) for word in words))
    assert result.code == code and text in result.err and result.err.count("\n") == 1, result.err
    assert list(tmp_path.iterdir()) == []


def test_list_prints_curves_and_presets(run_command):
    result = run_command("edit", "--list")
    assert (
        result.code == 0
        and "mouthSmile " in result.out
        and "-90 to 90 degrees" in result.out
        and "--preset surprise" in result.out
    )


def test_mix_refuses_track_of_other_space(run_command, sample, tmp_path):
    MotionTrack.neutral(3, "bfm09").save(tmp_path / "b.npz")
    result = run_command("edit", sample.track, "-o", "x.npz", "--mix", "b.npz")
    assert result.code == 3 and "bfm09 space, but the edited track is in face478" in result.err


def test_edit_keeps_unedited_values(run_command, sample, tmp_path):
    track = MotionTrack.load(sample.track)
    replace(track, identity=np.arange(80.0)).save(tmp_path / "a.npz")
    run_command("edit", "a.npz", "-o", "b.npz", "--add", "browDown=0.2")
    edited = MotionTrack.load(tmp_path / "b.npz")
    np.testing.assert_array_equal(edited.identity, np.arange(80.0))
    np.testing.assert_allclose(edited.pose, track.pose, atol=1e-6)
    np.testing.assert_array_equal(edited.pts, track.pts)
