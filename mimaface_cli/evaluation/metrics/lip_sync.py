"""Lip synchronization: lags of the mouth and of the audio."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.evaluation.functional.audio_sync import (
    ENVELOPE_RATE,
    MIN_DURATION,
    Lag,
    audio_mouth_lag,
    curve_lag,
    sampled_curve_lag,
    speech_envelope,
)
from mimaface_cli.evaluation.functional.track_curves import mouth_opening
from mimaface_cli.evaluation.metric import FACE478_METHOD, TEMPORAL, Method, Metric, MetricInfo, Series
from mimaface_cli.evaluation.video_pair import VideoPair
from mimaface_cli.face import face478
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.waveform import open_waveform
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.track import MotionTrack

_NO_FACE = "no face in the result"
_TOO_SHORT = f"less than {MIN_DURATION:.1f} s in common, or no movement"


@dataclass(frozen=True)
class SpeechEnvelopes:
    """Loudness of the speech of result and driver; None without audio.

    Both have ENVELOPE_RATE values per second.
    """

    result: np.ndarray | None
    driver: np.ndarray | None


def _read_envelope(path: Path) -> np.ndarray | None:
    if path.is_dir() or is_track(path) or not has_audio(path):
        return None
    with open_waveform(path) as waveform:
        return speech_envelope(waveform.blocks())


def speech_envelopes(video: VideoPair) -> SpeechEnvelopes:
    """Return the loudness of both (feature of a `VideoPair`), each from its first frame on."""
    driver = _read_envelope(video.pair.driver)
    if driver is not None:
        driver = driver[round(float(video.driver_track.pts[0]) * ENVELOPE_RATE) :]
    return SpeechEnvelopes(_read_envelope(video.result), driver)


def mouth_lag(video: VideoPair) -> Lag | None:
    """Return the lag of the result's mouth behind the driver's (feature of a `VideoPair`)."""
    track, driver_track = video.track, video.driver_track
    if track is None:
        return None
    model = face478.load()
    times, driver_times = track.pts - track.pts[0], driver_track.pts - driver_track.pts[0]
    return sampled_curve_lag(mouth_opening(track, model), times, mouth_opening(driver_track, model), driver_times)


def _jaw_lag(envelope: np.ndarray, track: MotionTrack) -> Lag | None:
    jaw = track.expression[:, blendshape_index("jawOpen")].astype(np.float64)
    return audio_mouth_lag(envelope, jaw, track.pts - track.pts[0])


def jaw_lag(video: VideoPair) -> Lag | None:
    """Return the lag of the audio behind the result's jaw (feature of a `VideoPair`).

    If the result has no audio, the driver's audio is used.
    """
    envelopes = video.feature(speech_envelopes)
    envelope = envelopes.driver if envelopes.result is None else envelopes.result
    if video.track is None or envelope is None:
        return None
    return _jaw_lag(envelope, video.track)


def _explain_missing_mouth_lag(lag: Lag | None) -> str:
    return _TOO_SHORT if lag is None else "the mouths of result and driver do not correlate"


class MouthLag(Metric):
    """Lag of the result's mouth behind the driver's."""

    info = MetricInfo(
        "mouth_lag",
        TEMPORAL,
        "mouth lag",
        "zero",
        0,
        "delay of the mouth opening after the driver's",
        "ms",
        method=FACE478_METHOD,
    )

    def result(self) -> float | None:
        """Return the lag in milliseconds."""
        if self.video.track is None:
            return self.unavailable(_NO_FACE)
        lag = self.video.feature(mouth_lag)
        if lag is None or not lag.is_reliable:
            return self.unavailable(_explain_missing_mouth_lag(lag))
        return 1000 * lag.offset

    def series(self) -> Mapping[str, Series]:
        """Return the opening of both mouths at the result's frames."""
        track = self.video.track
        if track is None:
            return {}
        model, times = face478.load(), np.array(self.video.times)
        driver = mouth_opening(resample_track(self.video.driver_track, times), model)
        return {
            "mouth": mouth_opening(track, model),
            "mouth_driver": np.where(self.video.compared_frames, driver, np.nan),
        }


class SyncOffset(Metric):
    """Lag of the result's audio behind its mouth, both relative to the driver's."""

    info = MetricInfo(
        "sync_offset",
        TEMPORAL,
        "audio lag",
        "zero",
        0,
        "delay of the audio after the mouth; audio and mouth of the driver count as synchronous",
        "ms",
        method=Method("MediaPipe + face478; loudness", "tracked face", "100 values/s"),
    )

    def result(self) -> float | None:
        """Return the offset in milliseconds."""
        if self.video.track is None:
            return self.unavailable(_NO_FACE)
        envelopes = self.video.feature(speech_envelopes)
        if envelopes.result is None or envelopes.driver is None:
            silent = "result" if envelopes.result is None else "driver"
            return self.unavailable(f"the {silent} has no audio")
        mouths = self.video.feature(mouth_lag)
        if mouths is None or not mouths.is_reliable:
            return self.unavailable(_explain_missing_mouth_lag(mouths))
        audio = curve_lag(envelopes.result, envelopes.driver)
        if audio is None:
            return self.unavailable(_TOO_SHORT)
        if not audio.is_reliable:
            return self.unavailable("the audio of result and driver does not correlate")
        return 1000 * (audio.offset - mouths.offset)


class SpeechMetric(Metric):
    """Base class of figures that compare speech loudness with the jaw.

    They do not need the driver's mouth.
    """

    def lag(self) -> Lag | None:
        """Return the lag of the audio behind the jaw, or None with `reason` set."""
        if self.video.track is None:
            self.unavailable(_NO_FACE)
            return None
        lag = self.video.feature(jaw_lag)
        if lag is None:
            envelopes = self.video.feature(speech_envelopes)
            has_any_audio = envelopes.result is not None or envelopes.driver is not None
            self.unavailable(_TOO_SHORT if has_any_audio else "neither result nor driver has audio")
        return lag


class SpeechOffset(SpeechMetric):
    """Lag of the audio behind the jaw."""

    info = MetricInfo(
        "sync_speech",
        TEMPORAL,
        "coarse audio lag",
        "zero",
        0,
        "delay of the speech loudness after the jaw, without the driver; accurate to about 150 ms; not SyncNet",
        "ms",
        method=Method("MediaPipe + face478; loudness", "tracked face", "100 values/s"),
    )

    def result(self) -> float | None:
        """Return the offset in milliseconds."""
        lag = self.lag()
        if self.video.track is not None:
            envelopes = self.video.feature(speech_envelopes)
            if envelopes.result is None and envelopes.driver is not None:
                self.notes.append("the result has no audio; its mouth is measured against the driver's audio")
        if lag is None:
            return None
        if not lag.is_reliable:
            return self.unavailable(f"loudness and jaw do not correlate (correlation {lag.correlation:.2f})")
        return 1000 * lag.offset


class SpeechCorrelation(SpeechMetric):
    """Correlation of loudness and jaw."""

    info = MetricInfo(
        "sync_correlation",
        TEMPORAL,
        "loudness-jaw correlation",
        "higher",
        2,
        "at the coarse audio lag",
        method=Method("MediaPipe + face478; loudness", "tracked face", "100 values/s"),
    )

    def result(self) -> float | None:
        """Return the correlation at the offset of `SpeechOffset`."""
        lag = self.lag()
        return None if lag is None else lag.correlation
