"""Speech-driven motion apart from the lips: head, brows, blinks and gaze.

The same audio and seed give the same motion. The motion is not periodic and always returns to rest, so that it neither
loops nor drifts, however long the speech is.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.signal import lfilter

from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.speech.lip_network import FRAME_RATE
from mimaface_cli.speech.style_options import SpeechStyle

NECK_PIVOT = np.array([0.0, -0.95, -0.75])  # model units; the head rotates about it
_SWAY = np.array([0.026, 0.042, 0.024])  # rad about x, y, z: standard deviation of the sway while speaking
_SILENT_SWAY = 0.45  # share of the sway that remains in silence
_SLOW_SWAY, _FAST_SWAY = 0.12, 0.45  # Hz: cut-off frequencies of the two layers of the sway
_HEAD_SMOOTHING = 1.2  # frames, standard deviation
_NOD = (0.036, 0.012)  # rad: mean and standard deviation of the depth of a nod on a stressed syllable
_NOD_SHARE, _BROW_SHARE = 0.6, 0.3  # shares of the stresses with a nod, and with a brow raise
_ONSET = 4  # number of frames before the stress at which nods and brow raises start
_MIN_STRESS_GAP = 0.45  # seconds between stresses
_BLINK_CLOSURE = np.array([0.35, 0.92, 1.0, 0.85, 0.5, 0.2, 0.06])
_MIN_BLINK_GAP, _MEAN_EXTRA_BLINK_GAP = 1.3, 2.5  # seconds
_DOUBLE_BLINK_SHARE = 0.08  # share of blinks that are followed by a second one
_MIN_GLANCE, _MEAN_EXTRA_GLANCE = 0.5, 1.5  # seconds
_GLANCE_SHARE = 0.45  # share of the gaze targets that are glances aside
_GLANCE = np.array([0.055, 0.03])  # rad, standard deviation of a glance aside: yaw, pitch
_FIXATION = 0.012  # rad, standard deviation of the gaze while it stays on the viewer
_GAZE_COMPENSATION = 0.8  # share of the head rotation that the eyes compensate


@dataclass(frozen=True)
class NonverbalMotion:
    """Motion of T frames.

    Attributes:
        pose: T × 6, angles about x, y, z (rad) and translation (model units).
        expression: T × 64, brows and eyelids only.
        gaze: T × 4, yaw and pitch (rad) of both eyes.
    """

    pose: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray


def generate_nonverbal_motion(
    mouth: np.ndarray,
    loudness: np.ndarray,
    seed: int,
    audio_hash: str = "",
    is_still: bool = False,
    style: SpeechStyle = SpeechStyle(),
) -> NonverbalMotion:
    """Generate head, brow, eyelid and gaze motion for a recording.

    Args:
        mouth: T × 64, expression coefficients of the mouth (see `predict_mouth`).
        loudness: T, relative to the recording's mean (see `predict_mouth`).
        seed: Random seed.
        audio_hash: Hash of the audio (hex), so that two recordings do not get the same motion.
        is_still: Whether the head stays at rest.
        style: Amount of head motion and of glances, and rate of blinks; its emotion has no effect here.

    Returns:
        Motion of T frames.
    """
    rng = np.random.default_rng([seed, int(audio_hash[:15] or "0", 16)])
    activity = measure_activity(mouth)
    stresses = find_stresses(loudness, activity)
    frames = len(mouth)
    angles = np.zeros((frames, 3)) if is_still else style.head_motion * _generate_head_angles(stresses, activity, rng)
    expression = np.zeros((frames, EXPRESSION_DIM), np.float32)
    _raise_brows(expression, stresses, rng)
    if style.blink_rate > 0:
        _add_blinks(expression, activity, SpeechStyle.blink_rate / style.blink_rate, rng)
    return NonverbalMotion(rotate_about_neck(angles), expression, _generate_gaze(angles, style.idle, rng))


def measure_activity(mouth: np.ndarray) -> np.ndarray:
    """Measure speech activity by the motion of the lips.

    Background noise does not affect it.

    Args:
        mouth: T × 64, expression coefficients of the mouth.

    Returns:
        T, from 0 to 1.
    """
    jaw = np.maximum(mouth[:, blendshape_index("jawOpen")], 0)
    lower_lip = np.abs(mouth[:, blendshape_index("mouthLowerDownLeft")])
    closing = np.maximum(mouth[:, blendshape_index("mouthClose")], 0)
    movement = jaw + 0.5 * lower_lip + 0.3 * closing
    return np.clip(gaussian_filter1d(movement, 0.35 * FRAME_RATE) / 0.08, 0, 1)


def find_stresses(loudness: np.ndarray, activity: np.ndarray) -> list[tuple[int, float]]:
    """Detect stressed syllables: peaks of the loudness that stand out from their surroundings.

    Args:
        loudness: T.
        activity: T, from 0 to 1.

    Returns:
        Frame and strength of each stress. A typical strength is 1.
    """
    envelope = gaussian_filter1d(loudness, 0.08 * FRAME_RATE)
    background = gaussian_filter1d(envelope, 1.2 * FRAME_RATE)
    prominence = (envelope - background) * activity
    width = 2 * round(_MIN_STRESS_GAP * FRAME_RATE) + 1
    peaks = np.flatnonzero((prominence == maximum_filter1d(prominence, width)) & (prominence > 0.05))
    typical = np.median(prominence[peaks]) if len(peaks) else 1.0
    return [(int(frame), float(np.clip(prominence[frame] / typical, 0.3, 1.8))) for frame in peaks]


def _generate_head_angles(
    stresses: list[tuple[int, float]], activity: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Generate head angles (T × 3): sway, stronger while speaking, and nods on stresses."""
    frames = len(activity)
    slow, fast = generate_sway(frames, _SLOW_SWAY, rng), generate_sway(frames, _FAST_SWAY, rng)
    angles = (0.85 * slow + 0.4 * fast) * _SWAY
    angles *= (_SILENT_SWAY + (1 - _SILENT_SWAY) * gaussian_filter1d(activity, 0.6 * FRAME_RATE))[:, None]
    for frame, strength in stresses:
        chance = rng.random()
        depth = rng.normal(*_NOD)
        side = rng.normal(0, 0.4, 2)
        length = rng.uniform(0.8, 1.25)
        if chance < _NOD_SHARE:
            bump = make_bump(0.18 * length, 0.06, 0.42 * length) * max(depth, 0.008) * strength
            add_bump(angles, bump[:, None] * [1.0, side[0], side[1]], frame - _ONSET)
    return gaussian_filter1d(angles, _HEAD_SMOOTHING, axis=0)


