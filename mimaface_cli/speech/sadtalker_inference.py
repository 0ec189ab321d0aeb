"""Inference of SadTalker's audio networks: speech to bfm09 coefficients."""

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import savgol_filter
from torch import Tensor

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import EXPRESSION_DIM
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.speech import mel
from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import POSE, Audio2Pose

COEFFICIENTS = EXPRESSION_DIM + POSE  # expression 64, angles 3, translation 3
_BLOCK = 10  # frames at once; feature maps of more frames would not fit into the processor's cache
_SMOOTHING_WINDOW = 13  # frames


@dataclass(frozen=True, eq=False)
class SpeakerConditions:
    """Inputs of the networks besides the audio.

    T is the number of whole video frames of the audio.

    Attributes:
        reference: (70 or more,), coefficients of the face.
        eye_closure: (T,), from 0 (open) to 1 (shut), see `blink`.
        noise: (chunks, latent), see `audio2pose.sample_noise`.
        style: Pose style.
        blink_from: (N, 64 or more), expressions that replace the reference, so that their blinks are copied. They are
            repeated to T frames, and `eye_closure` is replaced by 0. None uses `reference` and `eye_closure`.
        pose_from: (N, 6), poses whose change since the first one is added to the pose. They are repeated to T frames.
    """

    reference: np.ndarray
    eye_closure: np.ndarray
    noise: Tensor
    style: int = 0
    blink_from: np.ndarray | None = None
    pose_from: np.ndarray | None = None


@torch.inference_mode()
def predict_coefficients(
    expression_network: Audio2Exp,
    pose_network: Audio2Pose,
    samples: np.ndarray,
    conditions: SpeakerConditions,
    *,
    config: mel.MelConfig = mel.RELEASE,
    workers: int | None = None,
    progress: ProgressCallback = ignore_progress,
) -> np.ndarray:
    """Run both networks over a recording and postprocess their output as the release does.

    Args:
        expression_network: Expression network in eval mode.
        pose_network: Pose network in eval mode on the same device.
        samples: (L,), mono audio in [-1, 1] at config.sample_rate.
        conditions: The face, its eye closure, noise and pose style.
        config: Parameters of the mel front end.
        workers: Threads. None uses one per core.
        progress: Called with the stage "synthesizing motion" and the numbers of video frames.

    Returns:
        (T, 70) float32, expression and pose coefficients of T whole video frames.

    Raises:
        InputError: The audio is shorter than a frame or contains NaN or Inf, or the network does not have the style.
    """
    pose_network.check_style(conditions.style)
    samples = mel.crop_to_whole_frames(samples, config)
    total = mel.count_whole_frames(len(samples), config)
    if not total:
        raise InputError(
            f"The audio is shorter than one frame ({config.samples_per_frame} samples). Use a longer recording."
        )
    references, eye_closure = _expression_inputs(conditions, total)
    device = expression_network.mapping1.weight.device
    expressions = np.empty((total, EXPRESSION_DIM), np.float32)
    features = torch.empty(total, pose_network.config.audio, device=device)

    @torch.inference_mode()
    def run_block(start: int) -> int:
        stop = min(start + _BLOCK, total)
        windows = torch.from_numpy(mel.mel_windows(samples, start, stop, config)).to(device)
        reference = torch.from_numpy(references[np.arange(start, stop) % len(references)]).to(device)
        closure = torch.from_numpy(eye_closure[start:stop, None]).to(device)
        expressions[start:stop] = expression_network(windows, reference, closure).cpu()
        features[start:stop] = pose_network.compute_features(windows)
        return stop

    with _single_threaded_pool(workers) as pool:
        for stop in pool.map(run_block, range(0, total, _BLOCK)):
            progress("synthesizing motion", stop, total)
        poses = _predict_poses(pose_network, features, conditions)
    return np.concatenate([expressions, poses], 1)


def _expression_inputs(conditions: SpeakerConditions, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the reference expressions (N, 64) and the eye closure (frames,) as float32."""
    if conditions.blink_from is None:
        reference = np.asarray(conditions.reference, np.float32)[None, :EXPRESSION_DIM]
        return reference, np.asarray(conditions.eye_closure, np.float32)
    return np.asarray(conditions.blink_from, np.float32)[:, :EXPRESSION_DIM], np.zeros(frames, np.float32)


def _predict_poses(pose_network: Audio2Pose, features: Tensor, conditions: SpeakerConditions) -> np.ndarray:
    """Predict and smooth the poses (T, 6) from the audio features of all frames."""
    reference = np.asarray(conditions.reference, np.float32)[EXPRESSION_DIM:COEFFICIENTS]
    resting_pose = torch.from_numpy(reference).to(features.device)
    motion = pose_network.generate_motion(
        features, resting_pose, conditions.noise.to(features.device), conditions.style
    )
    poses = smooth_pose((resting_pose + motion).cpu().numpy())
    if conditions.pose_from is None:
        return poses
    return add_pose_change(poses, np.asarray(conditions.pose_from, np.float32))


@contextmanager
def _single_threaded_pool(workers: int | None) -> Generator[ThreadPoolExecutor, None, None]:
    """Provide a thread pool with single-threaded PyTorch operations, also in the calling thread.

    The networks' layers are too small to split: threads within one layer would mostly wait for each other.
    """
    previous_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers or os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(previous_threads)


def smooth_pose(pose: np.ndarray) -> np.ndarray:
    """Smooth poses over time by a Savitzky-Golay filter of order 2.

    The window has 13 frames, or fewer in shorter clips.

    Args:
        pose: (T, 6).

    Returns:
        (T, 6), unchanged for fewer than 3 frames.
    """
    window = _SMOOTHING_WINDOW if len(pose) >= _SMOOTHING_WINDOW else 2 * ((len(pose) - 1) // 2) + 1
    return savgol_filter(pose, window, 2, axis=0) if window > 2 else pose.copy()


def add_pose_change(pose: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Add the change of another pose since its first frame.

    Args:
        pose: (T, 6).
        other: (N, 6), repeated to T frames.

    Returns:
        (T, 6).
    """
    return pose + other[np.arange(len(pose)) % len(other)] - other[0]
