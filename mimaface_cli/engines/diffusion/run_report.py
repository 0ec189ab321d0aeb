"""Settings that a run of the diffusion engine used, for the report of its result."""

from dataclasses import asdict
from typing import Any

from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.diffusion.video_denoiser import VideoDenoiser


def describe_run(options: DiffusionOptions, denoiser: VideoDenoiser) -> dict[str, Any]:
    """Return preset, settings, device, precision, memory mode, and the numbers of denoised and resumed clips."""
    return {
        "preset": options.preset,
        **asdict(denoiser.settings),
        "running_on": denoiser.runtime.name,
        "vram": denoiser.runtime.level,
        "clips_made": denoiser.denoised_count,
        "clips_resumed": len(denoiser.resumed_clips),
    }
