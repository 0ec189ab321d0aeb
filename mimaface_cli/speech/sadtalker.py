"""Generate bfm09 motion tracks from speech with SadTalker's audio networks."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.media.waveform import Waveform
from mimaface_cli.motion.coefficients import EXPRESSION_DIM
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.speech import mel
from mimaface_cli.speech.embedded_speech import resample_ping_pong
from mimaface_cli.speech.lip_network import FRAME_RATE, count_video_frames
from mimaface_cli.speech.speech_options import SpeechOptions

EXTRACTOR = "sadtalker+bfm09"
REVISION = "1"


def find_sadtalker_weights(options: SpeechOptions) -> Path:
    """Return the file or folder of SadTalker's networks.

    Raises:
        WeightsError: It is missing. The message also names the space that needs no weights.
    """
    if options.checkpoint is not None:
        if not options.checkpoint.exists():
            raise WeightsError(
                f"{options.checkpoint}: no such file. Name SadTalker's weights, or leave `checkpoint` unset."
            )
        return options.checkpoint
    from mimaface_cli.weights.locate import locate

    try:
        return locate("sadtalker")
    except WeightsError as error:
        raise WeightsError(f"{error} Or set `space=face478`, which needs no weights.") from error


def generate_sadtalker_track(
    waveform: Waveform,
    options: SpeechOptions,
    reference: np.ndarray,
    pose_from: MotionTrack | None = None,
    blinks_from: MotionTrack | None = None,
    progress: ProgressCallback = ignore_progress,
) -> MotionTrack:
    """Generate the motion of a face that speaks a recording.

    As in the release, only whole frames are generated. The last one is repeated to the end of the recording.

    Args:
        waveform: The recording.
        options: Checkpoint, seed, pose style, expression scale and whether the head stays still.
        reference: (70,), expression and pose coefficients of the face.
        pose_from: Track whose pose change since its first frame is added to the generated pose, as in the release.
        blinks_from: Track whose expressions replace the face's expression as the networks' input.
        progress: Called with the stage "synthesizing motion" and the numbers of video frames.

    Returns:
        A track at 25 frames per second that covers the recording, rounded up to whole frames.

    Raises:
        WeightsError: The networks are missing or damaged.
    """
    from mimaface_cli.speech.audio2pose import sample_noise
    from mimaface_cli.speech.blink import generate_blinks
    from mimaface_cli.speech.sadtalker_checkpoint import load_networks
    from mimaface_cli.speech.sadtalker_inference import SpeakerConditions, predict_coefficients

    expression_network, pose_network = load_networks(find_sadtalker_weights(options))
    samples = waveform.memory_map()
    if len(samples) < mel.RELEASE.samples_per_frame:  # too short for the release: one frame, padded with silence
        samples = waveform.read(0, mel.RELEASE.samples_per_frame)
    whole, total = mel.count_whole_frames(len(samples)), count_video_frames(len(waveform))

    def resample(values: np.ndarray, track: MotionTrack) -> np.ndarray:
        return resample_ping_pong(values, track, whole).astype(np.float32)

    conditions = SpeakerConditions(
        reference,
        generate_blinks(whole, options.seed),
        sample_noise(whole, options.seed, pose_network.config),
        style=options.pose_style,
        blink_from=None if blinks_from is None else resample(blinks_from.expression, blinks_from),
        pose_from=None if pose_from is None or options.still else resample(pose_from.pose, pose_from),
    )
    coefficients = predict_coefficients(expression_network, pose_network, samples, conditions, progress=progress)
    coefficients = coefficients[np.minimum(np.arange(total), whole - 1)]
    coefficients[:, :EXPRESSION_DIM] *= options.expression_scale
    if options.still:
        coefficients[:, EXPRESSION_DIM:] = reference[EXPRESSION_DIM : coefficients.shape[1]]
    track = MotionTrack.neutral(total, "bfm09", Fraction(FRAME_RATE), EXTRACTOR, REVISION)
    return replace(track, expression=coefficients[:, :EXPRESSION_DIM], pose=coefficients[:, EXPRESSION_DIM:])
