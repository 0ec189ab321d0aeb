"""Training of the lip network: a small network and strong regularization against overfitting on little data."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mimaface_cli.builders.speech478.talking_clips import MARGIN, UNKNOWN, SpeechFeatures, TalkingClip
from mimaface_cli.speech.audio_features import SpeechFrontEnd
from mimaface_cli.speech.lip_network import (
    CHANNELS,
    CLOSED,
    CONTEXT,
    DILATIONS,
    FEATURES_PER_FRAME,
    FRAME_RATE,
    GAP,
    SPEECH,
    LipModel,
    run_ensemble,
)
from mimaface_cli.speech.phones import BANDS

WIDTH, DROPOUT, WEIGHT_DECAY, LEARNING_RATE, BATCH = 64, 0.3, 0.05, 2e-3, 20
_CROP_FRAMES = 80  # video frames of a training crop
_NOISE_SHARE = 0.2  # share of the crops without speech
_ORIGINAL_SHARE = 0.4  # minimum share of the speech crops from the original audio
_MAX_WEIGHT_FRAMES = 300  # longer clips count as clips of this length
_GAP_QUANTILES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)
_REST_SHARE = 0.15  # share of a clip's frames, those with the narrowest gap, that define its rest
_CHANNEL_WEIGHTS = {"jawOpen": 3.0, "mouthPucker": 2.0, "mouthFunnel": 1.5, "gap": 4.0}
_SHIFTS = np.arange(-12, 13) * 0.02  # seconds
_SHIFT_CHANNELS = {"jawOpen": 1.0, "gap": 1.0, "mouthPucker": 0.5, "mouthLowerDown": 0.5}  # weights

NetworkArrays = dict[str, np.ndarray]
"""Arrays of a trained network, as `lip_network.run_network` takes them."""

Crop = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Features, target channels, and a mask of the frames that count."""


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.drop(self.mix(functional.gelu(self.wide(inner), approximate="tanh")))


