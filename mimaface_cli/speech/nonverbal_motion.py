"""What a face does besides its lips while it speaks: head, brows, blinks and glances that follow the prosody.

Everything is drawn from a seeded generator, so that the same sound and seed give the same motion; nothing in it is
periodic, and all of it returns to rest, so that it neither loops nor drifts however long the speech is.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.signal import lfilter

from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.speech.lip_network import FRAME_RATE

PIVOT = np.array([0.0, -0.95, -0.75])  # where the head turns on the neck, in model units
_SWAY = np.array([0.026, 0.042, 0.024])  # rad about x, y, z: spread of the slow motion while speaking
_STILLER = 0.45  # share of it that stays in silence
_SLOW, _QUICK = 0.12, 0.45  # Hz: two layers of the slow motion
_NOD = (0.036, 0.012)  # rad: depth of a nod on a stressed syllable and its spread
_NOD_SHARE, _BROW_SHARE = 0.6, 0.3  # of the stresses
_APART = 0.45  # seconds between stresses
_BLINK = np.array([0.35, 0.92, 1.0, 0.85, 0.5, 0.2, 0.06])
_BLINK_LEAST, _BLINK_MORE = 1.3, 2.5  # seconds: shortest gap, mean of what is added
_DOUBLE = 0.08  # share of blinks with a second one right after
_GLANCE_LEAST, _GLANCE_MORE = 0.5, 1.5  # seconds
_GLANCE = np.array([0.055, 0.03])  # rad: yaw, pitch
_HOLD_GAZE = 0.8  # share of the head's turn that the eyes make up for


@dataclass(frozen=True)
class Liveliness:
    """pose T × 6 (rad, model units), expression T × 64 (brows and lids only), gaze T × 4."""

    pose: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray


def liven(mouth: np.ndarray, loudness: np.ndarray, seed: int, sound: str = "", still: bool = False) -> Liveliness:
    """Mouth T × 64 and loudness T as of `predict_mouth`; sound: its hash, so that no two speeches move alike; still:
    the head stays at rest.
    """
    rng = np.random.default_rng([seed, int(sound[:15] or "0", 16)])
    speaking = activity(mouth)
    stress = stresses(loudness, speaking)
    frames = len(mouth)
    angles = np.zeros((frames, 3)) if still else head(stress, speaking, rng)
    expression = np.zeros((frames, EXPRESSION_DIM), np.float32)
    brows(expression, stress, rng)
    blinks(expression, speaking, rng)
    return Liveliness(pose_of(angles), expression, glances(angles, rng))


def activity(mouth: np.ndarray) -> np.ndarray:
    """How much is being spoken, 0 to 1, told from the lips themselves: noise does not move them."""
    jaw, close = mouth[:, blendshape_index("jawOpen")], mouth[:, blendshape_index("mouthClose")]
    open_ = (
        np.maximum(jaw, 0) + 0.5 * np.abs(mouth[:, blendshape_index("mouthLowerDownLeft")]) + 0.3 * np.maximum(close, 0)
    )
    return np.clip(gaussian_filter1d(open_, 0.35 * FRAME_RATE) / 0.08, 0, 1)


def stresses(loudness: np.ndarray, speaking: np.ndarray) -> list[tuple[int, float]]:
    """Frames of the stressed syllables and how strong they are, about 1: peaks that stand out of their surroundings."""
    envelope = gaussian_filter1d(loudness, 0.08 * FRAME_RATE)
    around = gaussian_filter1d(envelope, 1.2 * FRAME_RATE)
    above = (envelope - around) * speaking
    width = 2 * round(_APART * FRAME_RATE) + 1
    peaks = np.flatnonzero((above == maximum_filter1d(above, width)) & (above > 0.05))
    typical = np.median(above[peaks]) if len(peaks) else 1.0
    return [(int(k), float(np.clip(above[k] / typical, 0.3, 1.8))) for k in peaks]


def head(stress: list[tuple[int, float]], speaking: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Angles T × 3: slow wandering about rest, livelier while speaking, and nods on stresses."""
    frames = len(speaking)
    slow, quick = wander(frames, _SLOW, rng), wander(frames, _QUICK, rng)
    angles = (0.85 * slow + 0.4 * quick) * _SWAY
    angles *= (_STILLER + (1 - _STILLER) * gaussian_filter1d(speaking, 0.6 * FRAME_RATE))[:, None]
    for frame, strength in stress:
        wanted, depth, side, length = rng.random(), rng.normal(*_NOD), rng.normal(0, 0.4, 2), rng.uniform(0.8, 1.25)
        if wanted < _NOD_SHARE:
            bump = pulse(0.18 * length, 0.06, 0.42 * length) * max(depth, 0.008) * strength
            add(angles, bump[:, None] * [1.0, side[0], side[1]], frame - 4)
    return gaussian_filter1d(angles, 1.2, axis=0)


