"""Training the lip network: small, on little data, so everything here is against learning by heart."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimaface_cli.builders.speech478.talking_clips import MARGIN, Clip, Heard
from mimaface_cli.speech.audio_features import SpeechFrontEnd
from mimaface_cli.speech.lip_network import (
    CHANNELS,
    CLOSED,
    CONTEXT,
    DILATIONS,
    FEATURES_PER_FRAME,
    FRAME_RATE,
    GAP,
    LipModel,
    run_network,
)
from mimaface_cli.speech.phones import BANDS

WIDTH, DROP, DECAY, RATE, BATCH = 64, 0.3, 0.05, 2e-3, 16
_LENGTH = 80  # frames of the picture in a crop
_NOISE_SHARE = 0.08  # of the crops, in which nobody speaks
_LONGEST = 300  # frames for which a clip counts at most
_REST = 0.15  # share of a clip's frames, those with the narrowest gap, that are its rest
_WEIGHTS = {"jawOpen": 3.0, "mouthPucker": 2.0, "mouthFunnel": 1.5, "gap": 4.0}
_SHIFTS = np.arange(-12, 13) * 0.02  # seconds


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int, drop: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.drop(self.mix(F.gelu(self.wide(inner), approximate="tanh")))


class LipNet(nn.Module):
    """Features B × F × 4 T -> channels B × 17 × T, as `lip_network.run_network` computes it."""

    def __init__(self, features: int, width: int = WIDTH, drop: float = DROP):
        super().__init__()
        self.a = nn.Conv1d(features, width, 5, stride=2, padding=2)
        self.b = nn.Conv1d(width, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(_Block(width, dilation, drop) for dilation in DILATIONS)
        self.out = nn.Conv1d(width, len(CHANNELS), 3, padding=1)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.gelu(self.a(x), approximate="tanh"))
        x = self.drop(F.gelu(self.b(x), approximate="tanh"))
        for block in self.blocks:
            x = block(x)
        return self.out(x)


def standard(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Mean and range of a clip's channels; those of `closed` leave it as it is."""
    mean, scale = clip.channels.mean(0), clip.channels.std(0) + 2e-3
    mean[CLOSED], scale[CLOSED] = 0, 1
    return mean, scale


def rest_of(clips: Sequence[Clip]) -> np.ndarray:
    """Where the mouth rests, in standardised channels: the mean over clips of their frames with the narrowest gap."""
    rests = []
    for clip in clips:
        mean, scale = standard(clip)
        values = (clip.channels - mean) / scale
        narrow = values[:, GAP] <= np.quantile(values[:, GAP], _REST)
        rests.append(values[narrow].mean(0))
    rest = np.mean(rests, axis=0)
    rest[CLOSED] = 1
    return rest


