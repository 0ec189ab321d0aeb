"""A small model from scratch on rendered people: what settings leave out, exact resumption however the samples come, and
the autoencoder.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from mimaface_cli.builders.rendered_people.rendered_shards import Cast, render_shards
from mimaface_cli.errors import InputError
from mimaface_cli.training.autoencoder import load_autoencoder, standardize_latents, train_autoencoder
from mimaface_cli.training.config import AutoencoderConfig, OptimizerConfig, TrainingConfig
from mimaface_cli.training.config_reader import build_config, load_config
from mimaface_cli.training.initialization import rebuild_network
from mimaface_cli.training.run_checkpoints import read_stage_result
from mimaface_cli.training.shard_reader import open_shards
from mimaface_cli.training.stages import train_image, train_video
from tests.conftest import ROOT

CAST = Cast(people=4, takes=2, frames=4, size=32)
SIZE = {"channels": [8, 16], "attention": [False, True], "heads": 2, "tokens": 16, "adapter": 1, "clip": 16, "clip_layers": 1,
        "clip_image": 16, "patch": 8}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    render_shards(CAST, folder)
    return folder


@pytest.fixture
def config(data, tmp_path):
    """A run of a few steps; changes by section, `output` by name."""

    def make(output: str = "run", steps: int = 4, **changes) -> TrainingConfig:
        optimizer = {"steps": steps, "batch": 4, "learning_rate": 1e-3, "schedule": "cosine", "warm_up": 2, "ema": 0.9}
        values = {
            "data": str(data),
            "output": str(tmp_path / output),
            "space": "face478",
            "size": CAST.size,
            "workers": 0,
            "save_every": 2,
            "cache_latents": True,
            "model": {"start": "scratch", "size": SIZE,
                      "autoencoder": {"channels": [8, 8, 8], "norm_groups": 4, "steps": 4, "batch": 2}},
            "image": {"optimizer": optimizer, "bank": 16, "temperature": 0.1},
            "video": {"optimizer": optimizer | {"batch": 2}, "clip": 4},
        }  # fmt: skip
        for section, value in changes.items():
            values[section] = {**values[section], **value} if isinstance(value, dict) else value
        return build_config(values)

    return make


def curve(config: TrainingConfig, stage: str = "image") -> list[list[float]]:
    lines = (Path(config.output) / stage / "losses.csv").read_text().splitlines()[1:]
    return [[float(value) for value in line.split(",")] for line in lines]


def result(config: TrainingConfig, stage: str = "image"):
    return rebuild_network(read_stage_result(Path(config.output), stage)).eval()


def test_the_rate_rises_and_falls():
    optimizer = OptimizerConfig(steps=100, learning_rate=1.0, schedule="cosine", warm_up=10)
    rates = [optimizer.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3) and max(rates) == rates[9] > 0.97
    assert 0.02 < rates[99] < 0.025 and all(a > b for a, b in zip(rates[9:], rates[10:]))
    assert {OptimizerConfig(learning_rate=1e-5).rate(step) for step in (0, 5, 29_999)} == {1e-5}


@pytest.mark.parametrize("cached", [True, False])
def test_a_stopped_run_goes_on_exactly(config, cached):
    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "image" and done == 3:  # a step after a checkpoint
            raise Stopped

    whole, parts = (config(name, 5, cache_latents=cached) for name in ("whole", "parts"))
    train_image(whole)
    with pytest.raises(Stopped):
        train_image(parts, stop)
    train_image(parts)
    assert curve(parts) == curve(whole) and len(curve(whole)) == 5
    one, other = result(whole).state_dict(), result(parts).state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_identity_loss_over_the_batch_alone(config):
    run = config("current", image={"bank": 0})
    train_image(run)
    losses = [row[2] for row in curve(run)]
    assert len(losses) == 4 and all(0 < value < 10 for value in losses)


def test_latents_encoded_once_are_those_of_each_step(config):
    once, always = config("once"), config("always", cache_latents=False)
    train_image(once)
    train_image(always)
    np.testing.assert_allclose(curve(once), curve(always), rtol=1e-4)
    assert len(list(Path(once.data).glob("latents-*.npy"))) == 1


def test_workers_give_the_same_samples(config):
    alone, helped = config("alone", cache_latents=False), config("helped", cache_latents=False, workers=2)
    train_image(alone)
    train_image(helped)
    assert curve(alone) == curve(helped)


def test_what_is_left_out_has_no_part_in_the_model(config):
    # Stage 2 trains the same parts here, as the release does: they must not learn it then either.
    more = {"whole_input": True, "train_tokens": True}
    blind = config("blind", model={"use_render": False, "use_motion": False}, video=more)
    train_image(blind)
    train_video(blind)
    network = result(blind, "video")
    weight = network.unet.conv_in.weight
    assert not weight[:, 4:8].any() and weight[:, :4].any() and weight[:, 8:].any()
    assert all(not embed.weight.any() and embed.bias.any() for embed in network.mia.embed.values())
    whole = config("whole")
    train_image(whole)
    assert result(whole).unet.conv_in.weight[:, 4:8].any()


def _moved(run: TrainingConfig) -> set[str]:
    """The parts whose weights stage 2 changed."""
    before, after = result(run).state_dict(), result(run, "video").state_dict()
    names = [name for name in before if not torch.equal(before[name], after[name])]
    return {".".join(name.split(".")[:2]) if name.startswith("unet.") else name.split(".")[0] for name in names}


def test_stage_2_trains_what_the_paper_or_the_release_says(config):
    size = SIZE | {"clip_layers": 3}
    run = config(model={"size": size})
    train_image(run)
    train_video(run)
    assert _moved(run) == {"unet.conv_in"}
    first, then = result(run).unet.conv_in, result(run, "video").unet.conv_in
    assert torch.equal(first.weight[:, :8], then.weight[:, :8]) and torch.equal(first.bias, then.bias)

    like_release = {"whole_input": True, "train_tokens": True, "clip_layers": 2}
    run = config("release", model={"size": size}, video=like_release)
    train_image(run)
    train_video(run)
    assert _moved(run) == {"unet.conv_in", "mia", "clip"}
    before, after = result(run), result(run, "video")
    assert not torch.equal(before.unet.conv_in.weight[:, :8], after.unet.conv_in.weight[:, :8])
    assert not torch.equal(before.unet.conv_in.bias, after.unet.conv_in.bias)
    still = [torch.equal(x, y) for x, y in zip(before.clip.parameters(), after.clip.parameters())]
    names = [name for (name, _), same in zip(before.clip.named_parameters(), still) if not same]
    assert names and all("layers.1." in name or "layers.2." in name for name in names)

    with pytest.raises(InputError, match="clip_layers: is 4, but the appearance encoder has 3"):
        train_video(config("release", model={"size": size}, video=like_release | {"clip_layers": 4}))


def test_without_ica_the_conditioning_channels_never_learn(config):
    for share, moves in ((0.0, True), (1.0, False)):
        run = config(f"share{share:.0f}", video={"none_known": share})
        train_image(run)
        folder = train_video(run)
        from mimaface_cli.weights.small_model import read_card

        assert bool(result(run, "video").unet.conv_in.weight[:, 8:].any()) is moves
        assert read_card(folder).settings["overlap"] == (1 if moves else 0)
        assert read_card(folder).condition == "render"


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_eight_clips_are_learned_by_heart(config, prediction):
    from mimaface_cli.weights.small_model import read_card

    optimizer = {"steps": 80, "batch": 8, "learning_rate": 4e-3, "schedule": "cosine", "warm_up": 10, "ema": 0.9}
    changes = {
        "image": {"optimizer": optimizer, "identity_weight": 0.0, "token_dropout": 0.0},
        "model": {"prediction": prediction},
    }
    run = config(save_every=200, **changes)
    train_image(run)
    losses = np.array(curve(run))[:, 1]
    assert losses[-15:].mean() < 0.8 * losses[:10].mean()
    assert read_card(train_video(run)).prediction == prediction


def test_rendering_goes_on_and_keeps_to_its_cast(data, tmp_path):
    folder = tmp_path / "clips"
    cast = Cast(people=36, takes=2, frames=1, size=32)

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int | None) -> None:
        if done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        render_shards(cast, folder, 1, stop)
    first = folder / "shard-00000.tar"
    before = first.stat().st_mtime_ns
    index = render_shards(cast, folder, 2)
    assert index.shards == 2 and first.stat().st_mtime_ns == before
    clips = open_shards(folder)
    assert len(clips) == 72 and len({clip.identity for clip in clips}) == 36
    with pytest.raises(InputError, match="was prepared with condition render"):
        render_shards(Cast(**{**asdict(cast), "condition": "textured"}), folder)


def test_standardised_latents_decode_to_the_same_picture():
    torch.manual_seed(0)
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(**AutoencoderConfig(channels=(8, 8)).network_config(16)).eval().requires_grad_(False)
    pictures = torch.rand(8, 3, 16, 16) * 2 - 1
    before = vae.decode(vae.encode(pictures).latent_dist.mode()).sample
    standardize_latents(vae, iter([pictures]))
    latents = vae.encode(pictures).latent_dist.mode()
    np.testing.assert_allclose(latents.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(latents.std((0, 2, 3)), 1, atol=1e-3)
    np.testing.assert_allclose(vae.decode(latents).sample, before, atol=1e-4)


def test_the_autoencoder_learns_and_resumes(tmp_path):
    colors = (
        torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
        .repeat_interleave(8, 2)
        .repeat_interleave(8, 3)
        * 2
        - 1
    )

    def batches(first):
        while True:
            yield colors

    seen = []
    settings = AutoencoderConfig(channels=(16, 16), norm_groups=4, steps=100, rate=3e-3, edges=0.0)
    train_autoencoder(batches, 16, settings, tmp_path, report=lambda *a: seen.append(a[2]["psnr"]))
    assert seen[-1] > max(seen[0], 20)  # gray alone gives 11
    again = []
    train_autoencoder(batches, 16, settings, tmp_path, report=lambda *a: again.append(a))
    assert not again  # it was done
    assert load_autoencoder(tmp_path).config.scaling_factor == 1.0
    with pytest.raises(InputError, match="multiple of 2"):
        AutoencoderConfig(channels=(8, 8)).network_config(15)


def test_the_example_config_holds():
    config = load_config(ROOT / "examples" / "mini.toml")
    assert config.model.start == "scratch" and config.size == 128 and config.video.clip == 12
