"""Inference of small SadTalker networks: lengths, chunks, references, seeds, bad input."""

import numpy as np
import pytest
import torch

from mimaface_cli.errors import InputError
from mimaface_cli.speech import sadtalker_inference
from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import Audio2Pose, PoseConfig, sample_noise
from mimaface_cli.speech.sadtalker_inference import (
    SpeakerConditions,
    add_pose_change,
    predict_coefficients,
    smooth_pose,
)

WIDTHS = (2, 2, 3, 3, 4)
CONFIG = PoseConfig(styles=3, frames=8, audio=2, latent=16, layers=(7, 48), filters=(2, 3, 4, 5), widths=WIDTHS)
REFERENCE = np.linspace(-1, 1, 73, dtype=np.float32)
SAMPLES = np.random.default_rng(0).normal(0, 0.1, 30 * 640 + 100).astype(np.float32)


@pytest.fixture(autouse=True)
def _single_thread():
    previous = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(previous)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    expression_network, pose_network = Audio2Exp(widths=WIDTHS).eval(), Audio2Pose(CONFIG).eval()
    torch.nn.init.normal_(pose_network.decoder.classbias)
    return expression_network, pose_network


def predict(networks, frames: int = 30, seed: int = 0, workers=None, progress=None, **changes) -> np.ndarray:
    """Predict the coefficients of a clip; `changes` are fields of SpeakerConditions."""
    fields = {"reference": REFERENCE, "eye_closure": np.zeros(frames), "noise": sample_noise(frames, seed, CONFIG)}
    conditions = SpeakerConditions(**(fields | changes))
    options = {"progress": progress} if progress else {}
    return predict_coefficients(*networks, SAMPLES[: frames * 640 + 100], conditions, workers=workers, **options)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 9, 10, 30])
def test_predict_coefficients_covers_clips_of_every_length(networks, frames):
    steps = []
    coefficients = predict(networks, frames, progress=lambda *step: steps.append(step))
    assert coefficients.shape == (frames, 70) and coefficients.dtype == np.float32 and np.isfinite(coefficients).all()
    assert steps[-1] == ("synthesizing motion", frames, frames)


def test_predict_coefficients_does_not_depend_on_the_block_size(networks, monkeypatch):
    expected = predict(networks)
    assert expected.std(0).min() > 0
    for block in (1, 7, 64):
        monkeypatch.setattr(sadtalker_inference, "_BLOCK", block)
        np.testing.assert_allclose(predict(networks), expected, atol=2e-5)


def test_predict_coefficients_does_not_depend_on_the_threads(networks):
    np.testing.assert_array_equal(predict(networks, workers=3), predict(networks, workers=1))


