"""`mimaface audio`."""

from pathlib import Path
from typing import Annotated

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.options import (
    MOTION,
    AsJson,
    CacheDir,
    NoCache,
    Overwrite,
    Quiet,
    TrackOutput,
    field_option,
    open_cache,
    with_choices,
)
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.speech.speech_options import SpeechOptions
from mimaface_cli.speech.style_options import SpeechStyle


@with_choices
def command(
    speech: Annotated[
        Path,
        typer.Argument(metavar="SPEECH", show_default=False, help="An audio file, or a video with an audio track."),
    ],
    output: TrackOutput,
    space: Annotated[str, field_option(SpeechOptions, "space", panel=MOTION)] = SpeechOptions.space,
    seed: Annotated[int, field_option(SpeechOptions, "seed", panel=MOTION)] = SpeechOptions.seed,
    pose_style: Annotated[int, field_option(SpeechOptions, "pose_style", panel=MOTION)] = SpeechOptions.pose_style,
    expression_scale: Annotated[
        float, field_option(SpeechOptions, "expression_scale", panel=MOTION)
    ] = SpeechOptions.expression_scale,
    still: Annotated[bool, field_option(SpeechOptions, "still", panel=MOTION)] = SpeechOptions.still,
    emotion: Annotated[
        str | None, field_option(SpeechStyle, "emotion", panel=MOTION, hidden=False)
    ] = SpeechStyle.emotion,
    head_motion: Annotated[
        float, field_option(SpeechStyle, "head_motion", panel=MOTION, hidden=False)
    ] = SpeechStyle.head_motion,
    blink_rate: Annotated[
        float, field_option(SpeechStyle, "blink_rate", panel=MOTION, hidden=False)
    ] = SpeechStyle.blink_rate,
    idle: Annotated[float, field_option(SpeechStyle, "idle", panel=MOTION, hidden=False)] = SpeechStyle.idle,
    pose_from: Annotated[Path | None, field_option(SpeechOptions, "pose_from", panel=MOTION)] = SpeechOptions.pose_from,
    blinks_from: Annotated[
        Path | None, field_option(SpeechOptions, "blinks_from", panel=MOTION)
    ] = SpeechOptions.blinks_from,
    source: Annotated[Path | None, field_option(SpeechOptions, "source", panel=MOTION)] = SpeechOptions.source,
    checkpoint: Annotated[
        Path | None, field_option(SpeechOptions, "checkpoint", panel=MOTION)
    ] = SpeechOptions.checkpoint,
    audio_stream: Annotated[int | None, field_option(SpeechOptions, "audio_stream", panel=MOTION)] = None,
    overwrite: Overwrite = False,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Convert SPEECH to a motion track: lips in sync with the audio, and natural head motion, brows and blinks.

    Examples:
      mimaface audio speech.wav -o speech.npz
      mimaface animate photo.jpg speech.npz --audio speech.wav -o out.mp4
      mimaface animate photo.jpg speech.wav -o out.mp4    (both in one step)
      mimaface audio speech.mp3 -o nod.npz --pose-from somebody.mp4 --seed 7
      mimaface audio speech.mp3 -o glad.npz --emotion happy=0.6 --head-motion 1.3
    """
    with console.options():
        style = SpeechStyle(emotion, head_motion, blink_rate, idle)
        options = SpeechOptions(
            space,
            seed,
            pose_style,
            expression_scale,
            still,
            pose_from,
            blinks_from,
            source,
            checkpoint,
            audio_stream,
            style,
        )
    from mimaface_cli.apps.speak import speak

    cache = open_cache(cache_dir, no_cache)
    with show_progress(quiet) as progress:
        result = speak(speech, output, options, overwrite=overwrite, cache=cache, progress=progress)
    track = result.track
    notes = console.notes([*result.notes], quiet)
    if not quiet:
        origin = "from the cache" if result.was_cached else f"extractor: {track.meta.extractor}"
        frames = console.count(len(track), "frame")
        console.info(f"{output}: {frames}, {track.duration:.2f} s, {track.meta.space}, {origin}")
    if as_json:
        console.write_json(
            {
                "input": str(speech),
                "output": str(output),
                "space": track.meta.space,
                "extractor": track.meta.extractor,
                "frames": len(track),
                "duration": track.duration,
                "frame_rate": console.fraction(track.frame_rate),
                "audio_hash": track.meta.audio_hash,
                "seed": seed,
                "cached": result.was_cached,
                "notes": notes,
            }
        )
