"""The small model's training: exact resumption, what each stage may touch, and the autoencoder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimaface_cli.errors import InputError
from mimaface_cli.train.augment import photometric
from mimaface_cli.train.autoencoder import AutoencoderSettings, fit_autoencoder, load_autoencoder, standardise
from mimaface_cli.train.mini import learn
from mimaface_cli.train.mini.data import Clips, read_clips, write_clip
from mimaface_cli.train.mini.learn import CURVE, Encoded, Stage, load_trained, train_image, train_video
from mimaface_cli.train.mini.networks import Size

SIZE = Size(channels=(8, 16), attention=(False, True), heads=2, tokens=16, adapter=1, clip=16, clip_layers=1,
            clip_image=16, patch=8)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Encoded:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (6, 8, 16, 16, 3), np.uint8)
    clips = Clips(pictures, pictures, pictures[:, 0], rng.normal(size=(6, 8, 74)).astype(np.float32), np.arange(6) // 2)
    latents = torch.randn(6, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    return Encoded(clips, latents, latents + 0.1)


def test_the_photometric_view_changes_colours_and_keeps_places():
    pictures = torch.zeros(16, 3, 16, 16) - 0.5
    pictures[:, :, 4:12, 4:12] = 0.6
    view = photometric(pictures, torch.Generator().manual_seed(0))
    assert view.abs().max() <= 1 and (view - pictures).abs().mean() > 0.05
    assert ((view[:, :, 5:11, 5:11].mean((1, 2, 3)) - view[:, :, :3].mean((1, 2, 3))) > 0.2).all()


def test_a_stopped_run_goes_on_exactly(data, tmp_path):
    stage = Stage(steps=6, batch=4, rate=1e-3, warm_up=2, bank=16)
    whole = train_image(tmp_path / "whole", data, SIZE, stage)

    class Stopped(Exception):
        pass

    original = learn.Run.save

    def save_and_stop(run):
        original(run)
        if run.step == 3:
            raise Stopped

    loop = learn.Run.loop
    try:
        learn.Run.save = save_and_stop
        learn.Run.loop = lambda run, losses, report, name, save_every=3: loop(run, losses, report, name, 3)
        with pytest.raises(Stopped):
            train_image(tmp_path / "parts", data, SIZE, stage)
    finally:
        learn.Run.save, learn.Run.loop = original, loop
    resumed = train_image(tmp_path / "parts", data, SIZE, stage)
    for name, module in whole.modules().items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, resumed.modules()[name].state_dict()[key]), (name, key)
    assert (tmp_path / "whole" / CURVE).read_text().startswith("step,denoise,identity,seconds\n6,")


def test_stage_two_trains_motion_modules_and_w_cond_alone(data, tmp_path):
    image = train_image(tmp_path / "image", data, SIZE, Stage(steps=2, batch=4))
    before = {key: value.clone() for key, value in image.unet.state_dict().items()}
    tokens = {key: value.clone() for key, value in image.mia.state_dict().items()}
    stage = Stage(steps=4, batch=2, frames=8, rate=1e-2, warm_up=0, ema=0.0)
    video = train_video(tmp_path / "video", image, data, SIZE, stage)
    after = video.unet.state_dict()
    for key, value in before.items():
        if key == "conv_in.weight":
            assert torch.equal(after[key][:, :8], value[:, :8]) and not torch.equal(after[key][:, 8:], value[:, 8:])
        else:
            assert torch.equal(after[key], value), key
    assert all(torch.equal(video.mia.state_dict()[key], value) for key, value in tokens.items())
    assert any(value.abs().sum() > 0 for key, value in after.items() if "motion_modules" in key and "proj_out.weight" in key)
    again, steps = load_trained(tmp_path / "video", SIZE, video=True)
    assert steps == 4 and torch.equal(again.unet.state_dict()["conv_in.weight"], after["conv_in.weight"])
    without = train_video(tmp_path / "no_ica", image, data, SIZE, replace(stage, ica=False))
    assert torch.equal(without.unet.conv_in.weight, before["conv_in.weight"])


def test_eight_clips_are_learnt_by_heart(data, tmp_path):
    losses = []
    stage = Stage(steps=150, batch=6, rate=4e-3, warm_up=10, drop=0.0, identity=0.0, snr=0.0)
    train_image(tmp_path, data, SIZE, stage, report=lambda *a: losses.append(a[3]["denoise"]))
    assert losses[-1] < 0.75 * losses[0]


def test_standardised_latents_decode_to_the_same_picture():
    torch.manual_seed(0)
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(**AutoencoderSettings(channels=(8, 8)).config(16)).eval().requires_grad_(False)
    pictures = torch.rand(8, 3, 16, 16) * 2 - 1
    before = vae.decode(vae.encode(pictures).latent_dist.mode()).sample
    standardise(vae, iter([pictures]))
    latents = vae.encode(pictures).latent_dist.mode()
    np.testing.assert_allclose(latents.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(latents.std((0, 2, 3)), 1, atol=1e-3)
    np.testing.assert_allclose(vae.decode(latents).sample, before, atol=1e-4)


def test_the_autoencoder_learns_and_resumes(tmp_path):
    colours = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1

    def batches(first):
        while True:
            yield colours

    seen = []
    settings = AutoencoderSettings(channels=(16, 16), norm_groups=4, steps=100, rate=3e-3, edges=0.0)
    fit_autoencoder(batches, 16, settings, tmp_path, report=lambda *a: seen.append(a[2]["psnr"]))
    assert seen[-1] > max(seen[0], 20)  # grey alone gives 11
    again = []
    fit_autoencoder(batches, 16, settings, tmp_path, report=lambda *a: again.append(a))
    assert not again  # it was done
    assert load_autoencoder(tmp_path).config.scaling_factor == 1.0
    with pytest.raises(InputError, match="multiple of 2"):
        AutoencoderSettings(channels=(8, 8)).config(15)


def test_damaged_and_unlike_clips_are_named(tmp_path):
    pictures = np.zeros((4, 16, 16, 3), np.uint8)
    write_clip(tmp_path / "a.npz", "one", pictures, pictures, pictures[0], np.zeros((4, 74)))
    assert len(read_clips([tmp_path / "a.npz"])) == 1
    small = np.zeros((4, 8, 8, 3), np.uint8)
    write_clip(tmp_path / "b.npz", "two", small, small, small[0], np.zeros((4, 74)))
    with pytest.raises(InputError, match="b.npz: does not fit"):
        read_clips(sorted(tmp_path.glob("*.npz")))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(InputError, match="b.npz: is no clip"):
        read_clips(sorted(tmp_path.glob("*.npz")))
    with pytest.raises(InputError, match="4 frames where 5"):
        read_clips([tmp_path / "a.npz"], 5)
    with pytest.raises(InputError, match="holds no clips"):
        read_clips([])


def test_an_unknown_key_is_named_with_the_nearest(tmp_path):
    from mimaface_cli.train.mini.__main__ import read_config

    path = tmp_path / "config.toml"
    path.write_text("[image]\nstep = 3\n")
    with pytest.raises(InputError, match=r"\[image\] step is not known; did you mean steps\?"):
        read_config(path)
    path.write_text("[size]\nchannels = [12, 16]\nattention = [true, true]\n")
    with pytest.raises(InputError, match="channels .* must be multiples of 8"):
        read_config(path)
    path.write_text("[prepare]\nsize = 64\n[video]\nframes = 8\n")
    config = read_config(path)
    assert config["prepare"]["size"] == 64 and config["video"].frames == 8 and config["video"].steps == 30_000


def test_the_example_config_holds_the_defaults():
    from pathlib import Path

    from mimaface_cli.train.mini.__main__ import read_config

    assert read_config(Path(__file__).parents[2] / "examples" / "mini.toml") == read_config(None)
