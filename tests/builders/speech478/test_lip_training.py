"""Training of the lip network, alignment of clips, and evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimaface_cli.builders.speech478.lip_evaluation import choose_close_threshold, evaluate_clip
from mimaface_cli.builders.speech478.lip_regression import align_clips, fit_folds
from mimaface_cli.builders.speech478.lip_training import (
    LipNet,
    compute_channel_statistics,
    compute_loss,
    estimate_shift,
    match_gaps,
    measure_rest,
    predict_channels,
    train_network,
)
from mimaface_cli.builders.speech478.talking_clips import MARGIN, UNKNOWN, SpeechFeatures, TalkingClip
from mimaface_cli.speech.lip_model_file import load_lip_model
from mimaface_cli.speech.lip_network import (
    CHANNELS,
    CLOSED,
    CONTEXT,
    FEATURES_PER_FRAME,
    GAP,
    LINEAR_REACH,
    LINEAR_SHARE,
    SPEECH,
    pool_frames,
    run_ensemble,
    run_network,
)
from mimaface_cli.speech.phones import BANDS

FEATURES = 30


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_clip(seed: int, seconds: float = 8.0, shift: float = 0.0) -> TalkingClip:
    """Make a speaker whose channels all follow the first feature."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 100)
    wave = np.convolve(rng.standard_normal(count + 30), np.hanning(25) / 4, "same")[:count]
    features = rng.normal(0, 0.1, (count + 2 * MARGIN, FEATURES))
    features[MARGIN:-MARGIN, 0] = wave
    times = np.arange(int(seconds * 30)) / 30
    mouth = np.interp(times - shift, np.arange(count) / 100, wave)
    channels = np.tile(0.1 * mouth[:, None] + 0.2, (1, SPEECH))
    channels[:, CLOSED] = mouth < -0.5
    return TalkingClip(str(seed), str(seed), times, channels, [SpeechFeatures(features.astype(np.float16), 1.0)])


def test_network_computes_the_same_in_numpy_and_torch():
    torch.manual_seed(0)
    network = LipNet(FEATURES).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x = np.random.default_rng(0).standard_normal((96, FEATURES)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(x).T[None])[0].T.numpy()
    actual = run_network({name: value.numpy() for name, value in network.state_dict().items()}, x)
    assert actual.shape == (24, len(CHANNELS))
    assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_network_does_not_depend_on_features_beyond_its_context():
    network = {name: value.detach().numpy() for name, value in LipNet(FEATURES).state_dict().items()}
    x = np.random.default_rng(0).standard_normal((60 * FEATURES_PER_FRAME, FEATURES)).astype(np.float32)
    cut = x.copy()
    cut[: (30 - CONTEXT) * FEATURES_PER_FRAME] = 0
    cut[(30 + CONTEXT + 1) * FEATURES_PER_FRAME :] = 0
    assert np.array_equal(run_network(network, x)[30], run_network(network, cut)[30])


def test_training_learns_the_mouth_and_estimates_the_shift_of_another_clip():
    clips = [make_clip(seed) for seed in range(6)]
    noise = np.random.default_rng(9).normal(0, 0.1, (1000, FEATURES)).astype(np.float16)
    network = train_network(clips, [SpeechFeatures(noise, 1.0)], seed=0, steps=120)
    late = make_clip(50, shift=0.12)
    prediction = predict_channels([network], late)
    assert abs(estimate_shift(late, prediction) - 0.12) < 0.03
    figures = evaluate_clip(replace(late, shift=0.12), prediction)
    assert figures.gap_in_step > 0.8
    assert figures.gap < figures.gap_in_step
    assert np.isfinite(choose_close_threshold([late], {late.name: prediction}))


def test_rest_has_closed_lips_and_a_narrow_gap():
    rest = measure_rest([make_clip(seed) for seed in range(6)])
    assert rest[GAP] < -1
    assert rest[CLOSED] == 1


