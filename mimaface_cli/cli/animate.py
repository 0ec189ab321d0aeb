"""`mimaface animate`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from mimaface_cli.cli import console

_MOTION, _PICTURE, _FILE, _RUN = "Motion", "Picture", "File and sound", "Running"


def command(
    source: Annotated[Path, typer.Argument(help="The photo to animate, or a video whose motion is to be replaced.")],
    driver: Annotated[Path, typer.Argument(help="What it moves like: a video, a photo, a folder of frames or a track (.npz).")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Where the result goes: .mp4, .mov, .mkv, .webm, a picture, or a pattern like out/%05d.png."),
    ],
    engine: Annotated[str, typer.Option(help="auto, mesh (embedded, any CPU) or diffusion. Which one ran is always said.", rich_help_panel=_RUN)] = "auto",
    motion: Annotated[
        str,
        typer.Option(
            help="relative: the driver's change since its reference frame is added to the source. absolute: the driver's pose and expression replace the source's.",
            rich_help_panel=_MOTION,
        ),
    ] = "relative",
    reference_frame: Annotated[
        str, typer.Option(help="The driver's frame that counts as rest for relative motion: auto (the most neutral one) or a number from 0.", rich_help_panel=_MOTION)
    ] = "auto",
    region: Annotated[str, typer.Option(help="What is driven: all, face (no head movement), eyes, lips or pose.", rich_help_panel=_MOTION)] = "all",
    strength: Annotated[float, typer.Option(help="Factor on the driver's motion, 0 to 3.", rich_help_panel=_MOTION)] = 1.0,
    smooth: Annotated[float, typer.Option(help="Smoothing of the driver's head movement, 0 (off) to 3.", rich_help_panel=_MOTION)] = 1.0,
    face: Annotated[str, typer.Option(help="Whom to animate: largest, left, right or a number from 1 (left to right).", rich_help_panel=_MOTION)] = "largest",
    driver_face: Annotated[str, typer.Option(help="Whom to follow in the driver, likewise.", rich_help_panel=_MOTION)] = "largest",
    output_mode: Annotated[str, typer.Option(help="full: the whole photo. crop: the paper's 512 square around the face.", rich_help_panel=_PICTURE)] = "full",
    max_size: Annotated[int, typer.Option(help="Longest side of the result in pixels; 0 for no limit.", rich_help_panel=_PICTURE)] = 4096,
    compare: Annotated[bool, typer.Option("--compare", help="Write source, driver and result side by side.", rich_help_panel=_PICTURE)] = False,
    audio: Annotated[str, typer.Option(help="Sound of the result: driver, none, or a file.", rich_help_panel=_FILE)] = "driver",
    codec: Annotated[Optional[str], typer.Option(help="h264, hevc, prores, dnxhr, ffv1, vp9 …; by default what the file's suffix usually holds.", rich_help_panel=_FILE)] = None,
    crf: Annotated[Optional[int], typer.Option(help="Constant quality of the codec, lower is better.", rich_help_panel=_FILE)] = None,
    preset: Annotated[Optional[str], typer.Option(help="Speed or profile of the codec, such as veryfast or hq.", rich_help_panel=_FILE)] = None,
    pixel_format: Annotated[Optional[str], typer.Option(help="FFmpeg pixel format, such as yuv444p or yuv422p10le.", rich_help_panel=_FILE)] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Keep every value of every pixel.", rich_help_panel=_FILE)] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.", rich_help_panel=_FILE)] = False,
    cache_dir: Annotated[Optional[Path], typer.Option(help="Where tracks are kept (default: the user cache or MIMAFACE_CACHE_DIR).", rich_help_panel=_RUN)] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither use nor keep the driver's track.", rich_help_panel=_RUN)] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.", rich_help_panel=_RUN)] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object about the result.", rich_help_panel=_RUN)] = False,
) -> None:
    """Make the face of SOURCE move like DRIVER.

    Examples:

      mimaface animate photo.jpg talk.mp4 -o out.mp4

      mimaface animate photo.jpg talk.mp4 -o lips.mp4 --region lips --strength 1.2

      mimaface animate shot.mov actor.mp4 -o dubbed.mov --region face --codec prores
    """
    from mimaface_cli.errors import InputError
    from mimaface_cli.media.formats import EncodeOptions
    from mimaface_cli.motion.cache import Cache
    from mimaface_cli.motion.retarget import RetargetOptions
    from mimaface_cli.reenact.animate import animate
    from mimaface_cli.reenact.options import AnimateOptions

    if reference_frame != "auto" and not reference_frame.isdecimal():
        raise InputError(f"--reference-frame {reference_frame}: give auto or a frame number from 0")
    options = AnimateOptions(
        engine=engine,
        retarget=RetargetOptions(motion, None if reference_frame == "auto" else int(reference_frame), region, strength),
        face=face,
        driver_face=driver_face,
        smooth=smooth,
        output_mode=output_mode,
        max_size=max_size,
        audio=audio,
        compare=compare,
        encode=EncodeOptions(codec=codec, crf=crf, preset=preset, pixel_format=pixel_format, lossless=lossless),
    )
    cache = None if no_cache else Cache(cache_dir)
    with console.progress(quiet) as report:
        result = animate(source, driver, output, options, overwrite=overwrite, cache=cache, report=report)
    if not quiet:
        for note in result.notes:
            console.say(f"note: {note}")
        console.say(
            f"{result.output}: {result.frames} frames, {result.width}x{result.height}, {float(result.frame_rate):.3f} "
            f"a second, sound: {result.audio}, engine: {result.engine} ({result.engine_reason}), {result.seconds:.1f} s"
        )
    if as_json:
        console.write_json(
            {
                "output": str(result.output),
                "engine": result.engine,
                "engine_reason": result.engine_reason,
                "frames": result.frames,
                "width": result.width,
                "height": result.height,
                "frame_rate": f"{result.frame_rate.numerator}/{result.frame_rate.denominator}",
                "duration": result.duration,
                "audio": result.audio,
                "driver_cached": result.driver_cached,
                "missing_frames": result.missing_frames,
                "notes": result.notes,
                "seconds": result.seconds,
            }
        )
