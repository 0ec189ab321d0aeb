"""Speech -> coefficients (T, 70) of the bfm09 space at 25 frames a second: expression 64, angles 3, translation 3."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat
from scipy.signal import savgol_filter
from torch import Tensor

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path
from mimaface_cli.speech import mel
from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import POSE, Audio2Pose

EXPRESSION = 64
SIZE = EXPRESSION + POSE
_BLOCK = 10  # frames at a time; more is slower, the maps then leave the processor's cache
_SMOOTHING = 13  # frames


@torch.inference_mode()
def predict_coefficients(
    expression: Audio2Exp,
    pose: Audio2Pose,
    samples: np.ndarray,
    first: np.ndarray,
    ratio: np.ndarray,
    noise: Tensor,
    *,
    style: int = 0,
    blink_from: np.ndarray | None = None,
    pose_from: np.ndarray | None = None,
    config: mel.MelConfig = mel.RELEASE,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Run both networks (in eval mode, on one device) over a sound and finish as the released program does.

    samples: mono (L,) in [-1, 1], at config.sample_rate; T = count_whole_frames(L). first: coefficients (≥ 70,) of the face
    that speaks. ratio: blink ratio (T,), see `blink`; noise: see `sample_noise`; style: a pose style. blink_from:
    expressions (N, ≥ 64) that stand for the speaker's own, for eyes that blink like theirs; the ratio is then 0.
    pose_from: poses (N, 6) whose change since their first is added to the pose. Both are repeated to T frames.
    workers: threads (None: one per core). progress: called with frames done and in all. Returns (T, 70) float32.
    Raises InputError.
    """
    pose.check_style(style)
    samples = mel.crop(samples, config)
    total = mel.count_whole_frames(len(samples), config)
    if not total:
        raise InputError(f"the sound is shorter than one frame ({config.frame_size} samples); give a longer one")
    first = np.asarray(first, np.float32)[:SIZE]
    if blink_from is None:
        references = first[None, :EXPRESSION]
    else:
        references, ratio = np.asarray(blink_from, np.float32)[:, :EXPRESSION], np.zeros(total)

    device = expression.mapping1.weight.device
    expressions = np.empty((total, EXPRESSION), np.float32)
    features = torch.empty(total, pose.config.audio, device=device)

    @torch.inference_mode()
    def run(start: int) -> int:
        stop = min(start + _BLOCK, total)
        rows = np.arange(start, stop)
        windows = torch.from_numpy(mel.mel_windows(samples, start, stop, config)).to(device)
        reference = torch.from_numpy(references[rows % len(references)]).to(device)
        shut = torch.from_numpy(np.asarray(ratio[start:stop], np.float32)[:, None]).to(device)
        expressions[start:stop] = expression(windows, reference, shut).cpu()
        features[start:stop] = pose.features(windows)
        return stop

    with _threads(workers) as pool:
        for stop in pool.map(run, range(0, total, _BLOCK)):
            if progress is not None:
                progress(stop, total)
        resting = torch.from_numpy(first[EXPRESSION:]).to(device)
        motion = pose.motion(features, resting, noise.to(device), style)
    poses = smooth_pose((resting + motion).cpu().numpy())
    if pose_from is not None:
        poses = add_pose(poses, np.asarray(pose_from, np.float32))
    return np.concatenate([expressions, poses], 1)


@contextmanager
def _threads(workers: int | None) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that each compute alone, like the caller's in the meantime.

    The networks' layers are too small to share: threads inside one layer would mostly wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers or os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def smooth_pose(pose: np.ndarray) -> np.ndarray:
    """Savitzky-Golay over time of order 2 and 13 frames, fewer in shorter clips; (T, 6), unchanged below 3 frames."""
    window = _SMOOTHING if len(pose) >= _SMOOTHING else 2 * ((len(pose) - 1) // 2) + 1
    return savgol_filter(pose, window, 2, axis=0) if window > 2 else pose.copy()


def add_pose(pose: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pose (T, 6) plus the change of other (N, 6) since its first frame, repeated to T frames."""
    return pose + other[np.arange(len(pose)) % len(other)] - other[0]


def write_mat(path: Path, coefficients: np.ndarray) -> None:
    """Write (T, 70) as SadTalker saves them: a MATLAB v5 file with float32 `coeff_3dmm`. Raises OutputError.

    A file that is there is replaced.
    """
    with atomic_path(path) as temporary:
        savemat(temporary, {"coeff_3dmm": np.asarray(coefficients, np.float32)}, appendmat=False)
