"""`mimaface audio`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mimaface_cli.cli import console


def command(
    speech: Annotated[
        Path,
        typer.Argument(metavar="SPEECH", show_default=False, help="A sound file, or a video whose sound is taken."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", show_default=False, help="Track to write (.npz).")],
    space: Annotated[
        Literal["face478", "bfm09"],
        typer.Option(
            metavar="NAME",
            help="face478: the embedded lip network, nothing to download. bfm09: SadTalker's networks, for the diffusion "
            "engine; their weights are needed.",
        ),
    ] = "face478",
    seed: Annotated[int, typer.Option(help="Of head motion, brows and blinks: the same seed gives the same.")] = 0,
    pose_style: Annotated[int, typer.Option(help="Head motion style 0 to 45 (bfm09).")] = 0,
    expression_scale: Annotated[float, typer.Option(help="More or less of the mouth's movement, 0 to 3.")] = 1.0,
    still: Annotated[bool, typer.Option("--still", help="The head does not move.")] = False,
    pose_from: Annotated[
        Path | None,
        typer.Option(metavar="TRACK|VIDEO", help="Take the head motion from there; a shorter one runs back and forth."),
    ] = None,
    blinks_from: Annotated[
        Path | None, typer.Option(metavar="TRACK|VIDEO", help="Take lids and gaze from there.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="PHOTO|TRACK", help="The face that will speak, which SadTalker's networks look at (bfm09)."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="SadTalker's weights: its .safetensors, or a folder of its older .pth (bfm09)."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where tracks are kept (default: the user cache or MIMAFACE_CACHE_DIR).")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither use nor keep the track.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object about the track.")] = False,
) -> None:
    """Turn SPEECH into a motion track: lips that follow the sound, head, brows and blinks of somebody speaking.

    Examples:
      mimaface audio speech.wav -o speech.npz

      mimaface animate photo.jpg speech.npz --audio speech.wav -o out.mp4    (or at once: animate photo.jpg speech.wav)

      mimaface audio speech.mp3 -o nod.npz --pose-from somebody.mp4 --seed 7
    """
    from mimaface_cli.apps.speak import speak
    from mimaface_cli.cache import Cache
    from mimaface_cli.speech.speech_options import SpeechOptions

    with console.options():
        options = SpeechOptions(
            space, seed, pose_style, expression_scale, still, pose_from, blinks_from, source, checkpoint
        )
    cache = None if no_cache else Cache(cache_dir)
    with console.progress(quiet) as report:
        result = speak(speech, output, options, overwrite=overwrite, cache=cache, report=report)
    track = result.track
    if not quiet:
        made = "from the cache" if result.cached else f"made by {track.meta.extractor}"
        console.say(f"{output}: {len(track)} frames, {track.duration:.2f} s, {track.meta.space}, {made}")
    if as_json:
        console.write_json(
            {
                "input": str(speech),
                "output": str(output),
                "space": track.meta.space,
                "extractor": track.meta.extractor,
                "frames": len(track),
                "duration": track.duration,
                "frame_rate": f"{track.frame_rate.numerator}/{track.frame_rate.denominator}",
                "audio_hash": track.meta.audio_hash,
                "seed": seed,
                "cached": result.cached,
            }
        )
