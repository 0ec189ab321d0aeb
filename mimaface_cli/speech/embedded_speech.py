"""The embedded path: speech -> a MotionTrack in face478, with nothing to download."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from mimaface_cli.media.waveform import Waveform
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.lip_network import FRAME_RATE, LipModel, count_video_frames, predict_mouth
from mimaface_cli.speech.nonverbal_motion import liven
from mimaface_cli.speech.speech_options import SpeechOptions

EXTRACTOR = "speech+face478"
REVISION = 1  # raise it when the numbers change: cached tracks are then made anew
_EYES = tuple(k for k, name in enumerate(BLENDSHAPES) if name.startswith("eye"))


def generate_embedded_track(
    samples: Waveform,
    model: LipModel,
    options: SpeechOptions,
    sound: str,
    pose_from: MotionTrack | None = None,
    blinks_from: MotionTrack | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MotionTrack:
    """The motion of somebody who says this; sound: hash of the file. Lasts as long as the sound, its last frame
    begun.
    """
    mouth, loudness = [], []
    total, done = count_video_frames(len(samples)), 0
    for part, loud in predict_mouth(samples, model):
        mouth.append((options.expression_scale * part).astype(np.float32))
        loudness.append(loud)
        done += len(part)
        if progress is not None:
            progress(done, total)
    expression = np.concatenate(mouth)
    life = liven(expression, np.concatenate(loudness), options.seed, sound, options.still)
    expression += life.expression
    pose, gaze = life.pose, life.gaze
    if pose_from is not None:
        pose = np.array(pose_from.pose, np.float64)
        pose[:, :3] = np.unwrap(pose[:, :3], axis=0)
        pose = resample_ping_pong(pose, pose_from, total)
    if blinks_from is not None:
        expression[:, _EYES] = resample_ping_pong(blinks_from.expression[:, _EYES], blinks_from, total)
        gaze = resample_ping_pong(blinks_from.gaze, blinks_from, total)
    track = MotionTrack.neutral(total, "face478", Fraction(FRAME_RATE), EXTRACTOR, f"{REVISION}+{model.version}")
    return replace(track, expression=expression, pose=pose, gaze=gaze)


def resample_ping_pong(values: np.ndarray, track: MotionTrack, frames: int) -> np.ndarray:
    """A track's values at `frames` frames of FRAME_RATE; a shorter track runs on backwards and forwards again."""
    times = track.pts - track.pts[0]
    length = float(times[-1])
    wanted = np.arange(frames) / FRAME_RATE
    wanted = length - np.abs(wanted % (2 * length) - length) if length > 0 else 0 * wanted
    return np.stack([np.interp(wanted, times, column) for column in values.T], 1)
