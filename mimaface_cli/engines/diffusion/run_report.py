"""The settings that a run of the diffusion engine used, for its result."""

from dataclasses import asdict
from typing import Any

from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.diffusion.video_denoiser import VideoDenoiser


def describe_run(options: DiffusionOptions, denoiser: VideoDenoiser) -> dict[str, Any]:
    """Return preset and settings, device and precision, memory mode, and the clips denoised and resumed."""
    return {
        "preset": options.preset,
        **asdict(denoiser.settings),
        "running_on": denoiser.runtime.name,
        "vram": denoiser.runtime.level,
        "clips_made": denoiser.denoised_count,
        "clips_resumed": len(denoiser.resumed_clips),
    }