def test_regression_learns_the_mouth_of_held_out_people_and_aligns_the_clips():
    clips = [make_clip(seed, shift=0.12 if seed == 3 else 0.0) for seed in range(8)]
    noise = np.random.default_rng(9).normal(0, 0.1, (1000, FEATURES)).astype(np.float16)
    noises, fold_of = [SpeechFeatures(noise, 1.0)], {clip.person: k % 4 for k, clip in enumerate(clips)}
    aligned = align_clips(clips, noises, fold_of, folds=4, rounds=2)
    assert abs(aligned[3].shift - 0.12) < 0.03
    assert all(abs(clip.shift) < 0.03 for clip in aligned if clip.name != "3")
    members, complete = fit_folds(aligned, noises, fold_of, folds=4)
    figures = [evaluate_clip(clip, predict_channels([members[fold_of[clip.person]]], clip)) for clip in aligned]
    assert min(row.gap_in_step for row in figures) > 0.9
    prediction = predict_channels([complete], clips[0])
    is_closed = clips[0].channels_at(np.arange(len(prediction)) / 25)[:, CLOSED] > 0.5
    assert prediction[is_closed, CLOSED].mean() > prediction[~is_closed, CLOSED].mean() + 1
    rest = run_network(complete, noise.astype(np.float32))[CONTEXT:-CONTEXT, GAP].mean()
    assert abs(rest) < 2


def test_ensemble_weighs_the_linear_member():
    network = {name: value.detach().numpy() for name, value in LipNet(FEATURES).state_dict().items()}
    taps = 2 * LINEAR_REACH + 1
    linear = {
        "linear.weight": np.zeros((len(CHANNELS), FEATURES, taps), np.float32),
        "linear.bias": np.ones(len(CHANNELS), np.float32),
    }
    x = np.random.default_rng(0).standard_normal((96, FEATURES)).astype(np.float32)
    expected = (1 - LINEAR_SHARE) * run_network(network, x) + LINEAR_SHARE
    assert np.allclose(run_ensemble([network, network, linear], x), expected, atol=1e-5)
    assert np.allclose(run_ensemble([linear], x), 1)


def test_pool_frames_averages_around_video_frames():
    ramp = np.arange(40, dtype=np.float32)[:, None]
    pooled = pool_frames(ramp)
    assert pooled.shape == (10, 1) and np.allclose(pooled[1:, 0], np.arange(4, 40, 4) - 0.5)
    assert len(pool_frames(ramp[:37])) == 10


def test_speech_is_where_the_original_audio_is_loud_and_a_pause_is_far_from_it():
    clip = make_clip(0)
    features = clip.versions[0].features.copy()
    features[MARGIN:, -BANDS:] = -1.5
    features[MARGIN + 200 : MARGIN + 300, -BANDS:] = 0
    clip = replace(clip, versions=[SpeechFeatures(features, 1.0)])
    assert (clip.speech[50:75] == 1).all()
    assert not clip.speech[:40].any() and not clip.speech[85:].any()
    assert (clip.speech[41:50] == UNKNOWN).all() and (clip.speech[75:85] == UNKNOWN).all()
    assert np.array_equal(clip.targets_at(np.arange(100) / 25)[:, SPEECH], clip.speech[:100])


def test_loss_ignores_frames_in_which_speech_is_unknown():
    output, target, mask = torch.zeros(1, 8, len(CHANNELS)), torch.zeros(1, 8, len(CHANNELS)), torch.ones(1, 8, 1)
    target[..., SPEECH] = UNKNOWN
    before = compute_loss(output, target, mask)
    output[..., SPEECH] = 3
    assert compute_loss(output, target, mask) == before
    target[..., SPEECH] = 0
    assert compute_loss(output, target, mask) > before + 0.5


def test_matched_gaps_are_as_frequent_as_the_visible_ones():
    clips = [make_clip(seed) for seed in range(3)]
    predictions = {}
    for clip in clips:
        mean, scale = compute_channel_statistics(clip)
        predictions[clip.name] = 0.5 * (clip.targets_at(np.arange(clip.frame_count) / 25) - mean) / scale
    outputs, gaps = match_gaps(clips, predictions, rest=-1.0)
    assert np.allclose(gaps, 2 * outputs + 1)


def test_lip_gap_follows_the_curve_and_continues_beyond_it():
    model = replace(load_lip_model(), gap_curve=np.array([[0.0, 1.0, 2.0], [-0.5, 0.5, 2.5]]))
    gaps = model.lip_gap(np.array([-3.0, 0.5, 1.5, 2.0, 3.0])) / model.scale[GAP]
    assert np.allclose(gaps, [0, 0, 1.5, 2.5, 4.5])