def generate_sway(frames: int, hertz: float, rng: np.random.Generator) -> np.ndarray:
    """Generate three independent smooth random motions without a period.

    Args:
        frames: Number of frames T.
        hertz: Cut-off frequency.
        rng: Source of randomness.

    Returns:
        T × 3, standard deviation 1.
    """
    settling = int(4 * FRAME_RATE / hertz)  # frames until the filter has settled
    decay = np.exp(-2 * np.pi * hertz / FRAME_RATE)
    noise = rng.standard_normal((frames + settling, 3))
    once = lfilter([1 - decay], [1, -decay], noise, axis=0)
    twice = lfilter([1 - decay], [1, -decay], once, axis=0)[settling:]
    # Divide by the theoretical standard deviation. The measured one would make short recordings move too much.
    return twice / np.sqrt((1 - decay) ** 4 * (1 + decay**2) / (1 - decay**2) ** 3)


def _raise_brows(expression: np.ndarray, stresses: list[tuple[int, float]], rng: np.random.Generator) -> None:
    """Add brow raises to the expression on some stresses."""
    for frame, strength in stresses:
        chance, height = rng.random(), rng.uniform(0.12, 0.32)
        if chance < _BROW_SHARE:
            bump = make_bump(0.16, rng.uniform(0.05, 0.3), 0.5) * height * strength
            for name, share in (("browInnerUp", 1.0), ("browOuterUpLeft", 0.6), ("browOuterUpRight", 0.6)):
                add_bump(expression[:, blendshape_index(name)], share * bump, frame - _ONSET)