def train(
    clips: Sequence[Clip],
    noises: Sequence[Heard],
    seed: int,
    steps: int,
    tell: Callable[[int, float], None] | None = None,
) -> dict[str, np.ndarray]:
    """One network, as arrays that `lip_network.run_network` takes."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the layers are too small to share
    rng = np.random.default_rng(seed)
    rest = rest_of(clips)
    known = [(clip, *standard(clip)) for clip in clips]
    share = np.array([min(clip.frames, _LONGEST) for clip in clips]) ** 0.75
    share = share / share.sum()
    network = LipNet(clips[0].versions[0].features.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    weights = torch.tensor([_WEIGHTS.get(name, 1.0) for name in CHANNELS[:CLOSED]])
    network.train()
    for step in range(steps):
        crops = []
        for k in rng.choice(len(known), BATCH, p=share):
            if rng.random() < _NOISE_SHARE:
                crops.append(_noise_crop(noises[rng.integers(len(noises))], rest, rng))
            else:
                crops.append(_crop(*known[k], rng))
        sound, target, mask = (torch.from_numpy(np.stack(part)) for part in zip(*crops))
        made = network(_hide(sound, rng).transpose(1, 2)).transpose(1, 2)
        off = (made - target)[..., :CLOSED] * mask
        change = (off[:, 1:] - off[:, :-1]) * mask[:, 1:]
        loss = ((off**2).mean((0, 1)) * weights).mean() + 0.5 * ((change**2).mean((0, 1)) * weights).mean()
        met = F.binary_cross_entropy_with_logits(made[..., CLOSED], target[..., CLOSED].clamp(0, 1), reduction="none")
        loss = loss + 0.7 * (met * mask[..., 0]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if tell is not None and step % 50 == 49:
            tell(step + 1, float(loss.detach()))
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}


def _crop(clip: Clip, mean: np.ndarray, scale: np.ndarray, rng: np.random.Generator):
    """Features, standardised channels and which frames count, of one stretch of one version of a clip."""
    version = clip.versions[0 if rng.random() < 0.4 else rng.integers(len(clip.versions))]
    frames = int(clip.frames * version.stretch)
    count = min(_LENGTH, frames)
    start = int(rng.integers(0, max((frames - count) * FEATURES_PER_FRAME, 1)))
    times = (start / FEATURES_PER_FRAME + np.arange(count)) / FRAME_RATE / version.stretch
    target = np.zeros((_LENGTH, len(CHANNELS)), np.float32)
    target[:count] = (clip.at(times) - mean) / scale
    return _sound(version, start), target, (np.arange(_LENGTH) < count).astype(np.float32)[:, None]


def _noise_crop(noise: Heard, rest: np.ndarray, rng: np.random.Generator):
    start = int(rng.integers(0, len(noise.features) - 2 * MARGIN - _LENGTH * FEATURES_PER_FRAME))
    return _sound(noise, start), np.tile(rest.astype(np.float32), (_LENGTH, 1)), np.ones((_LENGTH, 1), np.float32)


def _sound(version: Heard, start: int) -> np.ndarray:
    """The features of _LENGTH frames from feature frame `start` of the sound on; after its end, its last silence."""
    rows = np.minimum(MARGIN + start + np.arange(_LENGTH * FEATURES_PER_FRAME), len(version.features) - 1)
    return version.features[rows].astype(np.float32)


def _hide(sound: Tensor, rng: np.random.Generator) -> Tensor:
    """Noise on every number, on each band, and stretches of time and bands left out."""
    bands = sound.shape[2] - BANDS
    sound = sound + torch.from_numpy(rng.normal(0, 0.08, sound.shape).astype(np.float32))
    tilt = rng.normal(0, 0.15, (len(sound), 1, BANDS)) + rng.normal(0, 0.2, (len(sound), 1, 1))
    sound[..., bands:] += torch.from_numpy(tilt.astype(np.float32))
    for one in sound:
        if rng.random() < 0.5:
            at, length = int(rng.integers(0, len(one) - 12)), int(rng.integers(4, 12))
            one[at : at + length] *= float(rng.random()) * 0.5
        if rng.random() < 0.5:
            at, width = bands + int(rng.integers(0, 20)), int(rng.integers(2, 7))
            one[:, at : at + width] = 0
    return sound


def predict(nets: Sequence[dict[str, np.ndarray]], clip: Clip) -> np.ndarray:
    """What networks say of a clip as it sounds, frames × 17."""
    said = np.mean([run_network(net, clip.versions[0].features.astype(np.float32)) for net in nets], axis=0)
    return said[CONTEXT : CONTEXT + clip.frames]


def align(clip: Clip, said: np.ndarray) -> float:
    """By how many seconds the clip's picture is late behind its sound, judged by what was said of it by networks that
    never saw it. Files of mixed origin are often out of step by more than a frame.
    """
    times = np.arange(len(said)) / FRAME_RATE
    wanted = [CHANNELS.index(name) for name in ("jawOpen", "gap", "mouthPucker", "mouthLowerDown")]
    kept, scores = clip.shift, []
    for shift in _SHIFTS:
        clip.shift = float(shift)
        seen = clip.at(times)
        alike = [correlation(said[:, k], seen[:, k]) for k in wanted]
        scores.append(float(np.dot(alike, (1, 1, 0.5, 0.5))) - 8 * abs(shift) / np.sqrt(len(said)))  # doubt far shifts
    clip.shift = kept
    return float(_SHIFTS[int(np.argmax(scores))])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, 0 where either does not move."""
    if min(one.std(), other.std()) < 1e-9:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def finish(
    clips: Sequence[Clip], said: dict[str, np.ndarray], nets, hearing: SpeechFrontEnd, close_at: float, version: str
) -> LipModel:
    """The model from the networks trained on all clips and from what was said of clips left out."""
    scale = np.median([standard(clip)[1] for clip in clips], axis=0)[:CLOSED]
    spread = np.median([said[clip.name][:, :CLOSED].std(0) for clip in clips], axis=0)
    gain = np.clip(1 / np.maximum(spread, 1e-3), 1.0, 1.6)
    return LipModel(hearing, tuple(nets), rest_of(clips)[:CLOSED], scale, gain, close_at, version)
