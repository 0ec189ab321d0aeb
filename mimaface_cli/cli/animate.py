"""`mimaface animate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cli import console
from mimaface_cli.cli.interrupt import NOTHING_REMAINS
from mimaface_cli.cli.options import (
    DIFFUSION,
    MOTION,
    OUTPUT,
    RUN,
    AsJson,
    CacheDir,
    Certificate,
    Codec,
    Crf,
    Depth,
    Duration,
    EncoderPreset,
    Lossless,
    NoCache,
    Overwrite,
    PixelFormat,
    PrivateKey,
    Provenance,
    Quiet,
    Start,
    engine_option,
    field_option,
    open_cache,
    with_choices,
)
from mimaface_cli.cli.progress_display import DENOISING, show_progress
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings, build_settings
from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.registry import AUTO, engine_names
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.trim import Trim
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.speech.style_options import SpeechStyle

if TYPE_CHECKING:
    from mimaface_cli.apps.animate import AnimateResult


_REMAINS = f"{NOTHING_REMAINS}, and finished clips are kept: repeat the command to resume"


def _engine_names() -> list[str]:
    """Return the valid values of --engine."""
    return [AUTO, *engine_names()]


@with_choices
def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", show_default=False, help="Photo to animate, or a video whose motion is replaced."
        ),
    ],
    driver: Annotated[
        Path,
        typer.Argument(
            metavar="DRIVER",
            show_default=False,
            help="Video, photo, frames/%05d.png, track (.npz) or audio.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            show_default=False,
            show_envvar=False,
            help="Video (.mp4 .mov .webm ...), image or frames/%05d.png.",
        ),
    ],
    motion: Annotated[str, field_option(RetargetOptions, "motion", panel=MOTION)] = RetargetOptions.motion,
    reference_frame: Annotated[
        str, field_option(RetargetOptions, "reference", "--reference-frame", panel=MOTION, show_default=False)
    ] = "auto",
    region: Annotated[str, field_option(RetargetOptions, "region", panel=MOTION)] = RetargetOptions.region,
    strength: Annotated[float, field_option(RetargetOptions, "strength", panel=MOTION)] = RetargetOptions.strength,
    framing: Annotated[str, field_option(RetargetOptions, "framing", panel=MOTION)] = RetargetOptions.framing,
    smooth: Annotated[float, field_option(AnimateOptions, "smooth", panel=MOTION)] = AnimateOptions.smooth,
    follow_skin: Annotated[
        bool, field_option(AnimateOptions, "follow_skin", panel=MOTION)
    ] = AnimateOptions.follow_skin,
    face: Annotated[str, field_option(AnimateOptions, "face", panel=MOTION)] = AnimateOptions.face,
    driver_face: Annotated[str, field_option(AnimateOptions, "driver_face", panel=MOTION)] = AnimateOptions.driver_face,
    pose_from: Annotated[
        Path | None, field_option(AnimateOptions, "pose_from", panel=MOTION)
    ] = AnimateOptions.pose_from,
    emotion: Annotated[str | None, field_option(SpeechStyle, "emotion", panel=MOTION)] = SpeechStyle.emotion,
    head_motion: Annotated[float, field_option(SpeechStyle, "head_motion", panel=MOTION)] = SpeechStyle.head_motion,
    blink_rate: Annotated[float, field_option(SpeechStyle, "blink_rate", panel=MOTION)] = SpeechStyle.blink_rate,
    idle: Annotated[float, field_option(SpeechStyle, "idle", panel=MOTION)] = SpeechStyle.idle,
    start: Start = None,
    duration: Duration = None,
    strict: Annotated[bool, field_option(AnimateOptions, "strict", panel=MOTION)] = AnimateOptions.strict,
    loop: Annotated[str, field_option(AnimateOptions, "loop", panel=MOTION)] = AnimateOptions.loop,
    fit: Annotated[str, field_option(AnimateOptions, "fit", panel=MOTION)] = AnimateOptions.fit,
    speakers: Annotated[Path | None, field_option(AnimateOptions, "speakers", panel=MOTION)] = None,
    output_mode: Annotated[str, field_option(AnimateOptions, "output_mode", panel=OUTPUT)] = AnimateOptions.output_mode,
    max_size: Annotated[int | None, field_option(AnimateOptions, "max_size", panel=OUTPUT)] = AnimateOptions.max_size,
    audio: Annotated[str, field_option(AnimateOptions, "audio", panel=OUTPUT)] = AnimateOptions.audio,
    audio_stream: Annotated[int | None, field_option(AnimateOptions, "audio_stream", panel=OUTPUT)] = None,
    compare: Annotated[bool, field_option(AnimateOptions, "compare", panel=OUTPUT)] = AnimateOptions.compare,
    matte: Annotated[str | None, field_option(AnimateOptions, "matte", panel=OUTPUT)] = None,
    matte_kind: Annotated[str, field_option(AnimateOptions, "matte_kind", panel=OUTPUT)] = AnimateOptions.matte_kind,
    background: Annotated[
        str, field_option(AnimateOptions, "background", panel=OUTPUT, show_default=False)
    ] = AnimateOptions.background,
    mouth: Annotated[str, field_option(AnimateOptions, "mouth", panel=OUTPUT)] = AnimateOptions.mouth,
    eyes: Annotated[str, field_option(AnimateOptions, "eyes", panel=OUTPUT)] = AnimateOptions.eyes,
    deinterlace: Annotated[str, field_option(AnimateOptions, "deinterlace", panel=OUTPUT)] = AnimateOptions.deinterlace,
    codec: Codec = EncodeOptions.codec,
    crf: Crf = EncodeOptions.crf,
    encoder_preset: EncoderPreset = EncodeOptions.preset,
    pixel_format: PixelFormat = EncodeOptions.pixel_format,
    lossless: Lossless = EncodeOptions.lossless,
    depth: Depth = EncodeOptions.depth,
    provenance: Provenance = ProvenanceOptions.on,
    certificate: Certificate = ProvenanceOptions.certificate,
    private_key: PrivateKey = ProvenanceOptions.private_key,
    overwrite: Overwrite = False,
    engine: Annotated[str, engine_option(AnimateOptions, _engine_names, RUN)] = AnimateOptions.engine,
    preset: Annotated[str, field_option(DiffusionOptions, "preset", panel=DIFFUSION)] = DiffusionOptions.preset,
    seed: Annotated[int, field_option(DenoiseSettings, "seed", panel=DIFFUSION)] = DenoiseSettings.seed,
    steps: Annotated[int | None, field_option(DenoiseSettings, "steps", panel=DIFFUSION, show_default=False)] = None,
    sampler: Annotated[
        str | None, field_option(DenoiseSettings, "sampler", panel=DIFFUSION, show_default=False)
    ] = None,
    guidance: Annotated[
        float | None, field_option(DenoiseSettings, "guidance", panel=DIFFUSION, show_default=False)
    ] = None,
    guided: Annotated[str | None, field_option(DenoiseSettings, "guided", panel=DIFFUSION, show_default=False)] = None,
    clip_length: Annotated[
        int | None, field_option(DenoiseSettings, "length", "--clip-length", panel=DIFFUSION, show_default=False)
    ] = None,
    overlap: Annotated[
        int | None, field_option(DenoiseSettings, "overlap", panel=DIFFUSION, show_default=False)
    ] = None,
    token_reuse: Annotated[
        float | None, field_option(DenoiseSettings, "token_reuse", panel=DIFFUSION, show_default=False)
    ] = None,
    deep_reuse: Annotated[
        int | None, field_option(DenoiseSettings, "deep_reuse", panel=DIFFUSION, show_default=False)
    ] = None,
    warm_start: Annotated[
        float | None, field_option(DenoiseSettings, "warm_start", panel=DIFFUSION, show_default=False)
    ] = None,
    per_frame_tokens: Annotated[
        bool | None, field_option(DenoiseSettings, "per_frame_tokens", panel=DIFFUSION, show_default=False)
    ] = None,
    device: Annotated[str, field_option(DiffusionOptions, "device", panel=DIFFUSION)] = DiffusionOptions.device,
    dtype: Annotated[str, field_option(DiffusionOptions, "dtype", panel=DIFFUSION)] = DiffusionOptions.dtype,
    vram: Annotated[str, field_option(DiffusionOptions, "vram", panel=DIFFUSION)] = DiffusionOptions.vram,
    compile: Annotated[bool, field_option(DiffusionOptions, "compile", panel=DIFFUSION)] = DiffusionOptions.compile,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make the face of SOURCE move like DRIVER.

    Examples:
      mimaface animate photo.jpg talk.mp4 -o out.mp4
      mimaface animate photo.jpg speech.wav -o out.mp4
      mimaface animate photo.jpg talk.mp4 -o lips.mp4 --region lips --strength 1.2
      mimaface animate shot.mov actor.mp4 -o dubbed.mov --region lips --codec prores
    """
    with console.options():
        settings = build_settings(
            preset,
            seed=seed,
            steps=steps,
            sampler=sampler,
            guidance=guidance,
            guided=None if guided is None else _parse_guided(guided),
            length=clip_length,
            overlap=overlap,
            token_reuse=token_reuse,
            deep_reuse=deep_reuse,
            warm_start=warm_start,
            per_frame_tokens=per_frame_tokens,
        )
        options = AnimateOptions(
            engine=engine,
            retarget=RetargetOptions(motion, _parse_reference_frame(reference_frame), region, strength, framing),
            face=face,
            driver_face=driver_face,
            smooth=smooth,
            follow_skin=follow_skin,
            output_mode=output_mode,
            max_size=max_size,
            audio=audio,
            audio_stream=audio_stream,
            compare=compare,
            pose_from=pose_from,
            style=SpeechStyle(emotion, head_motion, blink_rate, idle),
            trim=Trim.parse(start, duration),
            loop=loop,
            fit=fit,
            speakers=speakers,
            strict=strict,
            matte=None if matte is None else console.output_path(matte),
            matte_kind=matte_kind,
            background=background,
            deinterlace=deinterlace,
            mouth=mouth,
            eyes=eyes,
            encode=EncodeOptions(codec, crf, encoder_preset, pixel_format, lossless, depth),
            diffusion=DiffusionOptions(preset, settings, device, dtype, vram, compile),
            provenance=ProvenanceOptions(provenance, certificate, private_key),
        )
    from mimaface_cli.apps.animate import animate

    cache = open_cache(cache_dir, no_cache)
    with show_progress(quiet, remains={} if no_cache else {DENOISING: _REMAINS}) as progress:
        result = animate(
            source, driver, console.output_path(output), options, overwrite=overwrite, cache=cache, progress=progress
        )
    _report(result, quiet, as_json)


