"""Generate face478 motion tracks from speech with the embedded lip network."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from mimaface_cli.media.waveform import Waveform
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.speech.emotion import Emotion, add_emotion
from mimaface_cli.speech.idle_motion import generate_idle_face, generate_idle_pose
from mimaface_cli.speech.lip_network import FRAME_RATE, LipModel, count_video_frames
from mimaface_cli.speech.mouth_motion import predict_mouth
from mimaface_cli.speech.nonverbal_motion import generate_nonverbal_motion, measure_activity
from mimaface_cli.speech.speech_options import SpeechOptions

EXTRACTOR = "speech+face478"
REVISION = "3"  # increase it when the output changes, so that cached tracks of older revisions are not used
NONSPEECH_SECONDS = "nonspeech_seconds"
"""Option of the track's metadata: seconds of audible audio that is not speech."""
_IDLE_STREAM = 1  # number of the random stream of idle motion, so that it does not change the other motion
_MAX_HEAD_MOTION = 2.0
_EYE_COLUMNS = tuple(k for k, name in enumerate(BLENDSHAPES) if name.startswith("eye"))


def generate_embedded_track(
    waveform: Waveform,
    model: LipModel,
    options: SpeechOptions,
    audio_hash: str,
    pose_from: MotionTrack | None = None,
    blinks_from: MotionTrack | None = None,
    progress: ProgressCallback = ignore_progress,
) -> MotionTrack:
    """Generate the motion of a face that speaks a recording.

    Args:
        waveform: The recording.
        model: The lip network.
        options: Seed, expression scale, style and whether the head stays still.
        audio_hash: Hash of the audio file (hex). It varies the motion between recordings.
        pose_from: Track whose head pose replaces the generated one, or None.
        blinks_from: Track whose eyelids and gaze replace the generated ones, or None.
        progress: Called with the stage "synthesizing motion" and the numbers of video frames.

    Returns:
        A track at 25 frames per second that covers the recording, rounded up to whole frames. Its metadata has
        NONSPEECH_SECONDS.
    """
    total, done = count_video_frames(len(waveform)), 0
    expression, loudness = np.zeros((total, EXPRESSION_DIM), np.float32), np.zeros(total)
    nonspeech_frames = 0
    for block in predict_mouth(waveform, model):
        part = slice(done, done + len(block.loudness))
        expression[part], loudness[part] = options.expression_scale * block.expression, block.loudness
        nonspeech_frames += int(block.is_nonspeech.sum())
        done = part.stop
        progress("synthesizing motion", done, total)
    style, emotion = options.style, Emotion.parse(options.style.emotion)
    if emotion is not None:
        style = replace(style, head_motion=min(style.head_motion * emotion.head_factor, _MAX_HEAD_MOTION))
    activity = measure_activity(expression)
    motion = generate_nonverbal_motion(expression, loudness, options.seed, audio_hash, options.still, style)
    rng = np.random.default_rng([options.seed, int(audio_hash[:15] or "0", 16), _IDLE_STREAM])
    idle_pose, idle_face = generate_idle_pose(total, rng), generate_idle_face(activity, rng)
    idle_face *= style.idle
    for addition in (motion.expression, idle_face):  # one after the other: tracks of hours are large
        expression += addition
    pose, gaze = motion.pose, motion.gaze
    if pose_from is not None:
        pose = np.array(pose_from.pose, np.float64)
        pose[:, :3] = np.unwrap(pose[:, :3], axis=0)
        pose = resample_ping_pong(pose, pose_from, total)
    elif not options.still:
        pose = pose + style.idle * min(style.head_motion, 1) * idle_pose
    if blinks_from is not None:
        expression[:, _EYE_COLUMNS] = resample_ping_pong(blinks_from.expression[:, _EYE_COLUMNS], blinks_from, total)
        gaze = resample_ping_pong(blinks_from.gaze, blinks_from, total)
    if emotion is not None:
        add_emotion(expression, emotion, rng)
    track = MotionTrack.neutral(total, "face478", Fraction(FRAME_RATE), EXTRACTOR, f"{REVISION}+{model.version}")
    meta = replace(track.meta, options={NONSPEECH_SECONDS: nonspeech_frames / FRAME_RATE})
    return replace(track, expression=expression, pose=pose, gaze=gaze, meta=meta)


def resample_ping_pong(values: np.ndarray, track: MotionTrack, frames: int) -> np.ndarray:
    """Resample a track's values to FRAME_RATE.

    A track that is too short plays backward, then forward again.

    Args:
        values: N × C, one row for each frame of the track.
        track: Provides the times of the rows.
        frames: Number of frames to return.

    Returns:
        frames × C.
    """
    times = track.pts - track.pts[0]
    duration = float(times[-1])
    targets = np.zeros(frames)
    if duration > 0:
        targets = duration - np.abs(np.arange(frames) / FRAME_RATE % (2 * duration) - duration)
    return np.stack([np.interp(targets, times, column) for column in values.T], 1)
