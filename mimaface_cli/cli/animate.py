"""`mimaface animate`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mimaface_cli.cli import console

_MOTION, _PICTURE, _FILE, _RUN, _DIFFUSION = "Motion", "Picture", "File and sound", "Running", "Diffusion engine"


def _option(panel: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help="The photo to animate, or a video whose motion is to be replaced.",
        ),
    ],
    driver: Annotated[
        Path,
        typer.Argument(
            metavar="DRIVER",
            show_default=False,
            help="What it moves like: a video, a photo, a folder of frames or a track (.npz); or what it says: a sound "
            "file.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            show_default=False,
            help="Where the result goes: .mp4, .mov, .mkv or .webm; numbered pictures, as frames/ or "
            "frames/%05d.png; or one picture (.png, .jpg, .webp, .tif) where the driver is a photo.",
        ),
    ],
    motion: Annotated[
        Literal["relative", "absolute"],
        _option(
            _MOTION,
            "relative: the driver's change since its reference frame is added to the source. "
            "absolute: the driver's pose and expression replace the source's.",
            metavar="HOW",
        ),
    ] = "relative",
    reference_frame: Annotated[
        str,
        _option(
            _MOTION,
            "The driver's frame that counts as rest for relative motion: auto (the most neutral one) "
            "or a number from 0.",
            metavar="FRAME",
        ),
    ] = "auto",
    region: Annotated[
        Literal["all", "face", "eyes", "lips", "pose"],
        _option(
            _MOTION,
            "What is driven: all, face (no head movement), eyes, lips or pose (head movement alone).",
            metavar="WHAT",
        ),
    ] = "all",
    strength: Annotated[float, _option(_MOTION, "Factor on the driver's motion, 0 to 3.")] = 1.0,
    smooth: Annotated[float, _option(_MOTION, "Smoothing of the driver's movement, 0 (off) to 3.")] = 1.0,
    follow_skin: Annotated[
        bool,
        _option(
            _MOTION,
            "Read the driver's movement from its pictures too, as extract does.",
            "--follow-skin/--no-follow-skin",
        ),
    ] = True,
    face: Annotated[
        str,
        _option(
            _MOTION,
            "Whom to animate: largest, left, right or a number from 1 (left to right).",
            metavar="WHO",
        ),
    ] = "largest",
    driver_face: Annotated[str, _option(_MOTION, "Whom to follow in the driver, likewise.", metavar="WHO")] = "largest",
    output_mode: Annotated[
        Literal["full", "crop"],
        _option(_PICTURE, "full: the whole photo. crop: the paper's 512 square around the face.", metavar="WHICH"),
    ] = "full",
    max_size: Annotated[int, _option(_PICTURE, "Longest side of the result in pixels; 0 for no limit.")] = 4096,
    pose_from: Annotated[
        Path | None,
        _option(_MOTION, "Where the driver is a sound: take the head motion from there.", metavar="TRACK|VIDEO"),
    ] = None,
    start: Annotated[
        str | None,
        _option(
            _FILE,
            "Begin there in the driver (and in a source that moves): seconds, HH:MM:SS.mmm or a timecode HH:MM:SS:FF from "
            "the first frame.",
            metavar="TIME",
        ),
    ] = None,
    duration: Annotated[
        str | None,
        _option(_FILE, "Take so much of it.", metavar="TIME"),
    ] = None,
    matte: Annotated[
        str | None,
        _option(
            _FILE,
            "Also write a soft alpha of what was changed there: a video, or numbered pictures as matte/%05d.png.",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[bool, _option(_PICTURE, "Write source, driver and result side by side.", "--compare")] = False,
    audio: Annotated[str, _option(_FILE, "Sound of the result: driver, none, or a file.", metavar="SOUND")] = "driver",
    codec: Annotated[
        str | None,
        _option(_FILE, "h264, hevc, av1, vp9, prores, dnxhr or ffv1; by default the usual one for the file's suffix."),
    ] = None,
    crf: Annotated[int | None, _option(_FILE, "Constant quality of the codec, lower is better.")] = None,
    encoder_preset: Annotated[
        str | None, _option(_FILE, "Speed or profile of the codec, such as veryfast (h264) or hq (prores).")
    ] = None,
    pixel_format: Annotated[str | None, _option(_FILE, "FFmpeg pixel format, such as yuv444p or yuv422p10le.")] = None,
    lossless: Annotated[bool, _option(_FILE, "Keep every value of every pixel.", "--lossless")] = False,
    provenance: Annotated[
        bool,
        _option(
            _FILE,
            "Say in the result that it is generated: an invisible mark, metadata, a record beside it; and credentials, "
            "where a certificate is given. mimaface inspect reads them. Off, a comment alone says so.",
            "--provenance/--no-provenance",
        ),
    ] = True,
    certificate: Annotated[
        Path | None,
        _option(
            _FILE,
            "Sign content credentials (C2PA) with this chain of certificates, PEM.",
            envvar="MIMAFACE_C2PA_CERTIFICATE",
            show_default=False,
        ),
    ] = None,
    private_key: Annotated[
        Path | None, _option(_FILE, "Its key, PEM.", envvar="MIMAFACE_C2PA_PRIVATE_KEY", show_default=False)
    ] = None,
    overwrite: Annotated[bool, _option(_FILE, "Replace the output if it exists.", "--overwrite")] = False,
    engine: Annotated[
        Literal["auto", "mesh", "diffusion"],
        _option(_RUN, "auto, mesh (embedded, any CPU) or diffusion. Which one ran is always said.", metavar="NAME"),
    ] = "auto",
    preset: Annotated[
        Literal["release", "balanced", "fast"],
        _option(
            _DIFFUSION,
            "release: the released numbers, 25 Euler steps in fp32. balanced, fast: fewer steps, guidance in a part of "
            "them, 16-bit numbers. The options below change single values of it.",
            metavar="NAME",
        ),
    ] = "release",
    seed: Annotated[int, _option(_DIFFUSION, "Of the noise, and of how a speaker's head moves.")] = 0,
    steps: Annotated[int | None, _option(_DIFFUSION, "Denoising steps for each clip.", show_default=False)] = None,
    sampler: Annotated[
        Literal["euler", "dpm++", "unipc"] | None,
        _option(_DIFFUSION, "euler, dpm++ or unipc.", metavar="NAME", show_default=False),
    ] = None,
    guidance: Annotated[float | None, _option(_DIFFUSION, "Guidance scale, 1 (off) to 30.", show_default=False)] = None,
    guided: Annotated[
        str | None,
        _option(
            _DIFFUSION,
            "Share of the steps in which guidance runs, such as 0:0.6; the others cost half.",
            metavar="FROM:TO",
            show_default=False,
        ),
    ] = None,
    clip_length: Annotated[
        int | None, _option(_DIFFUSION, "Frames denoised together, up to 32 with the release.", show_default=False)
    ] = None,
    overlap: Annotated[
        int | None, _option(_DIFFUSION, "Frames carried from each clip into the next.", show_default=False)
    ] = None,
    token_reuse: Annotated[
        float | None,
        _option(
            _DIFFUSION,
            "Share of the steps after which token attention is reused; 1 for never.",
            show_default=False,
        ),
    ] = None,
    deep_reuse: Annotated[
        int | None,
        _option(_DIFFUSION, "Run the deep layers in every n-th step only; 1 for in all.", show_default=False),
    ] = None,
    warm_start: Annotated[
        float | None,
        _option(
            _DIFFUSION,
            "Begin from the mesh engine's frames and run this share of the steps; 0 for off.",
            show_default=False,
        ),
    ] = None,
    per_frame_tokens: Annotated[
        bool | None,
        _option(
            _DIFFUSION,
            "Condition tokens for each frame instead of the clip's average.",
            "--per-frame-tokens",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, _option(_DIFFUSION, "auto (CUDA), cuda, cuda:N or cpu.", metavar="NAME")] = "auto",
    dtype: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        _option(_DIFFUSION, "Numbers of the networks; auto: what the preset and the device want.", metavar="NAME"),
    ] = "auto",
    vram: Annotated[
        Literal["auto", "high", "low", "minimal"],
        _option(_DIFFUSION, "Memory of the device to spend; low for 6 GB cards.", metavar="HOW"),
    ] = "auto",
    compile: Annotated[
        bool, _option(_DIFFUSION, "Compile the layers: a slow start, then faster steps.", "--compile")
    ] = False,
    cache_dir: Annotated[
        Path | None, _option(_RUN, "Where tracks are kept (default: the user cache or MIMAFACE_CACHE_DIR).")
    ] = None,
    no_cache: Annotated[bool, _option(_RUN, "Neither use nor keep the driver's track.", "--no-cache")] = False,
    quiet: Annotated[bool, _option(_RUN, "Say nothing but errors.", "-q", "--quiet")] = False,
    as_json: Annotated[bool, _option(_RUN, "Print one JSON object about the result.", "--json")] = False,
) -> None:
    """Make the face of SOURCE move like DRIVER.

    Examples:
      mimaface animate photo.jpg talk.mp4 -o out.mp4

      mimaface animate photo.jpg speech.wav -o out.mp4

      mimaface animate photo.jpg talk.mp4 -o lips.mp4 --region lips --strength 1.2

      mimaface animate shot.mov actor.mp4 -o dubbed.mov --region face --codec prores
    """
    if not (reference_frame == "auto" or (reference_frame.isascii() and reference_frame.isdecimal())):
        raise typer.BadParameter(f"--reference-frame {reference_frame}: give auto or a frame number from 0")
    from mimaface_cli.apps.animate import animate
    from mimaface_cli.apps.animate_options import AnimateOptions
    from mimaface_cli.cache import Cache
    from mimaface_cli.engines.diffusion.denoise_settings import build_settings
    from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
    from mimaface_cli.media.encode_options import EncodeOptions
    from mimaface_cli.media.trim import Trim
    from mimaface_cli.motion.retarget_options import RetargetOptions
    from mimaface_cli.provenance.provenance_options import ProvenanceOptions

    reference = None if reference_frame == "auto" else int(reference_frame)
    with console.options():
        settings = build_settings(
            preset,
            seed=seed,
            steps=steps,
            sampler=sampler,
            guidance=guidance,
            guided=None if guided is None else _shares(guided),
            length=clip_length,
            overlap=overlap,
            token_reuse=token_reuse,
            deep_reuse=deep_reuse,
            warm_start=warm_start,
            per_frame_tokens=per_frame_tokens,
        )
        options = AnimateOptions(
            engine=engine,
            retarget=RetargetOptions(motion, reference, region, strength),
            face=face,
            driver_face=driver_face,
            smooth=smooth,
            follow_skin=follow_skin,
            output_mode=output_mode,
            max_size=max_size,
            audio=audio,
            compare=compare,
            pose_from=pose_from,
            trim=Trim.parse(start, duration),
            matte=None if matte is None else console.target(matte),
            encode=EncodeOptions(
                codec=codec, crf=crf, preset=encoder_preset, pixel_format=pixel_format, lossless=lossless
            ),
            diffusion=DiffusionOptions(preset, settings, device, dtype, vram, compile),
            provenance=ProvenanceOptions(provenance, certificate, private_key),
        )
    cache = None if no_cache else Cache(cache_dir)
    with console.progress(quiet) as report:
        result = animate(
            source, driver, console.target(output), options, overwrite=overwrite, cache=cache, report=report
        )
    console.notes(result.notes, quiet)
    if not quiet:
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
                "engine_settings": result.engine_settings,
                "frames": result.frames,
                "width": result.width,
                "height": result.height,
                "frame_rate": f"{result.frame_rate.numerator}/{result.frame_rate.denominator}",
                "duration": result.duration,
                "audio": result.audio,
                "audio_copied": result.audio_copied,
                "driver_cached": result.driver_cached,
                "missing_frames": result.missing_frames,
                "notes": result.notes,
                "provenance": result.provenance,
                "seconds": result.seconds,
            }
        )


def _shares(text: str) -> tuple[float, float]:
    """FROM:TO as two numbers; what they may be is the settings' affair."""
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise typer.BadParameter(f"--guided {text}: give two shares of the steps, such as 0:0.6") from error
    return low, high