def _report(result: "AnimateResult", quiet: bool, as_json: bool) -> None:
    """Print notes, the line about the result, and the JSON object."""
    notes = console.notes(result.notes, quiet)
    if not quiet:
        console.info(
            f"{result.output}: {console.count(result.frames, 'frame')}, {result.width}x{result.height}, "
            f"{float(result.frame_rate):.3f} fps, audio: {result.audio}, engine: {result.engine} "
            f"({result.engine_reason}), {result.seconds:.1f} s"
        )
    if as_json:
        console.write_json(_json_values(result, notes))


def _json_values(result: "AnimateResult", notes: list[str]) -> dict[str, Any]:
    """Return the JSON object that describes a result."""
    return {
        "output": str(result.output),
        "engine": result.engine,
        "engine_reason": result.engine_reason,
        "engine_settings": result.engine_settings,
        "frames": result.frames,
        "width": result.width,
        "height": result.height,
        "frame_rate": console.fraction(result.frame_rate),
        "duration": result.duration,
        "audio": result.audio,
        "audio_copied": result.audio_copied,
        "background": result.background,
        "matte": None if result.matte is None else str(result.matte),
        "driver_cached": result.driver_cached,
        "missing_frames": result.missing_frames,
        "source_frames_without_face": result.source_frames_without_face,
        "truncated": result.truncated,
        "notes": notes,
        "provenance": result.provenance,
        "seconds": result.seconds,
    }


def _parse_reference_frame(text: str) -> int | None:
    """Return the index of the reference frame, or None for "auto"."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal()):
        raise typer.BadParameter(
            f"--reference-frame: {text[:30]!r} is not a frame number. Give auto or a whole number from 0."
        )
    return int(text)


def _parse_guided(text: str) -> tuple[float, float]:
    """Return FROM:TO as two numbers; the settings check their range."""
    try:
        first, last = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise typer.BadParameter(
            f"--guided: {text[:30]!r} is not a range. Give two fractions of the steps, such as 0:0.6."
        ) from error
    return first, last