def test_predict_coefficients_stops_on_ctrl_c_and_restores_the_threads(networks):
    torch.set_num_threads(2)
    steps = []

    def interrupt(*step: object) -> None:
        steps.append(step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(networks, progress=interrupt)
    assert steps == [("synthesizing motion", 10, 30)] and torch.get_num_threads() == 2


def test_generate_motion_starts_at_rest_and_aligns_the_last_chunk_with_the_end(networks):
    pose_network = networks[1]
    features, noise, reference = torch.randn(20, 2), sample_noise(20, 1, CONFIG), torch.randn(6)
    style = torch.tensor([2])
    with torch.no_grad():
        motion = pose_network.generate_motion(features, reference, noise, 2)
        chunks = [
            pose_network.decoder(features[start : start + 8][None], noise[k][None], style, reference[None])[0]
            for k, start in enumerate((1, 9, 12))
        ]
        expected = torch.cat([torch.zeros(1, 6), chunks[0], chunks[1], chunks[2][-3:]])
        torch.testing.assert_close(motion, expected, rtol=0, atol=1e-6)


def test_generate_motion_repeats_the_first_features_of_a_short_clip(networks):
    pose_network = networks[1]
    features, noise, reference = torch.randn(4, 2), sample_noise(4, 1, CONFIG), torch.randn(6)
    with torch.no_grad():
        motion = pose_network.generate_motion(features, reference, noise, 2)
        padded = torch.cat([features[1:2].repeat(5, 1), features[1:4]])
        chunk = pose_network.decoder(padded[None], noise, torch.tensor([2]), reference[None])[0]
    torch.testing.assert_close(motion[1:], chunk[-3:], rtol=0, atol=1e-6)


def test_seeds_and_styles_change_only_the_head_pose(networks):
    expected = predict(networks)
    np.testing.assert_array_equal(predict(networks), expected)
    for other in (predict(networks, seed=1), predict(networks, style=1)):
        np.testing.assert_array_equal(other[:, :64], expected[:, :64])
        assert np.abs(other[:, 64:] - expected[:, 64:]).max() > 1e-4


def test_sample_noise_keeps_the_global_random_state_and_extends_the_noise_of_shorter_clips():
    torch.manual_seed(5)
    noise, expected = sample_noise(30, 7), torch.randn(3)
    torch.manual_seed(5)
    torch.testing.assert_close(torch.randn(3), expected, rtol=0, atol=0)
    assert sample_noise(1, 7).shape == (0, 64)
    torch.testing.assert_close(sample_noise(70, 7)[:1], noise, rtol=0, atol=0)


def test_blink_from_replaces_the_reference_expression(networks):
    expressions = np.random.default_rng(1).normal(size=(7, 73)).astype(np.float32)
    repeated_reference = predict(networks, blink_from=np.repeat(REFERENCE[None], 3, 0), eye_closure=np.ones(30))
    np.testing.assert_allclose(repeated_reference[:, :64], predict(networks)[:, :64], atol=2e-5)  # closure counts as 0
    weight = networks[0].mapping1.weight[:, 4:68].detach().numpy()
    change = (expressions[np.arange(30) % 7, :64] - REFERENCE[:64]) @ weight.T
    blinking = predict(networks, blink_from=expressions)
    np.testing.assert_allclose(blinking[:, :64] - repeated_reference[:, :64], change, atol=2e-5)


def test_pose_from_adds_its_change_to_the_pose(networks):
    poses = np.random.default_rng(2).normal(size=(9, 6)).astype(np.float32)
    expected, moving = predict(networks), predict(networks, pose_from=poses)
    np.testing.assert_array_equal(moving[:, :64], expected[:, :64])
    np.testing.assert_allclose(moving[:, 64:] - expected[:, 64:], poses[np.arange(30) % 9] - poses[0], atol=1e-6)


def test_predict_coefficients_refuses_unknown_styles_short_audio_and_wrong_noise(networks):
    with pytest.raises(InputError, match="styles 0 to 2") as failure:
        predict(networks, style=3)
    assert failure.value.field == "pose_style"
    with pytest.raises(InputError, match="shorter than one frame"):
        predict(networks, 0)
    with pytest.raises(ValueError, match="noise"):
        predict(networks, noise=sample_noise(9, 0, CONFIG))


def test_smooth_pose_keeps_parabolas_reduces_noise_and_accepts_very_short_clips():
    time = np.arange(40.0)[:, None]
    parabola = (0.01 * time**2 - 0.2 * time + 1) * np.ones(6)
    np.testing.assert_allclose(smooth_pose(parabola), parabola, atol=1e-9)
    noise = np.random.default_rng(0).normal(size=(40, 6))
    assert np.abs(np.diff(smooth_pose(noise), axis=0)).mean() < 0.4 * np.abs(np.diff(noise, axis=0)).mean()
    for frames in (1, 2, 3, 4):
        np.testing.assert_allclose(smooth_pose(noise[:frames]), noise[:frames], atol=1e-9)


def test_add_pose_change_repeats_the_other_pose_and_keeps_the_first_frame():
    pose, other = np.zeros((5, 6)), np.arange(12.0).reshape(2, 6)
    assert add_pose_change(pose, other)[:, 0].tolist() == [0, 6, 0, 6, 0]
