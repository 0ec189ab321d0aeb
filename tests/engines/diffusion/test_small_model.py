"""The small model: selection, its card, and rendering."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.engines.base import EngineQuery
from mimaface_cli.engines.diffusion import engine as diffusion_engine
from mimaface_cli.engines.diffusion.card_verdict import JUDGED_METRICS, judge_scores
from mimaface_cli.engines.diffusion.denoise_settings import PRESETS
from mimaface_cli.engines.diffusion.small_checkpoint import resolve_settings
from mimaface_cli.engines.selection import Selection, select_engine
from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.weights.small_model import (
    CARD_FILE,
    SMALL_MODEL_FOLDER,
    ModelCard,
    find_small_model,
    read_card,
    write_card,
)
from tests.conftest import read_video

MESH = {"psnr": 22.0, "ssim": 0.8, "expression": 0.5, "pose": 0.03, "gaze": 0.1, "identity_dlib": 0.3, "jitter": 0.4}


def select(name: str, **query) -> Selection:
    return select_engine(name, EngineQuery(**query))


def table(**changes: float) -> dict[str, dict[str, float]]:
    return {"mesh": MESH, "diffusion": MESH | changes}


@pytest.mark.parametrize(
    ("settings", "message"), [({"guidence": 3.0}, "unknown settings: guidence"), ({"steps": "x"}, "steps")]
)
def test_error_of_a_card_s_settings_names_file_and_setting(settings, message):
    with pytest.raises(WeightsError) as caught:
        resolve_settings(ModelCard("mini", 64, settings=settings), PRESETS["release"])
    assert f"mini/{CARD_FILE}" in str(caught.value) and message in str(caught.value)
    assert "DenoiseSettings" not in str(caught.value)


@pytest.fixture(scope="session")
def small_model_weights(tmp_path_factory):
    """A weights folder with a tiny untrained model in it."""
    from diffusers import AutoencoderKL

    from mimaface_cli.engines.diffusion import small_checkpoint
    from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
    from mimaface_cli.training.config import AutoencoderConfig, NetworkSize
    from mimaface_cli.training.small_networks import build_small_networks

    size = NetworkSize(channels=(8, 16), attention=(False, True), heads=2, tokens=16, clip=16, clip_layers=1, patch=32)
    trained = build_small_networks(size, video=True)
    vae = AutoencoderKL(**AutoencoderConfig(channels=(8, 8, 8)).network_config(64))
    folder = tmp_path_factory.mktemp("weights")
    card = ModelCard("mimaface-mini", 64, settings={"length": 4, "overlap": 1, "steps": 2, "guidance": 2.0})
    small_checkpoint.save_small_model(
        folder / SMALL_MODEL_FOLDER,
        DiffusionNetworks(trained.unet, trained.mia, vae),
        trained.unet_config,
        trained.clip,
        card,
    )
    return folder


@pytest.fixture
def installed(small_model_weights, monkeypatch):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(small_model_weights))
    monkeypatch.setattr(diffusion_engine, "has_accelerator", lambda: False)
    card = read_card(small_model_weights / SMALL_MODEL_FOLDER)
    yield small_model_weights / SMALL_MODEL_FOLDER
    write_card(small_model_weights / SMALL_MODEL_FOLDER, card)


def test_judged_figures_match_the_metric_catalog():
    assert {name: CATALOG.info(name).better for name in JUDGED_METRICS} == dict(JUDGED_METRICS)


def test_model_is_better_when_it_wins_more_figures_than_it_loses():
    assert not judge_scores({}).is_better and "no scores" in judge_scores({}).reason
    assert not judge_scores(table()).is_better  # all draws
    assert judge_scores(table(psnr=23.0)).is_better and not judge_scores(table(psnr=21.0)).is_better
    assert judge_scores(table(gaze=0.05)).is_better and not judge_scores(table(gaze=0.2)).is_better
    assert not judge_scores(table(psnr=23.0, identity_dlib=0.5)).is_better  # one each
    assert not judge_scores(table(psnr=22.1)).is_better  # within the margin
    lacking = table(psnr=30.0, ssim=0.99)
    del lacking["diffusion"]["jitter"]
    assert not judge_scores(lacking).is_better and "jitter" in judge_scores(lacking).reason


def test_small_model_replaces_missing_weights_and_is_preferred_only_when_better(installed):
    selection = select("diffusion")
    assert (selection.engine.name, selection.engine.space) == ("diffusion", "face478")
    assert selection.engine.checkpoint.folder == installed
    assert "released weights are not installed, mimaface-mini is used" in selection.reason
    assert select("auto").engine.name == "mesh"
    card = read_card(installed)
    write_card(installed, replace(card, scores=table(psnr=24.0, expression=0.4)))
    selection = select("auto")
    assert selection.engine.checkpoint.folder == installed and "wins 2 and loses 0 of 7" in selection.reason
    assert select("auto", track_space="face478").engine.checkpoint.folder == installed
    assert select("auto", source_is_video=True).engine.name == "mesh"
    with pytest.raises(WeightsError, match=r"are not installed"):
        select("diffusion", track_space="bfm09")
    with pytest.raises(InputError, match=r"animates a photo"):
        select("diffusion", source_is_video=True)


@pytest.mark.parametrize(
    "change",
    [
        {"space": "bfm09"},
        {"size": "64"},
        {"size": 65},
        {"scores": {"mesh": {"psnr": "high"}}},
        {"extra": 1},
        {"condition": "x"},
    ],
)
def test_invalid_card_is_a_one_line_error(installed, change):
    path = installed / CARD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(WeightsError, match=r"card.json: "):
        select("auto")


def test_incomplete_folder_is_ignored(tmp_path, monkeypatch):
    (tmp_path / SMALL_MODEL_FOLDER).mkdir()
    (tmp_path / SMALL_MODEL_FOLDER / CARD_FILE).write_text("{}")
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path))
    assert find_small_model() is None and select("auto").engine.name == "mesh"


def test_small_model_renders_every_frame_of_a_photo(installed, sample, tmp_path):
    output = tmp_path / "out.mp4"
    result = animate(sample.portrait, sample.track, output, AnimateOptions(engine="diffusion"))
    assert result.engine == "diffusion" and "mimaface-mini" in result.engine_reason
    assert result.frames == 14 and result.engine_settings["clips_made"] == 5 and result.engine_settings["length"] == 4
    frames, _ = read_video(output)
    assert len(frames) == 14 and frames[0].shape == (512, 512, 3)
    assert np.abs(frames[0][:8].astype(int) - frames[9][:8]).mean() < 4  # the photo is unchanged far from the face
