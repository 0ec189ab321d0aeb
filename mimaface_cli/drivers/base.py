"""The interface of driver kinds: description, request and result of a driver's motion."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from mimaface_cli.cache import Cache
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.trim import Trim
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.transforms import trim_track
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.speech.speech_options import SpeechOptions


@dataclass(frozen=True)
class Driver:
    """The motion of a driver.

    Attributes:
        track: The motion.
        path: File or folder of the driver.
        kind: "track", "image", "video", "folder" or "speech".
        was_cached: Whether the track was loaded rather than estimated.
        is_cached: Whether the track is in the cache now.
        has_audio: Whether the driver has an audio stream.
        start: Seconds that were trimmed off its start.
        notes: Notes for the user about what was repaired and converted.
        is_truncated: Whether frames are missing at its end.
    """

    track: MotionTrack
    path: Path
    kind: str
    was_cached: bool = False
    is_cached: bool = False
    has_audio: bool = False
    start: float = 0.0
    notes: tuple[str, ...] = ()
    is_truncated: bool = False

    @property
    def missing_frames(self) -> list[int]:
        """Indices of the frames without a face; their motion is interpolated."""
        return np.flatnonzero(~self.track.valid).tolist()

    def trimmed(self, trim: Trim) -> "Driver":
        """Return the part of the driver in a span, counted from its first frame.

        Raises:
            InputError: The span contains no frame.
        """
        if not trim:
            return self
        track = trim_track(self.track, *trim.seconds(self.track.frame_rate))
        return replace(self, track=track, start=float(track.pts[0] - self.track.pts[0]))


@dataclass(frozen=True)
class DriverInfo:
    """Description of a driver before its motion is estimated.

    Attributes:
        path: File or folder.
        kind: As in `Driver`.
        space: Coefficient space of a finished track, or None if the motion can be estimated in any space.
        frame_count: Number of frames, or None if it is unknown.
        has_head_motion: Whether the driver shows how the head moves; speech does not.
        media: Description of its frames, or None if it has no frames.
    """

    path: Path
    kind: str
    space: str | None = None
    frame_count: int | None = None
    has_head_motion: bool = True
    media: MediaInfo | None = None


@dataclass(frozen=True)
class DriverRequest:
    """Request for the motion of a driver.

    Attributes:
        path: File or folder.
        space: Coefficient space, for kinds that can be estimated in several spaces.
        extract: Options of the extraction from frames.
        speech: Options of the synthesis from audio; the request's `space` replaces theirs.
        speaker: Photo of the face that will speak, which some networks take as an input, or None.
        trim: Span to use; the times of the track stay those of the whole driver.
        cache: Where tracks are looked up and stored, or None.
        progress: Called with the stage and the frames that are done.
        info: Result of `DriverKind.inspect`, or None.
        device: Device of the released coefficient network: "auto" (a GPU where available), or the device's name.
    """

    path: Path
    space: str = "face478"
    extract: ExtractOptions = field(default_factory=ExtractOptions)
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    speaker: Path | None = None
    trim: Trim = field(default_factory=Trim)
    cache: Cache | None = None
    progress: ProgressCallback = ignore_progress
    info: DriverInfo | None = None
    device: str = "auto"


class DriverKind(Protocol):
    """A kind of file that can drive a face."""

    def accepts(self, path: Path) -> bool:
        """Return whether the path is of this kind. Raises InputError if it cannot be read."""
        ...

    def inspect(self, path: Path) -> DriverInfo:
        """Describe the driver without long work. Raises InputError."""
        ...

    def load(self, request: DriverRequest) -> Driver:
        """Return the driver's motion. Raises InputError or WeightsError."""
        ...
