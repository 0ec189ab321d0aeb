"""`mimaface edit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.cli import console
from mimaface_cli.cli.options import (
    OUTPUT,
    RUN,
    AsJson,
    CacheDir,
    Certificate,
    Codec,
    Crf,
    NoCache,
    Overwrite,
    PrivateKey,
    Provenance,
    Quiet,
    field_option,
    open_cache,
    plain_option,
    with_choices,
)
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.provenance.provenance_options import ProvenanceOptions

if TYPE_CHECKING:
    from mimaface_cli.apps.edit import EditResult

CHANGES, RECORDED = "Changes", "Recorded motion"
_Terms = list[str] | None


@with_choices
def command(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="INPUT", show_default=False, help="A track (.npz), a photo or a video."),
    ] = None,
    output: Annotated[
        str | None,
        plain_option(
            "Track (.npz); for a photo also an image (.png, .jpg ...) or a video (.mp4 ...); for a video also the "
            "video with the edited motion.",
            "-o",
            "--output",
            metavar="PATH",
        ),
    ] = None,
    values: Annotated[_Terms, field_option(EditOptions, "set", "--set", panel=CHANGES)] = None,
    add: Annotated[_Terms, field_option(EditOptions, "add", panel=CHANGES)] = None,
    scale: Annotated[_Terms, field_option(EditOptions, "scale", panel=CHANGES)] = None,
    preset: Annotated[_Terms, field_option(EditOptions, "presets", "--preset", panel=CHANGES)] = None,
    key: Annotated[_Terms, field_option(EditOptions, "keys", "--key", panel=CHANGES)] = None,
    keys: Annotated[
        Path | None, field_option(EditOptions, "keys_file", "--keys", panel=CHANGES)
    ] = EditOptions.keys_file,
    grid: Annotated[_Terms, field_option(EditOptions, "grid", panel=CHANGES)] = None,
    list_names: Annotated[
        bool, plain_option("List the names of all curves with their ranges, and exit.", "--list", panel=CHANGES)
    ] = False,
    mix: Annotated[Path | None, field_option(EditOptions, "mix", panel=RECORDED)] = EditOptions.mix,
    region: Annotated[_Terms, field_option(EditOptions, "regions", "--region", panel=RECORDED)] = None,
    strength: Annotated[float, field_option(EditOptions, "strength", panel=RECORDED)] = EditOptions.strength,
    smooth: Annotated[float, field_option(EditOptions, "smooth", panel=RECORDED)] = EditOptions.smooth,
    speed: Annotated[float, field_option(EditOptions, "speed", panel=RECORDED)] = EditOptions.speed,
    start: Annotated[float, field_option(EditOptions, "start", panel=RECORDED)] = EditOptions.start,
    duration: Annotated[float | None, field_option(EditOptions, "duration", panel=RECORDED)] = EditOptions.duration,
    seconds: Annotated[float | None, field_option(EditOptions, "seconds", panel=OUTPUT)] = EditOptions.seconds,
    frame_rate: Annotated[str, field_option(EditOptions, "frame_rate", panel=OUTPUT)] = str(EditOptions.frame_rate),
    face: Annotated[str, field_option(EditOptions, "face", panel=OUTPUT)] = EditOptions.face,
    output_mode: Annotated[str, field_option(EditOptions, "output_mode", panel=OUTPUT)] = EditOptions.output_mode,
    max_size: Annotated[int | None, field_option(EditOptions, "max_size", panel=OUTPUT)] = EditOptions.max_size,
    background: Annotated[
        str, field_option(EditOptions, "background", panel=OUTPUT, show_default=False)
    ] = EditOptions.background,
    mouth: Annotated[str, field_option(EditOptions, "mouth", panel=OUTPUT)] = EditOptions.mouth,
    eyes: Annotated[str, field_option(EditOptions, "eyes", panel=OUTPUT)] = EditOptions.eyes,
    cell: Annotated[int, field_option(EditOptions, "cell", panel=OUTPUT)] = EditOptions.cell,
    codec: Codec = EncodeOptions.codec,
    crf: Crf = EncodeOptions.crf,
    bfm: Annotated[Path | None, field_option(EditOptions, "bfm", panel=RUN)] = EditOptions.bfm,
    provenance: Provenance = ProvenanceOptions.on,
    certificate: Certificate = ProvenanceOptions.certificate,
    private_key: PrivateKey = ProvenanceOptions.private_key,
    strict: Annotated[bool, field_option(EditOptions, "strict", panel=RUN)] = EditOptions.strict,
    overwrite: Overwrite = False,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Edit motion by curve name: head, expression and gaze, constant or along keyframes.

    yaw, pitch, roll and gaze are in degrees, positive to the subject's left and up; x, y and z in model units;
    expressions are scores from 0 to 1. mouthSmile stands for mouthSmileLeft and mouthSmileRight. A value outside a
    curve's range is an error. If --scale or --add leaves the range, frames are clipped and a note gives their number.

    Examples:
      mimaface edit photo.jpg -o turned.png --set yaw=20 pitch=-5 gazeYaw=-15
      mimaface edit photo.jpg -o grid.png --grid yaw=-20:20:5 jawOpen=0:0.6:4
      mimaface edit photo.jpg -o nod.mp4 --key 0.5:pitch=-12 1:pitch=8 1.5:pitch=0
      mimaface edit talk.npz -o calm.npz --scale browInnerUp=0.5 --smooth 1
      mimaface edit talk.mp4 -o smiling.mp4 --add mouthSmile=0.3
    """
    if list_names:
        console.write("\n".join(_curve_names()))
        return
    if source is None or output is None:
        raise typer.BadParameter("INPUT or -o OUTPUT is missing. Give both, or --list.")
    if region and mix is None:
        raise typer.BadParameter("--region: applies to --mix only. Give --mix OTHER as well.")
    with console.options():
        options = EditOptions(
            set=tuple(values or ()),
            add=tuple(add or ()),
            scale=tuple(scale or ()),
            presets=tuple(preset or ()),
            keys=tuple(key or ()),
            keys_file=keys,
            mix=mix,
            regions=tuple(region or EditOptions.regions),
            strength=strength,
            smooth=smooth,
            speed=speed,
            start=start,
            duration=duration,
            grid=tuple(grid or ()),
            cell=cell,
            seconds=seconds,
            frame_rate=console.parse_frame_rate(frame_rate),
            bfm=bfm,
            face=face,
            output_mode=output_mode,
            max_size=max_size,
            background=background,
            mouth=mouth,
            eyes=eyes,
            strict=strict,
            encode=EncodeOptions(codec=codec, crf=crf),
            provenance=ProvenanceOptions(provenance, certificate, private_key),
        )
    from mimaface_cli.apps.edit import edit

    cache = open_cache(cache_dir, no_cache)
    with show_progress(quiet) as progress:
        result = edit(source, console.output_path(output), options, overwrite=overwrite, cache=cache, progress=progress)
    _report(result, quiet, as_json)