def _add_blinks(expression: np.ndarray, activity: np.ndarray, stretch: float, rng: np.random.Generator) -> None:
    """Add blinks to the expression, shifted to nearby ends of phrases.

    Args:
        expression: T × 64, changed in place.
        activity: T, speech activity from 0 to 1.
        stretch: Factor on the time between blinks; with 1 there are about 15 blinks a minute.
        rng: Source of randomness.
    """
    frames = len(activity)
    phrase_ends = np.flatnonzero((activity[:-1] >= 0.5) & (activity[1:] < 0.5))
    time = rng.uniform(0.6, 3.0) * stretch
    while True:
        frame = round(time * FRAME_RATE)
        nearby = phrase_ends[np.abs(phrase_ends - frame) < 0.5 * FRAME_RATE]
        frame = int(nearby[0]) if len(nearby) else frame
        if frame + len(_BLINK_CLOSURE) >= frames:
            return
        _add_blink(expression, frame, rng.uniform(0.85, 1.0))
        gap = _MIN_BLINK_GAP + rng.gamma(2.0, _MEAN_EXTRA_BLINK_GAP / 2)
        if rng.random() < _DOUBLE_BLINK_SHARE and frame + 3 * len(_BLINK_CLOSURE) < frames:
            _add_blink(expression, frame + round(0.4 * FRAME_RATE), rng.uniform(0.7, 0.9))
            gap += 0.6
        time = frame / FRAME_RATE + max(gap * stretch, 2 * len(_BLINK_CLOSURE) / FRAME_RATE)


def _add_blink(expression: np.ndarray, frame: int, depth: float) -> None:
    for side in ("Left", "Right"):
        column = expression[:, blendshape_index("eyeBlink" + side)]
        part = column[frame : frame + len(_BLINK_CLOSURE)]
        np.maximum(part, depth * _BLINK_CLOSURE[: len(part)], out=part)


def _generate_gaze(angles: np.ndarray, glance_factor: float, rng: np.random.Generator) -> np.ndarray:
    """Generate the gaze (T × 4): fixed on the viewer while the head moves, with quick glances aside."""
    frames = len(angles)
    gaze = np.zeros((frames, 2))
    frame = 0
    while frame < frames:
        length = round((_MIN_GLANCE + rng.gamma(1.5, _MEAN_EXTRA_GLANCE / 1.5)) * FRAME_RATE)
        is_glance = rng.random() < _GLANCE_SHARE
        gaze[frame : frame + length] = rng.normal(0, _GLANCE) if is_glance else rng.normal(0, _FIXATION, 2)
        frame += length
    gaze = gaussian_filter1d(glance_factor * gaze, 0.5, axis=0)  # a saccade takes a frame or two
    gaze -= _GAZE_COMPENSATION * angles[:, [1, 0]] * [1.0, -1.0]
    return np.tile(gaze, 2)


def make_bump(rise: float, hold: float, fall: float) -> np.ndarray:
    """Return a smooth rise to 1, a plateau and a smooth fall. Durations are in seconds."""
    rise_frames, hold_frames, fall_frames = (max(round(seconds * FRAME_RATE), 1) for seconds in (rise, hold, fall))
    return np.concatenate([_ease_in(rise_frames), np.ones(hold_frames), _ease_in(fall_frames)[::-1]])


def _ease_in(frames: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(1, frames + 1) / (frames + 1))


def add_bump(values: np.ndarray, bump: np.ndarray, start: int) -> None:
    """Add a bump to the values from a frame on, cut off at both ends."""
    bump = bump[max(-start, 0) :][: max(len(values) - max(start, 0), 0)]
    values[max(start, 0) : max(start, 0) + len(bump)] += bump


def rotate_about_neck(angles: np.ndarray) -> np.ndarray:
    """Convert head angles T × 3 (rad) to poses T × 6 of a head that rotates about the neck."""
    translation = NECK_PIVOT - np.einsum("tij,j->ti", rotation_matrix(angles), NECK_PIVOT)
    return np.concatenate([angles, translation], 1)
