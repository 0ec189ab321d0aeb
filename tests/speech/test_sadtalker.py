"""The networks run over whole clips: lengths, chunks, references, seeds and bad input (small networks)."""

import numpy as np
import pytest
import torch
from scipy.io import loadmat

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.speech import sadtalker_inference as coefficients
from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import Audio2Pose, PoseConfig, sample_noise
from mimaface_cli.speech.sadtalker_inference import add_pose, predict_coefficients, smooth_pose, write_mat

WIDTHS = (2, 2, 3, 3, 4)
CONFIG = PoseConfig(styles=3, frames=8, audio=2, latent=16, layers=(7, 48), filters=(2, 3, 4, 5), widths=WIDTHS)
FIRST = np.linspace(-1, 1, 73, dtype=np.float32)
SAMPLES = np.random.default_rng(0).normal(0, 0.1, 30 * 640 + 100).astype(np.float32)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    both = Audio2Exp(widths=WIDTHS).eval(), Audio2Pose(CONFIG).eval()
    torch.nn.init.normal_(both[1].netG["decoder"].classbias)
    return both


def speak(networks, frames: int = 30, seed: int = 0, **options) -> np.ndarray:
    given = {"ratio": np.zeros(frames), "noise": sample_noise(frames, seed, CONFIG)} | options
    return predict_coefficients(*networks, SAMPLES[: frames * 640 + 100], FIRST, **given)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 9, 10, 30])
def test_clips_of_every_length(networks, frames):
    told = []
    found = speak(networks, frames, progress=lambda *done: told.append(done))
    assert found.shape == (frames, 70) and found.dtype == np.float32 and np.isfinite(found).all()
    assert told[-1] == (frames, frames)


def test_blocks_change_nothing(networks, monkeypatch):
    whole = speak(networks)
    assert whole.std(0).min() > 0
    for block in (1, 7, 64):
        monkeypatch.setattr(coefficients, "_BLOCK", block)
        np.testing.assert_allclose(speak(networks), whole, atol=2e-5)


def test_threads_change_nothing_and_a_stop_is_heeded(networks):
    torch.set_num_threads(2)
    np.testing.assert_array_equal(speak(networks, workers=3), speak(networks, workers=1))
    told = []

    def stop(*done: int) -> None:
        told.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        speak(networks, progress=stop)
    assert told == [(10, 30)] and torch.get_num_threads() == 2


def test_motion_starts_at_rest_and_its_last_chunk_ends_with_the_clip(networks):
    pose = networks[1]
    features, noise, rest = torch.randn(20, 2), sample_noise(20, 1, CONFIG), torch.randn(6)
    with torch.no_grad():
        motion = pose.motion(features, rest, noise, 2)
        parts = [(features[1:9], noise[0]), (features[9:17], noise[1]), (features[12:20], noise[2])]
        made = [pose.netG["decoder"](f[None], z[None], torch.tensor([2]), rest[None])[0] for f, z in parts]
        expected = torch.cat([torch.zeros(1, 6), made[0], made[1], made[2][-3:]])
        torch.testing.assert_close(motion, expected, rtol=0, atol=1e-6)

        short = pose.motion(features[:4], rest, noise[:1], 2)
        padded = torch.cat([features[1:2].repeat(5, 1), features[1:4]])
        made = pose.netG["decoder"](padded[None], noise[:1], torch.tensor([2]), rest[None])[0]
        torch.testing.assert_close(short[1:], made[-3:], rtol=0, atol=1e-6)


def test_seeds_and_styles_move_the_head_only(networks):
    plain = speak(networks)
    np.testing.assert_array_equal(speak(networks), plain)
    for other in (speak(networks, seed=1), speak(networks, style=1)):
        np.testing.assert_array_equal(other[:, :64], plain[:, :64])
        assert np.abs(other[:, 64:] - plain[:, 64:]).max() > 1e-4


def test_drawing_noise_leaves_other_randomness_alone_and_longer_clips_begin_alike():
    torch.manual_seed(5)
    long, expected = sample_noise(30, 7), torch.randn(3)
    torch.manual_seed(5)
    torch.testing.assert_close(torch.randn(3), expected, rtol=0, atol=0)
    assert sample_noise(1, 7).shape == (0, 64)
    torch.testing.assert_close(sample_noise(70, 7)[:1], long, rtol=0, atol=0)


def test_another_face_blinks_and_another_head_moves(networks):
    plain = speak(networks, ratio=np.ones(30))
    faces = np.random.default_rng(1).normal(size=(7, 73)).astype(np.float32)
    poses = np.random.default_rng(2).normal(size=(9, 6)).astype(np.float32)
    blinking, moving = speak(networks, blink_from=faces), speak(networks, ratio=np.ones(30), pose_from=poses)

    own = speak(networks, blink_from=np.repeat(FIRST[None], 3, 0))
    np.testing.assert_allclose(own[:, :64], speak(networks)[:, :64], atol=2e-5)  # the ratio is left aside
    change = (faces[np.arange(30) % 7, :64] - FIRST[:64]) @ networks[0].mapping1.weight[:, 4:68].detach().numpy().T
    np.testing.assert_allclose(blinking[:, :64] - own[:, :64], change, atol=2e-5)
    np.testing.assert_array_equal(moving[:, :64], plain[:, :64])
    np.testing.assert_allclose(moving[:, 64:] - plain[:, 64:], poses[np.arange(30) % 9] - poses[0], atol=1e-6)


def test_bad_input_is_told(networks):
    with pytest.raises(InputError, match="styles 0 to 2"):
        speak(networks, style=3)
    with pytest.raises(InputError, match="shorter than one frame"):
        speak(networks, 0)
    with pytest.raises(ValueError, match="noise"):
        speak(networks, noise=sample_noise(9, 0, CONFIG))


def test_smoothing_keeps_parabolas_and_very_short_clips():
    time = np.arange(40.0)[:, None]
    curve = (0.01 * time**2 - 0.2 * time + 1) * np.ones(6)
    np.testing.assert_allclose(smooth_pose(curve), curve, atol=1e-9)
    noise = np.random.default_rng(0).normal(size=(40, 6))
    assert np.abs(np.diff(smooth_pose(noise), axis=0)).mean() < 0.4 * np.abs(np.diff(noise, axis=0)).mean()
    for frames in (1, 2, 3, 4):
        np.testing.assert_allclose(smooth_pose(noise[:frames]), noise[:frames], atol=1e-9)


def test_a_pose_added_keeps_the_start():
    pose, other = np.zeros((5, 6)), np.arange(12.0).reshape(2, 6)
    assert add_pose(pose, other)[:, 0].tolist() == [0, 6, 0, 6, 0]


def test_a_mat_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "face##speech.mat"
    values = np.random.default_rng(0).normal(size=(4, 70))
    write_mat(path, values)
    kept = loadmat(path)["coeff_3dmm"]
    assert kept.dtype == np.float32 and (kept == values.astype(np.float32)).all()
    with pytest.raises(OutputError):
        write_mat(tmp_path / "none" / "a.mat", values)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
