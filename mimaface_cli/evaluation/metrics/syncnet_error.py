"""LSE-C and LSE-D: synchronization of mouth and audio by SyncNet."""

from pathlib import Path

import numpy as np

from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.evaluation.functional.lip_sync_error import LipSyncError, lip_sync_error
from mimaface_cli.evaluation.functional.mfcc import RATE, mfcc
from mimaface_cli.evaluation.metric import TEMPORAL, Method, Metric, MetricInfo
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.waveform import open_waveform

FRAME_RATE = 25  # frames per second for which SyncNet was trained
MAX_WINDOWS = 2000  # windows of one result, so that memory stays bounded
_SIDE = 224
_MARGIN = 0.4  # of the crop around the face, as in SyncNet's evaluation
_BATCH = 64
_METHOD = Method("SyncNet v2", "face by landmarks (not S3FD), margin 0.4", "224x224, 25 frames/s, 16 kHz")


def crop_face(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return SyncNet's crop (224, 224, 3) around a face.

    Args:
        image: H×W×3 uint8 RGB.
        box: (4) left, top, right, bottom of the face in pixels.
    """
    import cv2

    left, top, right, bottom = (float(value) for value in box)
    half = max(right - left, bottom - top) / 2
    side = 2 * half * (1 + _MARGIN)
    x, y = (left + right) / 2 - half * (1 + _MARGIN), (top + bottom) / 2 - half
    scale = _SIDE / max(side, 1e-6)
    matrix = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]])
    return cv2.warpAffine(
        image, matrix, (_SIDE, _SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT, borderValue=(110, 110, 110)
    )


class MouthWindows:
    """Embeddings of the mouth, from the frames as they arrive (feature of a `VideoPair`).

    Attributes:
        starts: Frame at 25 per second at which each window starts.
        embeddings: (1024) of each window.
    """

    def __init__(self, video: VideoPair) -> None:
        self._network = pretrained.load_network("lse")
        self._step = video.options.network_step
        self._crops: list[np.ndarray] = []
        self._next = 0  # the next frame at 25 per second
        self.starts: list[int] = []
        self.embeddings: list[np.ndarray] = []

    def add(self, frame: FramePair) -> None:
        """Add a frame of the result; it stands for all frames at 25 per second up to its time."""
        from mimaface_cli.evaluation.networks.syncnet import WINDOW_FRAMES, embed_lip_window

        if frame.face is None or frame.is_cut:
            self._crops = []
        while self._next / FRAME_RATE <= frame.time + 1e-6:
            if frame.face is not None and len(self.starts) < MAX_WINDOWS:
                self._crops = [*self._crops[-(WINDOW_FRAMES - 1) :], crop_face(frame.image, frame.face.box)]
                start = self._next - WINDOW_FRAMES + 1
                if len(self._crops) == WINDOW_FRAMES and start % self._step == 0:
                    self.starts.append(start)
                    self.embeddings.append(embed_lip_window(self._network, np.stack(self._crops)))
            self._next += 1


def add_mouth_window(frame: FramePair) -> None:
    """Add a frame once (feature of a `FramePair`)."""
    frame.video.feature(MouthWindows).add(frame)


def syncnet_error(video: VideoPair) -> LipSyncError | str:
    """Return the errors of the result, or why there are none (feature of a `VideoPair`)."""
    from mimaface_cli.evaluation.networks.syncnet import WINDOW_STEPS, embed_audio_windows

    path = next((each for each in (video.result, video.pair.driver) if _has_sound(each)), None)
    windows = video.feature(MouthWindows)
    if path is None:
        return "neither result nor driver has audio"
    if not windows.starts:
        return "no five frames in a row show the face"
    skipped = 0 if path == video.result else round(float(video.driver_track.pts[0]) * RATE)
    needed = (windows.starts[-1] + 1) * RATE // FRAME_RATE + 2 * RATE
    with open_waveform(path) as waveform:
        samples = waveform.read(skipped, min(len(waveform), skipped + needed))
    steps = mfcc(samples * 32768.0).astype(np.float32)
    count = (len(steps) - WINDOW_STEPS) // 4 + 1
    if count < 1:
        return "the audio is shorter than 0.2 s"
    audio = []
    for start in range(0, count, _BATCH):
        batch = [steps[4 * k : 4 * k + WINDOW_STEPS].T for k in range(start, min(start + _BATCH, count))]
        audio.append(embed_audio_windows(windows._network, np.stack(batch)))
    starts = np.array(windows.starts)
    usable = starts < count
    if not usable.any():
        return "the audio ends before the mouth is visible"
    return lip_sync_error(np.stack(windows.embeddings)[usable], np.concatenate(audio), starts[usable])


def _has_sound(path: Path) -> bool:
    return not path.is_dir() and not is_track(path) and has_audio(path)


class SyncNetMetric(Metric):
    """Base class of both errors."""

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        video.feature(MouthWindows)  # loaded here, so that an unusable network fails before the video is read

    def update(self, frame: FramePair) -> None:
        """Add the frame's mouth."""
        frame.feature(add_mouth_window)

    def value(self, error: LipSyncError) -> float:
        """Return the figure."""
        raise NotImplementedError

    def result(self) -> float | None:
        """Return the error of the result."""
        error = self.video.feature(syncnet_error)
        return self.unavailable(error) if isinstance(error, str) else self.value(error)


class LseC(SyncNetMetric):
    """Confidence of SyncNet."""

    info = MetricInfo(
        "lse_c",
        TEMPORAL,
        "LSE-C",
        "higher",
        3,
        "confidence of SyncNet: how much the best shift of the audio stands out",
        network="lse",
        method=_METHOD,
    )

    def value(self, error: LipSyncError) -> float:
        """Return the confidence."""
        return error.confidence


class LseD(SyncNetMetric):
    """Distance of SyncNet."""

    info = MetricInfo(
        "lse_d",
        TEMPORAL,
        "LSE-D",
        "lower",
        3,
        "distance of mouth and audio by SyncNet at the best shift",
        network="lse",
        method=_METHOD,
    )

    def value(self, error: LipSyncError) -> float:
        """Return the distance."""
        return error.distance
