"""Several speakers in one video: who speaks when, and the frames in which each face speaks its part."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.engines.base import FrameStream
from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_options import check_face_selector
from mimaface_cli.media.trim import Moment
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.text_reader import TableRow, read_table
from mimaface_cli.motion.track import MotionTrack

_COLUMNS = ("start", "end", "face")
_RAMP_SECONDS = 0.08  # in which a mouth starts and stops to speak
_MOUTH = np.array([name.startswith(("jaw", "mouth")) for name in BLENDSHAPES])


@dataclass(frozen=True)
class Turn:
    """A time in which one face speaks.

    Attributes:
        start: Seconds since the start of the audio.
        end: Seconds since the start of the audio.
        face: Face selector.
    """

    start: float
    end: float
    face: str


def read_turns(path: Path, rate: Fraction = Fraction(25)) -> list[Turn]:
    """Read who speaks when: a CSV file with the columns start, end and face.

    Args:
        path: The file. Times are seconds, HH:MM:SS.mmm or timecodes; faces are face selectors.
        rate: Frame rate of timecodes.

    Raises:
        InputError: If the file is missing, or a line of it is wrong.
    """
    header, rows = read_table(path)
    names = [name.lower() for name in header]
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]}. Give the columns start, end and face.")
    if not rows:
        raise InputError(f"{path}: has no line below its header. Write one line for each time somebody speaks.")
    return [_read_turn(path, row, names, rate) for row in rows]


def _read_turn(path: Path, row: TableRow, names: list[str], rate: Fraction) -> Turn:
    start, end, face = (row.fields[names.index(name)] for name in _COLUMNS)
    try:
        first, last = (float(Moment.parse(text, "speakers").to_seconds(rate)) for text in (start, end))
        check_face_selector(face)
    except InputError as error:
        raise InputError(f"{path}: line {row.line}: {error.message}") from error
    if last <= first:
        raise InputError(f"{path}: line {row.line}: ends at {end}, before it starts. Give an end after {start}.")
    return Turn(first, last, face)


def list_faces(turns: Sequence[Turn]) -> list[str]:
    """Return the faces that speak, in the order of their first turns."""
    return list(dict.fromkeys(turn.face for turn in turns))


def select_turns(track: MotionTrack, turns: Sequence[Turn], face: str) -> MotionTrack:
    """Return the motion of one speaker: the mouth rests while others speak.

    Args:
        track: Motion of the whole speech.
        turns: Who speaks when.
        face: The speaker's face selector.
    """
    share = np.zeros(len(track))
    for turn in turns:
        if turn.face == face:
            inside = np.minimum(track.pts - turn.start, turn.end - track.pts)
            share = np.maximum(share, smoothstep(inside / _RAMP_SECONDS + 0.5))
    expression = np.array(track.expression)
    expression[:, np.flatnonzero(_MOUTH)] *= share[:, None].astype(expression.dtype)
    return replace(track, expression=expression)


def merge_streams(streams: list[FrameStream]) -> FrameStream:
    """Return one stream of a video in which several faces speak.

    Args:
        streams: For each face, the frames in which it speaks alone; from the second on with the original frames.
    """
    without_face = set.intersection(*(set(stream.source_frames_without_face) for stream in streams))
    notes: list[str] = []
    frames = _merge_frames(streams, notes)
    return replace(streams[0], frames=frames, notes=notes, source_frames_without_face=sorted(without_face))


def _merge_frames(streams: list[FrameStream], notes: list[str]) -> Generator[np.ndarray, None, None]:
    """Yield frames with the changes of all streams; the notes of the streams follow their last frames."""
    first, *others = streams
    try:
        for frame in first.frames:
            merged = frame
            for other in others:
                if other.originals is None:
                    raise ValueError("a stream that is merged has its original frames")
                spoken, original = next(other.frames), next(other.originals)
                changed = (spoken[..., :3] != original[..., :3]).any(2, keepdims=True)
                merged = np.where(changed, spoken, merged)
            yield merged
    finally:
        for stream in streams:
            stream.close()
            notes += [note for note in stream.notes if note not in notes]
