"""`mimaface edit`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mimaface_cli.cli import console

_CHANGE, _MOTION, _PICTURE, _RUN = "What changes", "Recorded motion", "Picture", "Running"
_Words = list[str]


def _option(panel: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=more.pop("show_default", False), **more)


def command(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="INPUT", show_default=False, help="A track (.npz), a photo or a video."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            show_default=False,
            help="A track (.npz); of a photo also a video (.mp4 ...) or a picture (.png, .jpg ...); of a video also a "
            "video, its own frames with the motion changed.",
        ),
    ] = None,
    values: Annotated[
        _Words | None, _option(_CHANGE, "Set curves: yaw=20 jawOpen=0.4 ...", "--set", metavar="NAME=VALUE...")
    ] = None,
    add: Annotated[_Words | None, _option(_CHANGE, "Add to curves, after --set.", metavar="NAME=VALUE...")] = None,
    scale: Annotated[
        _Words | None, _option(_CHANGE, "Multiply recorded curves, before --set.", metavar="NAME=FACTOR...")
    ] = None,
    preset: Annotated[
        _Words | None,
        _option(
            _CHANGE,
            "Add an expression: smile, laugh, surprise, sad, angry, disgust, kiss, winkLeft, winkRight; or a share of "
            "it, as smile=0.5.",
            metavar="NAME",
        ),
    ] = None,
    key: Annotated[
        _Words | None,
        _option(_CHANGE, "Keyframes, joined smoothly: 0.5:yaw=20 1:yaw=-10 ...", metavar="SECONDS:NAME=VALUE..."),
    ] = None,
    keys: Annotated[
        Path | None,
        _option(_CHANGE, "Keyframes from a CSV: a column time (s), then one a curve; empty fields set no key."),
    ] = None,
    grid: Annotated[
        _Words | None,
        _option(
            _CHANGE,
            "Draw a photo in steps of one or two curves, the first across, the second down, as one picture.",
            metavar="NAME=FROM:TO:COUNT...",
        ),
    ] = None,
    list_names: Annotated[bool, _option(_CHANGE, "Show every name with its range, and exit.", "--list")] = False,
    mix: Annotated[
        Path | None,
        _option(_MOTION, "Take regions over from this track, photo or video, matched by time.", metavar="OTHER"),
    ] = None,
    region: Annotated[
        _Words | None,
        _option(_MOTION, "What --mix takes: mouth, eyes, brows, head or gaze; may be repeated.", metavar="WHAT"),
    ] = None,
    strength: Annotated[
        float, _option(_MOTION, "Factor on the motion about its rest, 0 to 3.", show_default=True)
    ] = 1.0,
    smooth: Annotated[
        float, _option(_MOTION, "Smoothing over time: 0 off, 1 takes out jitter, 10 is slow.", show_default=True)
    ] = 0.0,
    speed: Annotated[float, _option(_MOTION, "Time stretch of a track: 2 is twice as fast.", show_default=True)] = 1.0,
    start: Annotated[float, _option(_MOTION, "First second of a track to keep.", show_default=True)] = 0.0,
    duration: Annotated[float | None, _option(_MOTION, "How many seconds of a track to keep.")] = None,
    seconds: Annotated[
        float | None,
        _option(_PICTURE, "Length of a video or track made from a photo (default: to the last key, else 3)."),
    ] = None,
    frame_rate: Annotated[
        str, _option(_PICTURE, "Its frames a second: 25, 29.97, 30000/1001 ...", metavar="RATE", show_default=True)
    ] = "25",
    face: Annotated[
        str, _option(_PICTURE, "Whose: largest, left, right or a number from 1 (left to right).", metavar="WHO")
    ] = "largest",
    output_mode: Annotated[
        Literal["full", "crop"],
        _option(_PICTURE, "full: the whole picture. crop: the paper's 512 square.", metavar="WHICH"),
    ] = "full",
    max_size: Annotated[int, _option(_PICTURE, "Longest side in pixels; 0 for no limit.", show_default=True)] = 4096,
    cell: Annotated[int, _option(_PICTURE, "Side of a grid's cells in pixels.", show_default=True)] = 256,
    codec: Annotated[str | None, _option(_PICTURE, "Codec of a video, as for animate.")] = None,
    crf: Annotated[int | None, _option(_PICTURE, "Its constant quality, lower is better.")] = None,
    bfm: Annotated[
        Path | None,
        _option(_RUN, "BFM09_model_info.mat, for expression names and regions in tracks of the bfm09 space."),
    ] = None,
    provenance: Annotated[
        bool,
        _option(
            _PICTURE,
            "Say in the result that it is generated: an invisible mark, metadata, a record beside it; and credentials, "
            "where a certificate is given. mimaface inspect reads them. Off, a comment alone says so.",
            "--provenance/--no-provenance",
        ),
    ] = True,
    certificate: Annotated[
        Path | None,
        _option(
            _PICTURE,
            "Sign content credentials (C2PA) with this chain of certificates, PEM.",
            envvar="MIMAFACE_C2PA_CERTIFICATE",
            show_default=False,
        ),
    ] = None,
    private_key: Annotated[
        Path | None, _option(_PICTURE, "Its key, PEM.", envvar="MIMAFACE_C2PA_PRIVATE_KEY", show_default=False)
    ] = None,
    overwrite: Annotated[bool, _option(_RUN, "Replace the output if it exists.", "--overwrite")] = False,
    cache_dir: Annotated[
        Path | None, _option(_RUN, "Where tracks are kept (default: the user cache or MIMAFACE_CACHE_DIR).")
    ] = None,
    no_cache: Annotated[bool, _option(_RUN, "Neither use nor keep tracks.", "--no-cache")] = False,
    quiet: Annotated[bool, _option(_RUN, "Say nothing but errors.", "-q", "--quiet")] = False,
    as_json: Annotated[bool, _option(_RUN, "Print one JSON object about the result.", "--json")] = False,
) -> None:
    """Change motion by name: head, expression and gaze, at once or along keyframes.

    yaw, pitch, roll and gaze are in degrees, positive to the subject's own left and upwards; x, y, z in model units;
    expressions are scores of 0 to 1, mouthSmile is both sides of mouthSmileLeft and mouthSmileRight. Values out of a
    curve's range are refused; where scaling or adding leaves it, the frames are held within it and counted in a note.

    Examples:
      mimaface edit photo.jpg -o turned.png --set yaw=20 pitch=-5 gazeYaw=-15

      mimaface edit photo.jpg -o grid.png --grid yaw=-30:30:7 jawOpen=0:1:4

      mimaface edit photo.jpg -o nod.mp4 --key 0.5:pitch=-12 1:pitch=8 1.5:pitch=0

      mimaface edit talk.npz -o calm.npz --scale browInnerUp=0.5 --smooth 1

      mimaface edit talk.mp4 -o smiling.mp4 --add mouthSmile=0.3
    """
    if list_names:
        console.write("\n".join(_names()))
        return
    if source is None or output is None:
        raise typer.BadParameter("give INPUT and -o OUTPUT, or --list")
    from mimaface_cli.apps.edit import edit
    from mimaface_cli.apps.edit_options import EditOptions
    from mimaface_cli.cache import Cache
    from mimaface_cli.media.encode_options import EncodeOptions
    from mimaface_cli.provenance.provenance_options import ProvenanceOptions

    with console.options():
        if region and mix is None:
            raise typer.BadParameter("--region says what --mix takes; give --mix OTHER as well")
        options = EditOptions(
            set=tuple(values or ()),
            add=tuple(add or ()),
            scale=tuple(scale or ()),
            presets=tuple(preset or ()),
            keys=tuple(key or ()),
            keys_file=keys,
            mix=mix,
            regions=tuple(region or ("mouth",)),
            strength=strength,
            smooth=smooth,
            speed=speed,
            start=start,
            duration=duration,
            grid=tuple(grid or ()),
            cell=cell,
            seconds=seconds,
            frame_rate=console.rate(frame_rate),
            bfm=bfm,
            face=face,
            output_mode=output_mode,
            max_size=max_size,
            encode=EncodeOptions(codec=codec, crf=crf),
            provenance=ProvenanceOptions(provenance, certificate, private_key),
        )
    cache = None if no_cache else Cache(cache_dir)
    with console.progress(quiet) as report:
        result = edit(source, console.target(output), options, overwrite=overwrite, cache=cache, progress=report)
    console.notes(result.notes, quiet)
    if not quiet:
        drawn = "" if result.engine is None else f", {result.width}x{result.height}, engine: {result.engine}"
        lasting = f"{result.frames} frames, {result.duration:.2f} s" if result.frames > 1 else "1 frame"
        console.say(f"{result.output}: {result.kind}, {lasting}{drawn}, {result.seconds:.1f} s of work")
    if as_json:
        console.write_json(
            {
                "output": str(result.output),
                "kind": result.kind,
                "space": result.space,
                "engine": result.engine,
                "frames": result.frames,
                "width": result.width,
                "height": result.height,
                "duration": result.duration,
                "seen": [
                    {"name": g.channel.name, "asked": g.requested, "read": g.measured, "factor": g.factor} for g in result.gains
                ],
                "notes": result.notes,
                "provenance": result.provenance,
                "seconds": result.seconds,
            }
        )


def _names() -> list[str]:
    from mimaface_cli.motion.channels import PRESETS, channel_names, find_channel

    lines = []
    for name in channel_names():
        channel = find_channel(name, "face478")
        lines.append(f"{name:22} {channel.low:g} to {channel.high:g} {channel.unit}")
    parts = (" ".join(f"{part}={value:g}" for part, value in made.items()) for made in PRESETS.values())
    return [*lines, "", *(f"--preset {name:13} {made}" for name, made in zip(PRESETS, parts))]
