"""Both stages on a small model from scratch with rendered people."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mimaface_cli.errors import InputError
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.stages import train_image, train_video
from mimaface_cli.weights.small_model import read_card
from tests.training.small_runs import (
    NETWORK_SIZE,
    InterruptionError,
    assert_equal_states,
    copy_image_stage,
    interrupt_at,
    load_result,
    read_losses,
    small_config,
)

STEPS = 5
DEEP_ENCODER = {"size": NETWORK_SIZE | {"clip_layers": 3}}


@pytest.fixture(scope="module")
def trained(rendered_data, tmp_path_factory):
    """Train stage 1 of a configuration once per set of changes. Read-only."""
    folder, runs = tmp_path_factory.mktemp("trained"), dict[str, TrainingConfig]()

    def train(name: str, **changes) -> TrainingConfig:
        if name not in runs:
            runs[name] = small_config(rendered_data, folder / name, STEPS, **changes)
            train_image(runs[name])
        return runs[name]

    return train


@pytest.fixture
def make_config(rendered_data, tmp_path):
    """Build a configuration by the name of its output."""

    def make(name: str, **changes) -> TrainingConfig:
        return small_config(rendered_data, tmp_path / name, STEPS, **changes)

    return make


@pytest.mark.parametrize("cache_latents", [True, False])
def test_resumed_image_stage_equals_uninterrupted_one(trained, make_config, cache_latents):
    complete = trained(f"cached {cache_latents}", cache_latents=cache_latents)
    resumed = make_config("resumed", cache_latents=cache_latents)
    with pytest.raises(InterruptionError):
        train_image(resumed, interrupt_at(3, "image"))  # One step after a checkpoint.
    train_image(resumed)
    assert read_losses(resumed) == read_losses(complete)
    assert len(read_losses(complete)) == STEPS
    assert_equal_states(load_result(complete).state_dict(), load_result(resumed).state_dict())


def test_image_stage_trains_identity_loss_without_memory_bank(make_config):
    run = make_config("batch_negatives", image={"bank": 0})
    train_image(run)
    identity = [row[2] for row in read_losses(run)]
    assert len(identity) == STEPS
    assert all(0 < value < 10 for value in identity)


def test_cached_latents_have_the_losses_of_encoding_at_each_step(trained):
    cached, encoded = trained("cached True", cache_latents=True), trained("cached False", cache_latents=False)
    np.testing.assert_allclose(read_losses(cached), read_losses(encoded), rtol=1e-4)
    assert len(list(Path(cached.data).glob("latents-*.npy"))) == 1


def test_worker_processes_load_the_same_samples(trained, make_config):
    run = make_config("workers", cache_latents=False, workers=2)
    train_image(run)
    assert read_losses(run) == read_losses(trained("cached False", cache_latents=False))


def test_disabled_inputs_keep_zero_weights_through_both_stages(trained, make_config):
    # Stage 2 trains the whole input convolution and the tokens, as in the release: the masks must apply there too.
    video = {"whole_input": True, "train_tokens": True}
    run = make_config("ablated", model={"use_render": False, "use_motion": False}, video=video)
    train_image(run)
    train_video(run)
    network = load_result(run, "video")
    weight = network.unet.conv_in.weight
    assert not weight[:, 4:8].any()
    assert weight[:, :4].any()
    assert weight[:, 8:].any()
    assert all(not embed.weight.any() and embed.bias.any() for embed in network.mia.embed.values())
    assert load_result(trained("cached True", cache_latents=True)).unet.conv_in.weight[:, 4:8].any()


def changed_modules(run: TrainingConfig) -> set[str]:
    """Return the modules of stage 1 that stage 2 changed."""
    before, after = load_result(run).state_dict(), load_result(run, "video").state_dict()
    names = [name for name in before if not torch.equal(before[name], after[name])]
    return {".".join(name.split(".")[:2]) if name.startswith("unet.") else name.split(".")[0] for name in names}


def test_video_stage_changes_only_conditioning_channels_of_image_stage(trained, make_config, tmp_path):
    copy_image_stage(trained("deep encoder", model=DEEP_ENCODER), tmp_path / "paper")
    run = make_config("paper", model=DEEP_ENCODER)
    train_video(run)
    assert changed_modules(run) == {"unet.conv_in"}
    before, after = load_result(run).unet.conv_in, load_result(run, "video").unet.conv_in
    assert torch.equal(before.weight[:, :8], after.weight[:, :8])
    assert torch.equal(before.bias, after.bias)


def test_video_stage_trains_input_tokens_and_last_encoder_layers_as_released(trained, make_config, tmp_path):
    copy_image_stage(trained("deep encoder", model=DEEP_ENCODER), tmp_path / "release")
    video = {"whole_input": True, "train_tokens": True, "clip_layers": 2}
    run = make_config("release", model=DEEP_ENCODER, video=video)
    train_video(run)
    assert changed_modules(run) == {"unet.conv_in", "mia", "clip"}
    before, after = load_result(run), load_result(run, "video")
    assert not torch.equal(before.unet.conv_in.weight[:, :8], after.unet.conv_in.weight[:, :8])
    assert not torch.equal(before.unet.conv_in.bias, after.unet.conv_in.bias)
    old, new = before.clip.state_dict(), after.clip.state_dict()
    changed = [name for name in old if not torch.equal(old[name], new[name])]
    assert changed
    assert all("layers.1." in name or "layers.2." in name for name in changed)


def test_video_stage_rejects_more_encoder_layers_than_exist(trained, make_config, tmp_path):
    copy_image_stage(trained("deep encoder", model=DEEP_ENCODER), tmp_path / "deeper")
    with pytest.raises(InputError, match="clip_layers: is 4, but the appearance encoder has 3"):
        train_video(make_config("deeper", model=DEEP_ENCODER, video={"clip_layers": 4}))


@pytest.mark.parametrize(("none_known", "overlap"), [(0.0, 1), (1.0, 0)])
def test_conditioning_channels_learn_only_with_conditioning_frames(trained, make_config, tmp_path, none_known, overlap):
    copy_image_stage(trained("cached True", cache_latents=True), tmp_path / "run")
    run = make_config("run", video={"none_known": none_known})
    card = read_card(train_video(run))
    assert bool(load_result(run, "video").unet.conv_in.weight[:, 8:].any()) is (none_known == 0.0)
    assert card.settings["overlap"] == overlap
    assert card.condition == "render"


@pytest.mark.parametrize("prediction", ["epsilon", pytest.param("sample", marks=pytest.mark.slow)])
def test_image_stage_overfits_eight_clips(make_config, prediction):
    optimizer = {"steps": 50, "batch": 8, "learning_rate": 6e-3, "schedule": "cosine", "warm_up": 10, "ema": 0.9}
    image = {"optimizer": optimizer, "identity_weight": 0.0, "token_dropout": 0.0}
    run = make_config("overfit", save_every=200, image=image, model={"prediction": prediction})
    train_image(run)
    losses = np.array(read_losses(run))[:, 1]
    assert losses[-15:].mean() < 0.8 * losses[:10].mean()
    assert read_card(train_video(run)).prediction == prediction


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("autoencoder._AutoencoderTrainer.train_step", r"Set batch in \[model\.autoencoder\] below 2\."),
        ("latent_cache.encode_latents", r"Set cache_latents = false\."),
    ],
    ids=["autoencoder", "latents"],
)
def test_full_memory_before_the_first_step_names_the_setting_to_change(make_config, monkeypatch, target, advice):
    def run_out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"mimaface_cli.training.{target}", run_out_of_memory)
    with pytest.raises(InputError, match=rf"^cpu: out of memory\. {advice}$"):
        train_image(make_config("full", seed=5))  # other latents than those that are cached
