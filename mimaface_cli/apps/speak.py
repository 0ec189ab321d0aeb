"""Convert speech to a track file."""

from pathlib import Path

from mimaface_cli.cache import Cache
from mimaface_cli.drivers.base import Driver
from mimaface_cli.drivers.speech_driver import load_speech
from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.errors import OutputError
from mimaface_cli.files import check_output
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.speech.speech_options import SpeechOptions


def speak(
    audio: Path | str,
    output: Path | str,
    options: SpeechOptions = SpeechOptions(),
    *,
    overwrite: bool = False,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Driver:
    """Synthesize the motion of a speaker and write it as a track.

    Args:
        audio: Audio file, or video file with audio.
        output: Track file (.npz).
        options: Options of the synthesis.
        overwrite: Whether an existing file may be replaced.
        cache: Where the track is looked up and stored, or None.
        progress: Called with the stage, the frames that are done and their total.

    Returns:
        The motion.

    Raises:
        InputError: The file has no audio, or an option cannot be used.
        OutputError: The track cannot be written.
        WeightsError: The networks of the space are not installed.
    """
    audio, output = Path(audio), Path(output)
    if not is_track(output):
        raise OutputError(f"{output}: a track is written as .npz. Change the suffix.")
    inputs = (audio, *filter(None, (options.pose_from, options.blinks_from, options.source)))
    check_output(output, overwrite, inputs)
    speaker = load_speech(audio, options, cache, progress)
    speaker.track.save(output, overwrite)
    return speaker