class LipNet(nn.Module):
    """The lip network in PyTorch; `lip_network.run_network` computes the same in NumPy.

    Args:
        features: Number of features D.
        width: Channels of the hidden layers.
        dropout: Probability of dropout.
    """

    def __init__(self, features: int, width: int = WIDTH, dropout: float = DROPOUT) -> None:
        super().__init__()
        # The names of the modules are the names of the arrays in the model file.
        self.a = nn.Conv1d(features, width, 5, stride=2, padding=2)
        self.b = nn.Conv1d(width, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(_Block(width, dilation, dropout) for dilation in DILATIONS)
        self.out = nn.Conv1d(width, len(CHANNELS), 3, padding=1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map features B×D×4T to channels B×18×T."""
        x = self.drop(functional.gelu(self.a(x), approximate="tanh"))
        x = self.drop(functional.gelu(self.b(x), approximate="tanh"))
        for block in self.blocks:
            x = block(x)
        return self.out(x)


def compute_channel_statistics(clip: TalkingClip) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and scale (18 each) that standardize a clip's targets; `closed` and `speech` are not changed."""
    mean, scale = np.zeros(len(CHANNELS)), np.ones(len(CHANNELS))
    mean[:CLOSED], scale[:CLOSED] = clip.channels.mean(0)[:CLOSED], clip.channels.std(0)[:CLOSED] + 2e-3
    return mean, scale


def measure_rest(clips: Sequence[TalkingClip]) -> np.ndarray:
    """Return the mouth at rest in standardized channels: the mean over clips of the frames with the narrowest gap."""
    rests = []
    for clip in clips:
        mean, scale = compute_channel_statistics(clip)
        values = (clip.targets_at(clip.times, shift=0.0) - mean) / scale
        is_rest = values[:, GAP] <= np.quantile(values[:, GAP], _REST_SHARE)
        rests.append(values[is_rest].mean(0))
    rest = np.mean(rests, axis=0)
    rest[CLOSED], rest[SPEECH] = 1, 0
    return rest


class _CropSampler:
    """Samples training crops.

    Args:
        clips: Training clips; a clip counts by its duration to the power of 0.75.
        noises: Recordings without speech, for which the mouth shall rest.
        rng: Source of randomness.
    """

    def __init__(
        self, clips: Sequence[TalkingClip], noises: Sequence[SpeechFeatures], rng: np.random.Generator
    ) -> None:
        self._clips, self._noises, self._rng = clips, noises, rng
        self._statistics = [compute_channel_statistics(clip) for clip in clips]
        self._rest = measure_rest(clips).astype(np.float32)
        weight = np.array([min(clip.frame_count, _MAX_WEIGHT_FRAMES) for clip in clips]) ** 0.75
        self._probability = weight / weight.sum()

    def sample_batch(self) -> list[Tensor]:
        """Return features B×4T×D, targets B×T×18 and masks B×T×1."""
        crops = []
        for k in self._rng.choice(len(self._clips), BATCH, p=self._probability):
            if self._rng.random() < _NOISE_SHARE:
                crops.append(self._noise_crop(self._noises[int(self._rng.integers(len(self._noises)))]))
            else:
                crops.append(self._speech_crop(self._clips[k], *self._statistics[k]))
        return [torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True)]

    def _speech_crop(self, clip: TalkingClip, mean: np.ndarray, scale: np.ndarray) -> Crop:
        is_original = self._rng.random() < _ORIGINAL_SHARE
        version = clip.versions[0 if is_original else self._rng.integers(len(clip.versions))]
        frames = int(clip.frame_count * version.stretch)
        count = min(_CROP_FRAMES, frames)
        start = int(self._rng.integers(0, max((frames - count) * FEATURES_PER_FRAME, 1)))
        times = (start / FEATURES_PER_FRAME + np.arange(count)) / FRAME_RATE / version.stretch
        target = np.zeros((_CROP_FRAMES, len(CHANNELS)), np.float32)
        target[:count] = (clip.targets_at(times) - mean) / scale
        mask = (np.arange(_CROP_FRAMES) < count).astype(np.float32)[:, None]
        return _crop_features(version, start), target, mask

    def _noise_crop(self, noise: SpeechFeatures) -> Crop:
        last = len(noise.features) - 2 * MARGIN - _CROP_FRAMES * FEATURES_PER_FRAME
        start = int(self._rng.integers(0, last))
        target = np.tile(self._rest, (_CROP_FRAMES, 1))
        return _crop_features(noise, start), target, np.ones((_CROP_FRAMES, 1), np.float32)


def _crop_features(version: SpeechFeatures, start: int) -> np.ndarray:
    """Return the features of _CROP_FRAMES frames; the last silent frame is repeated after the end."""
    rows = MARGIN + start + np.arange(_CROP_FRAMES * FEATURES_PER_FRAME)
    return version.features[np.minimum(rows, len(version.features) - 1)].astype(np.float32)


def train_network(
    clips: Sequence[TalkingClip], noises: Sequence[SpeechFeatures], seed: int, steps: int
) -> NetworkArrays:
    """Train one network.

    Args:
        clips: Training clips.
        noises: Recordings without speech.
        seed: Random seed.
        steps: Number of optimizer steps.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the layers are too small to share
    rng = np.random.default_rng(seed)
    sampler = _CropSampler(clips, noises, rng)
    network = LipNet(clips[0].versions[0].features.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    network.train()
    for _ in range(steps):
        features, target, mask = sampler.sample_batch()
        output = network(_augment_features(features, rng).transpose(1, 2)).transpose(1, 2)
        loss = compute_loss(output, target, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}


def compute_loss(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the loss: squared error of the channels and of their change, cross-entropy of `closed` and `speech`.

    Args:
        output: B×T×18 network output.
        target: B×T×18 standardized targets.
        mask: B×T×1, 1 for the frames that count.
    """
    weights = torch.tensor([_CHANNEL_WEIGHTS.get(name, 1.0) for name in CHANNELS[:CLOSED]])
    error = (output - target)[..., :CLOSED] * mask
    change = (error[:, 1:] - error[:, :-1]) * mask[:, 1:]
    loss = ((error**2).mean((0, 1)) * weights).mean() + 0.5 * ((change**2).mean((0, 1)) * weights).mean()
    closed = functional.binary_cross_entropy_with_logits(
        output[..., CLOSED], target[..., CLOSED].clamp(0, 1), reduction="none"
    )
    speech = functional.binary_cross_entropy_with_logits(output[..., SPEECH], target[..., SPEECH], reduction="none")
    is_known = target[..., SPEECH] != UNKNOWN
    return loss + ((0.7 * closed + 0.5 * speech * is_known) * mask[..., 0]).mean()


def _augment_features(features: Tensor, rng: np.random.Generator) -> Tensor:
    """Add noise to every value and every band, and mask random spans of time and bands."""
    first_band = features.shape[2] - BANDS
    features = features + torch.from_numpy(rng.normal(0, 0.08, features.shape).astype(np.float32))
    tilt = rng.normal(0, 0.15, (len(features), 1, BANDS)) + rng.normal(0, 0.2, (len(features), 1, 1))
    features[..., first_band:] += torch.from_numpy(tilt.astype(np.float32))
    for crop in features:
        if rng.random() < 0.5:
            start, length = int(rng.integers(0, len(crop) - 12)), int(rng.integers(4, 12))
            crop[start : start + length] *= float(rng.random()) * 0.5
        if rng.random() < 0.5:
            start, width = first_band + int(rng.integers(0, 20)), int(rng.integers(2, 7))
            crop[:, start : start + width] = 0
    return features


def predict_channels(nets: Sequence[NetworkArrays], clip: TalkingClip) -> np.ndarray:
    """Return the average prediction of networks for a clip's original audio, T×18 at FRAME_RATE."""
    prediction = run_ensemble(nets, clip.versions[0].features.astype(np.float32))
    return prediction[CONTEXT : CONTEXT + clip.frame_count]


def estimate_shift(clip: TalkingClip, prediction: np.ndarray) -> float:
    """Estimate the seconds by which a clip's video lags behind its audio.

    Files from the web are often out of sync by more than a frame.

    Args:
        clip: The clip.
        prediction: Its channels T×18, predicted by networks that were not trained on its person.
    """
    times = np.arange(len(prediction)) / FRAME_RATE
    columns = [CHANNELS.index(name) for name in _SHIFT_CHANNELS]
    scores = []
    for shift in _SHIFTS:
        observed = clip.channels_at(times, float(shift))
        correlations = [correlate(prediction[:, k], observed[:, k]) for k in columns]
        penalty = 8 * abs(shift) / np.sqrt(len(prediction))  # large shifts need more evidence
        scores.append(float(np.dot(correlations, tuple(_SHIFT_CHANNELS.values()))) - penalty)
    return float(_SHIFTS[int(np.argmax(scores))])


def correlate(one: np.ndarray, other: np.ndarray) -> float:
    """Return Pearson's correlation, 0 if either is constant."""
    if min(one.std(), other.std()) < 1e-9:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def assemble_model(
    clips: Sequence[TalkingClip],
    predictions: dict[str, np.ndarray],
    nets: Sequence[NetworkArrays],
    front_end: SpeechFrontEnd,
    close_at: float,
    version: str,
) -> LipModel:
    """Assemble the model.

    Args:
        clips: Training clips.
        predictions: Held-out prediction for each clip, by name; they decide the output gain.
        nets: Networks trained on all clips.
        front_end: Computes the features.
        close_at: Log odds above which the lips close.
        version: Hash of the networks.
    """
    scale = np.median([compute_channel_statistics(clip)[1] for clip in clips], axis=0)[:CLOSED]
    spread = np.median([predictions[clip.name][:, :CLOSED].std(0) for clip in clips], axis=0)
    gain = np.clip(1 / np.maximum(spread, 1e-3), 1.0, 1.6)
    rest = measure_rest(clips)[:CLOSED]
    curve = match_gaps(clips, predictions, float(rest[GAP]))
    return LipModel(front_end, tuple(nets), rest, scale, gain, curve, close_at, version)


def match_gaps(clips: Sequence[TalkingClip], predictions: dict[str, np.ndarray], rest: float) -> np.ndarray:
    """Return quantiles of predicted gaps, and those of visible gaps above rest (2 × K, see `LipModel.gap_curve`)."""
    observed = []
    for clip in clips:
        mean, scale = compute_channel_statistics(clip)
        times = np.arange(len(predictions[clip.name])) / FRAME_RATE
        observed.append((clip.channels_at(times)[:, GAP] - mean[GAP]) / scale[GAP])
    predicted = np.concatenate([predictions[clip.name][:, GAP] for clip in clips])
    return np.stack(
        [np.quantile(predicted, _GAP_QUANTILES), np.quantile(np.concatenate(observed), _GAP_QUANTILES) - rest]
    )