def wander(frames: int, hertz: float, rng: np.random.Generator) -> np.ndarray:
    """Three independent smooth random motions T × 3 of spread 1 below about that frequency; never periodic."""
    lead = int(4 * FRAME_RATE / hertz)  # until the filter has settled
    keep = np.exp(-2 * np.pi * hertz / FRAME_RATE)
    noise = rng.standard_normal((frames + lead, 3))
    once = lfilter([1 - keep], [1, -keep], noise, axis=0)
    twice = lfilter([1 - keep], [1, -keep], once, axis=0)[lead:]
    # The spread of such noise is known; measuring it would make short speeches jump about.
    return twice / np.sqrt((1 - keep) ** 4 * (1 + keep**2) / (1 - keep**2) ** 3)


def brows(expression: np.ndarray, stress: list[tuple[int, float]], rng: np.random.Generator) -> None:
    """Raise them on some stresses."""
    for frame, strength in stress:
        wanted, height = rng.random(), rng.uniform(0.12, 0.32)
        if wanted < _BROW_SHARE:
            bump = pulse(0.16, rng.uniform(0.05, 0.3), 0.5) * height * strength
            for name, share in (("browInnerUp", 1.0), ("browOuterUpLeft", 0.6), ("browOuterUpRight", 0.6)):
                add(expression[:, blendshape_index(name)], share * bump, frame - 4)


def blinks(expression: np.ndarray, speaking: np.ndarray, rng: np.random.Generator) -> None:
    """About 15 a minute, drawn toward the ends of phrases."""
    frames = len(speaking)
    ends = np.flatnonzero((speaking[:-1] >= 0.5) & (speaking[1:] < 0.5))
    at = rng.uniform(0.6, 3.0)
    while True:
        frame = round(at * FRAME_RATE)
        near = ends[np.abs(ends - frame) < 0.5 * FRAME_RATE] if len(ends) else ends
        frame = int(near[0]) if len(near) else frame
        if frame + len(_BLINK) >= frames:
            return
        _blink(expression, frame, rng.uniform(0.85, 1.0))
        gap = _BLINK_LEAST + rng.gamma(2.0, _BLINK_MORE / 2)
        if rng.random() < _DOUBLE and frame + 3 * len(_BLINK) < frames:
            _blink(expression, frame + round(0.4 * FRAME_RATE), rng.uniform(0.7, 0.9))
            gap += 0.6
        at = frame / FRAME_RATE + gap


def _blink(expression: np.ndarray, frame: int, depth: float) -> None:
    for side in ("Left", "Right"):
        column = expression[:, blendshape_index("eyeBlink" + side)]
        part = column[frame : frame + len(_BLINK)]
        np.maximum(part, depth * _BLINK[: len(part)], out=part)


def glances(angles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaze T × 4: on the viewer while the head moves, with small quick looks aside and back."""
    frames = len(angles)
    target = np.zeros((frames, 2))
    frame = 0
    while frame < frames:
        length = round((_GLANCE_LEAST + rng.gamma(1.5, _GLANCE_MORE / 1.5)) * FRAME_RATE)
        look = rng.normal(0, _GLANCE) if rng.random() < 0.45 else rng.normal(0, 0.012, 2)
        target[frame : frame + length] = look
        frame += length
    target = gaussian_filter1d(target, 0.5, axis=0)  # a saccade takes a frame or two
    target -= _HOLD_GAZE * angles[:, [1, 0]] * [1.0, -1.0]
    return np.tile(target, 2)


def pulse(rise: float, hold: float, fall: float) -> np.ndarray:
    """A soft bump up to 1 and back: seconds."""
    up, top, down = (max(round(seconds * FRAME_RATE), 1) for seconds in (rise, hold, fall))
    ease = lambda count: 0.5 - 0.5 * np.cos(np.pi * np.arange(1, count + 1) / (count + 1))  # noqa: E731
    return np.concatenate([ease(up), np.ones(top), ease(down)[::-1]])


def add(values: np.ndarray, bump: np.ndarray, start: int) -> None:
    """Add a bump to values from frame `start` on, cut at both ends."""
    bump = bump[max(-start, 0) :][: max(len(values) - max(start, 0), 0)]
    values[max(start, 0) : max(start, 0) + len(bump)] += bump


def pose_of(angles: np.ndarray) -> np.ndarray:
    """Angles T × 3 to poses T × 6 of a head that turns on its neck."""
    moved = PIVOT - np.einsum("tij,j->ti", rotation_matrix(angles), PIVOT)
    return np.concatenate([angles, moved], 1)
