"""The way from source and driver to a file, as a library: early checks, the cache, sizes, what is cleaned up."""

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.apps import doctor
from mimaface_cli.apps import drivers as tracks
from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.drivers import load_driver
from mimaface_cli.apps.outputs import check_target, is_video, keeps_alpha
from mimaface_cli.apps.side_by_side import panels, side_by_side
from mimaface_cli.apps.sources import opaque, picture_size
from mimaface_cli.cache import Cache
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.image import Image
from mimaface_cli.media.reader import probe
from tests.conftest import FRAMES, NTSC, read_video


def test_a_driver_is_decoded_once(sample, tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    seen = []
    first = load_driver(sample.driver, ExtractOptions(), cache, lambda done, total: seen.append((done, total)))
    assert not first.cached and first.kept and first.has_audio and first.kind == "video" and first.missing == []
    assert seen == [(k + 1, FRAMES) for k in range(FRAMES)]

    monkeypatch.setattr(tracks, "read_frames", None)  # nothing is decoded any more
    second = load_driver(sample.driver, ExtractOptions(), cache)
    assert second.cached and np.array_equal(second.track.pose, first.track.pose)
    with pytest.raises(TypeError):
        load_driver(sample.driver, ExtractOptions(smooth=2), cache)


def test_a_driver_that_changes_meanwhile_is_not_kept(sample, tmp_path):
    driver = tmp_path / "a.mp4"
    driver.write_bytes(sample.driver.read_bytes())
    cache = Cache(tmp_path / "cache")

    def touch(done: int, total: int | None) -> None:
        driver.touch()

    assert not load_driver(driver, ExtractOptions(), cache, touch).kept
    assert cache.entries() == []


@pytest.mark.parametrize("stage", ["reading the driver", "animating"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_whatever_stops_it_leaves_no_file_and_no_thread(sample, tmp_path, stage, stop):
    before = set(threading.enumerate())

    def report(now: str, done: int, total: int | None) -> None:
        if now == stage and done == 3:
            raise stop

    with pytest.raises(stop):
        animate(sample.portrait, sample.driver, tmp_path / "a.mp4", AnimateOptions(compare=True), report=report)
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) <= before


def test_progress_goes_to_its_end(sample, tmp_path):
    seen: dict[str, list] = {}
    result = animate(
        sample.portrait,
        sample.driver,
        tmp_path / "a.mkv",
        AnimateOptions(audio=str(sample.sound), encode=EncodeOptions(codec="hevc", crf=30, preset="ultrafast")),
        report=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)),
    )
    assert list(seen) == ["reading the driver", "animating"]
    assert all(steps == [(k + 1, FRAMES) for k in range(FRAMES)] for steps in seen.values())
    assert result.frames == FRAMES and result.frame_rate == NTSC and result.audio == str(sample.sound)


def test_transparency_only_where_it_can_be_kept(tmp_path):
    rgb = np.full((2, 2, 3), 200, np.uint8)
    alpha = np.array([[255, 0], [128, 255]], np.uint8)
    assert opaque(Image(rgb, alpha))[..., 0].tolist() == [[200, 0], [100, 200]]
    assert opaque(Image(rgb, None)) is rgb
    kept = {"a.png": True, "a.webp": True, "a.TIF": True, "a.jpg": False, "a.mp4": False, "a.mov": False}
    assert {name: keeps_alpha(Path(name)) for name in kept} == kept
    assert keeps_alpha(tmp_path) and not is_video(tmp_path)
    assert is_video(Path("a.mkv")) and not is_video(Path("x/%05d.png"))


def test_sizes_are_known_beforehand(sample):
    info = probe(sample.portrait)
    assert picture_size(info, AnimateOptions()) == (512, 512)
    assert picture_size(info, AnimateOptions(max_size=100)) == (100, 100)
    assert picture_size(info, AnimateOptions(output_mode="crop", max_size=100)) == (512, 512)


@pytest.mark.parametrize("left_out", [0, 3])
def test_panels_share_a_height(sample, tmp_path, left_out):
    """A tall source, a square driver and a wide result: proportions stay; a track has no picture to show."""
    Pillow.new("RGB", (100, 300), (200, 0, 0)).save(tmp_path / "tall.png")
    tall = probe(tmp_path / "tall.png")
    three = panels((400, 200), tall, probe(sample.driver))
    assert three.widths == [67, 200, 400] and three.size == (667, 200)
    assert panels((3840, 2160), tall, None).size == (360 + 1920, 1080)

    pts = np.array([0.0, 0.1, 0.25])
    result = iter([np.full((200, 400, 3), 7 * k, np.uint8) for k in range(3)])
    joined = list(side_by_side((frame for frame in result), three, pts, [0.0, float(left_out / NTSC)]))
    assert [frame.shape for frame in joined] == [(200, 667, 3)] * 3
    driver = read_video(sample.driver)[0]
    for k, frame in enumerate(joined):
        assert (frame[:, :67] == (200, 0, 0)).all() and (frame[:, 267:] == 7 * k).all()
        at = left_out + int(pts[k] * NTSC)  # the frame that is on the screen then
        small = np.asarray(Pillow.fromarray(driver[at]).resize((200, 200), Pillow.Resampling.BOX))
        assert np.abs(frame[:, 67:267].astype(float) - small).mean() < 4


def test_targets(tmp_path):
    size, encode = (64, 48), EncodeOptions()
    for name in ("a.mp4", "a.webm", "a.png", "new/%04d.webp"):
        check_target(tmp_path / name, size, encode, frames=1)
    check_target(tmp_path / "a.png", size, encode, frames=None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="one frame and 2"):
        check_target(tmp_path / "a.png", size, encode, frames=2)
    with pytest.raises(OutputError, match="too small"):
        check_target(tmp_path / "a.mov", size, EncodeOptions(codec="dnxhr"))
    (tmp_path / "a.mp4").touch()
    check_target(tmp_path / "a.mp4", size, encode, overwrite=True)
    with pytest.raises(OutputError, match="same file"):
        check_target(tmp_path / "a.mp4", size, encode, overwrite=True, inputs=(tmp_path / "a.mp4",))


def test_animate_options_refuse_unknown_driver_face():
    with pytest.raises(InputError, match="^driver_face: unknown face selector"):
        AnimateOptions(driver_face="9")


def test_doctor_tries_what_is_installed(monkeypatch):
    def load(name: str):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file:\nNo such file or directory")

    monkeypatch.setattr(doctor.importlib, "import_module", load)
    mesh = doctor.examine()["engines"]["mesh"]
    assert not mesh["ready"]
    assert mesh["missing"] == [
        "package opencv-contrib-python cannot be loaded "
        "(libGL.so.1: cannot open shared object file: No such file or directory)"
    ]


def test_frames_of_a_source_that_moves_follow_its_clock(sample, tmp_path):
    """A driver of a single frame drives the whole source; times stay the source's."""
    Pillow.fromarray(read_video(sample.driver)[0][FRAMES // 2]).save(tmp_path / "open.png")
    options = AnimateOptions(output_mode="crop", encode=EncodeOptions(preset="ultrafast"))
    result = animate(sample.driver, tmp_path / "open.png", tmp_path / "a.mp4", options)
    assert result.frames == FRAMES and (result.width, result.height) == (512, 512) and result.audio == "none"
    images, times = read_video(tmp_path / "a.mp4")
    assert times == [k / NTSC for k in range(FRAMES)] and len(images) == FRAMES
    assert result.duration == pytest.approx(float(FRAMES / Fraction(NTSC)))
