"""The frame stream of a run of the diffusion engine, with the settings that the run reports."""

from collections.abc import Callable, Generator
from dataclasses import asdict
from itertools import repeat
from typing import Any

import numpy as np

from mimaface_cli.engines.base import FrameStream, RenderRequest
from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.diffusion.video_denoiser import VideoDenoiser


def create_stream(
    request: RenderRequest,
    denoiser: VideoDenoiser,
    frames: Generator[np.ndarray, None, None],
    original: np.ndarray,
    on_finish: Callable[[], None],
) -> FrameStream:
    """Return the stream of a run.

    Args:
        request: The request that the run answers.
        denoiser: Provides notes and settings while frames are read.
        frames: (H, W, 3) or (H, W, 4) uint8, in the form of the result.
        original: The source in the same form, (H, W, 3) uint8.
        on_finish: Called when the result is complete on disk.
    """
    return FrameStream(
        frames,
        request.track.pts,
        request.track.frame_rate,
        repeat(original),
        denoiser.notes,
        on_finish,
        lambda: describe_run(request.diffusion, denoiser),
        last_duration=request.track.meta.last_duration,
    )


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
