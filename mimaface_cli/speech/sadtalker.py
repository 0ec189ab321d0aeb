"""SadTalker's path: speech -> a MotionTrack in bfm09, by its released audio networks."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.media.waveform import Waveform
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech import mel
from mimaface_cli.speech.embedded_speech import resample_ping_pong
from mimaface_cli.speech.lip_network import FRAME_RATE, count_video_frames
from mimaface_cli.speech.speech_options import SpeechOptions

EXTRACTOR = "sadtalker+bfm09"
REVISION = "1"
EXPRESSION, SIZE = 64, 70


def find_sadtalker_weights(options: SpeechOptions) -> Path:
    """Where the networks are. Raises WeightsError, which also names the path that needs none."""
    if options.checkpoint is not None:
        if not options.checkpoint.exists():
            raise WeightsError(
                f"{options.checkpoint}: no such file; name SadTalker's weights, or leave --checkpoint out"
            )
        return options.checkpoint
    from mimaface_cli.weights.locate import locate

    try:
        return locate("sadtalker")
    except WeightsError as error:
        raise WeightsError(f"{error}; or leave out --space bfm09: the embedded face478 needs no weights") from error


def generate_sadtalker_track(
    samples: Waveform,
    options: SpeechOptions,
    first: np.ndarray,
    pose_from: MotionTrack | None = None,
    blinks_from: MotionTrack | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MotionTrack:
    """The motion that SadTalker gives a face with these first coefficients (70). pose_from: as in the release its
    change is added to the predicted pose; blinks_from: its expressions stand for the speaker's own.

    The release makes whole frames only; what is left of the sound holds the last one. Raises WeightsError.
    """
    from mimaface_cli.speech.audio2pose import sample_noise
    from mimaface_cli.speech.blink import random_blinks
    from mimaface_cli.speech.sadtalker_checkpoint import load_networks
    from mimaface_cli.speech.sadtalker_inference import predict_coefficients

    expression, pose = load_networks(find_sadtalker_weights(options))
    sound = samples.memory_map()
    if len(sound) < mel.RELEASE.frame_size:  # too short for the release: one frame, silent to its end
        sound = samples.read(0, mel.RELEASE.frame_size)
    whole, total = mel.count_whole_frames(len(sound)), count_video_frames(len(samples))
    rows = lambda values, track: resample_ping_pong(values, track, whole).astype(np.float32)  # noqa: E731
    made = predict_coefficients(
        expression,
        pose,
        sound,
        first,
        random_blinks(whole, options.seed),
        sample_noise(whole, options.seed, pose.config),
        style=options.pose_style,
        blink_from=None if blinks_from is None else rows(blinks_from.expression, blinks_from),
        pose_from=None if pose_from is None or options.still else rows(pose_from.pose, pose_from),
        progress=progress,
    )
    made = made[np.minimum(np.arange(total), whole - 1)]
    made[:, :EXPRESSION] *= options.expression_scale
    if options.still:
        made[:, EXPRESSION:] = first[EXPRESSION:SIZE]
    track = MotionTrack.neutral(total, "bfm09", Fraction(FRAME_RATE), EXTRACTOR, REVISION)
    return replace(track, expression=made[:, :EXPRESSION], pose=made[:, EXPRESSION:])
