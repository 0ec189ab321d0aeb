"""The released checkpoint from photo to video, with tiny weights in its layout."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.engines.diffusion import checkpoint, fallback
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.diffusion.pasting import FEATHER, paste_square
from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.weights import manifest
from tests.conftest import FRAMES, read_video, weights_at

SETTINGS = DenoiseSettings(length=6, overlap=2, steps=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


def options(device: str = "cpu", **changes) -> AnimateOptions:
    diffusion = DiffusionOptions(settings=replace(SETTINGS, **changes), device=device)
    return AnimateOptions(engine="diffusion", diffusion=diffusion, output_mode="crop")


def load_frames(path: Path) -> np.ndarray:
    return np.stack(read_video(path)[0]).astype(int)


@pytest.fixture(scope="module")
def plain(sample, tiny_weights, cache, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "out.mp4"
    with weights_at(tiny_weights):
        return animate(sample.portrait, sample.driver, path, options(), cache=cache)


def test_result_reports_engine_and_settings(plain, sample, cache):
    assert (plain.engine, plain.engine_reason, plain.frames) == ("diffusion", "requested", FRAMES)
    assert plain.audio == "driver" and (plain.width, plain.height) == (512, 512)
    settings = plain.engine_settings
    assert settings["running_on"] == "cpu fp32" and settings["steps"] == 2 and settings["preset"] == "release"
    assert (settings["clips_made"], settings["clips_resumed"]) == (3, 0)
    images = load_frames(plain.output)
    assert len(images) == FRAMES and images.std() > 2
    assert cache.unfinished() == [] and [entry.space for entry in cache.entries()] == ["bfm09"]


def test_next_video_of_a_photo_reuses_networks_and_features(
    plain, sample, installed_tiny_weights, cache, tmp_path, monkeypatch
):
    first = animate(sample.portrait, sample.driver, tmp_path / "first.mp4", options(), cache=cache)
    for name in ("load_networks", "load_portrait_networks"):
        monkeypatch.setattr(checkpoint, name, lambda *_, **__: pytest.fail("loaded again"))
    again = animate(sample.portrait, sample.driver, tmp_path / "again.mp4", options(), cache=cache)
    assert (load_frames(first.output) == load_frames(plain.output)).all() and (
        load_frames(again.output) == load_frames(plain.output)
    ).all()
    Image.open(sample.portrait).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "other.png")
    with pytest.raises(pytest.fail.Exception, match=r"loaded again"):  # another photo needs its own features
        animate(tmp_path / "other.png", sample.driver, tmp_path / "other.mp4", options(), cache=cache)
    monkeypatch.undo()
    with weights_at(installed_tiny_weights):
        other = animate(tmp_path / "other.png", sample.driver, tmp_path / "other.mp4", options(), cache=cache)
    assert np.abs(load_frames(other.output) - load_frames(plain.output)).mean() > 0.5


def test_seed_decides_the_frames(plain, sample, installed_tiny_weights, cache, tmp_path):
    again = animate(sample.portrait, sample.driver, tmp_path / "again.mp4", options(), cache=cache)
    assert again.driver_cached and (load_frames(again.output) == load_frames(plain.output)).all()
    other = animate(sample.portrait, sample.driver, tmp_path / "other.mp4", options(seed=1), cache=cache)
    assert np.abs(load_frames(other.output) - load_frames(plain.output)).mean() > 0.5


def test_resume_continues_at_first_unfinished_clip(plain, sample, installed_tiny_weights, cache, tmp_path):
    class StopError(Exception):
        pass

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "animating" and done == 5:
            raise StopError

    with pytest.raises(StopError):
        animate(sample.portrait, sample.driver, tmp_path / "a.mp4", options(), cache=cache, progress=stop)
    assert list(tmp_path.iterdir()) == [] and len(cache.unfinished()) == 1
    result = animate(sample.portrait, sample.driver, tmp_path / "a.mp4", options(), cache=cache)
    settings = result.engine_settings
    assert settings["clips_resumed"] >= 1 and settings["clips_made"] + settings["clips_resumed"] == 3
    assert (load_frames(result.output) == load_frames(plain.output)).all() and cache.unfinished() == []


def test_warm_start_begins_from_mesh_renders_and_refuses_a_finished_track(
    plain, sample, installed_tiny_weights, cache, tmp_path
):
    warm = animate(sample.portrait, sample.driver, tmp_path / "warm.mp4", options(warm_start=0.5), cache=cache)
    assert warm.frames == FRAMES and np.abs(load_frames(warm.output) - load_frames(plain.output)).mean() > 0.5
    track = tmp_path / "track.npz"
    load_driver(sample.driver, ExtractOptions(), cache, space="bfm09").track.save(track)
    with pytest.raises(InputError, match=r"is a track, but a warm start needs the driver's video.*`warm_start=0`"):
        animate(sample.portrait, track, tmp_path / "b.mp4", options(warm_start=0.5))
    assert animate(sample.portrait, track, tmp_path / "b.mp4", options()).audio == "none"


def test_track_of_another_space_is_refused_with_the_fix(sample, installed_tiny_weights, tmp_path):
    with pytest.raises(InputError, match=r"face478 space, but the diffusion engine needs bfm09.*`space=bfm09`"):
        animate(sample.portrait, sample.track, tmp_path / "a.mp4", options())
    MotionTrack.neutral(2, "bfm09").save(tmp_path / "b.npz")
    with pytest.raises(InputError, match=r"bfm09 space, but the mesh engine needs face478"):
        animate(sample.portrait, tmp_path / "b.npz", tmp_path / "a.mp4", AnimateOptions(engine="mesh"))


def test_clips_longer_than_the_model_allows_are_refused(sample, installed_tiny_weights, cache, tmp_path):
    with pytest.raises(InputError, match=r"length: 40 is out of range. Give at most 32 frames"):
        animate(sample.portrait, sample.driver, tmp_path / "a.mp4", options(length=40), cache=cache)


def test_damaged_checkpoint_is_a_one_line_error(sample, installed_tiny_weights, tmp_path):
    broken = shutil.copytree(installed_tiny_weights, tmp_path / "weights", symlinks=True)
    path = broken / "mimaface/video/mia.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with weights_at(broken), pytest.raises(WeightsError, match=r"mimaface/video/mia.safetensors.*mimaface weights"):
        animate(sample.portrait, sample.driver, tmp_path / "a.mp4", options())


@pytest.mark.parametrize("name", ["image/unet", "video/mia", "video/clip", "d3dfr", "arcface"])
def test_checkpoint_with_nan_is_reported_before_the_first_clip(
    sample, installed_tiny_weights, tmp_path, monkeypatch, name
):
    broken = shutil.copytree(installed_tiny_weights, tmp_path / "weights", symlinks=True)
    path = broken / f"mimaface/{name}.safetensors"
    with safe_open(path, "pt") as file:
        state, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    key = [key for key, value in state.items() if value.is_floating_point()][-1]
    state[key].view(-1)[0] = float("nan")
    save_file(state, path, metadata)
    info = path.stat()
    entry = manifest.ManifestEntry(info.st_size, info.st_mtime_ns, manifest.sha256_of(path), "a release", "0" * 64)
    manifest.record(broken, f"mimaface/{name}.safetensors", entry)
    monkeypatch.setattr(fallback, "denoise_clip", lambda *_: pytest.fail("a clip was denoised"))
    with weights_at(broken), pytest.raises(WeightsError, match=rf"{name}\.safetensors.*: {key} contains NaN or Inf"):
        animate(sample.portrait, sample.driver, tmp_path / "a.mp4", options(), cache=Cache(tmp_path / "cache"))


def test_square_is_blended_into_the_photo(sample):
    photo = np.full((300, 400, 3), 50, np.uint8)
    unused = np.zeros(1)
    portrait = Portrait(photo, np.full((300, 400), 9, np.uint8), *[unused] * 6)
    to_square = np.array([[2.56, 0, -256.0], [0, 2.56, -128.0]])  # the square covers x 100..300, y 50..250
    inner = np.full((512, 512, 3), 200, np.uint8)
    closed = []

    def frames():
        try:
            yield inner
        finally:
            closed.append(True)

    (result,) = paste_square(frames(), portrait, to_square)
    assert result.shape == (300, 400, 4) and (result[..., 3] == 9).all() and closed
    edge = FEATHER / 2.56
    assert (result[100:200, 150:250, :3] == 200).all()
    assert (result[:49, :, :3] == 50).all() and (result[:, :99, :3] == 50).all() and (result[252:, :, :3] == 50).all()
    row = result[150, 99 : int(102 + edge), 0].astype(int)
    assert (np.diff(row) >= 0).all() and row[0] <= 52 and row[-1] >= 198
    assert transform_points(to_square, np.array([[100.0, 50.0]]))[0] == pytest.approx([0, 0])