def _report(result: "EditResult", quiet: bool, as_json: bool) -> None:
    """Print notes, the line about the result, and the JSON object."""
    notes = console.notes(result.notes, quiet)
    if not quiet:
        size = "" if result.engine is None else f", {result.width}x{result.height}, engine: {result.engine}"
        duration_text = f", {result.duration:.2f} s" if result.frames > 1 else ""
        content = f"{result.kind}, {console.count(result.frames, 'frame')}{duration_text}{size}"
        console.info(f"{result.output}: {content}, computed in {result.seconds:.1f} s")
    if as_json:
        console.write_json(_json_values(result, notes))


def _json_values(result: "EditResult", notes: list[str]) -> dict[str, Any]:
    """Return the JSON object that describes a result."""
    return {
        "output": str(result.output),
        "kind": result.kind,
        "space": result.space,
        "engine": result.engine,
        "frames": result.frames,
        "width": result.width,
        "height": result.height,
        "duration": result.duration,
        "background": result.background,
        "engine_settings": result.engine_settings,
        "source_frames_without_face": result.source_frames_without_face,
        "truncated": result.truncated,
        "gains": [
            {"name": gain.channel.name, "requested": gain.requested, "measured": gain.measured, "factor": gain.factor}
            for gain in result.gains
        ],
        "notes": notes,
        "provenance": result.provenance,
        "seconds": result.seconds,
    }


def _curve_names() -> list[str]:
    """Return a line for each curve with its range, and a line for each preset."""
    from mimaface_cli.motion.channels import PRESETS, channel_names, find_channel

    lines = []
    for name in channel_names():
        channel = find_channel(name, "face478")
        lines.append(f"{name:22} {channel.low:g} to {channel.high:g} {channel.unit}")
    lines.append("")
    for name, parts in PRESETS.items():
        terms = " ".join(f"{part}={value:g}" for part, value in parts.items())
        lines.append(f"--preset {name:13} {terms}")
    return lines
