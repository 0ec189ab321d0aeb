"""A photo under mimaface-mini: each frame is drawn as its card says, by the mesh engine or from coefficients alone, and
the small model finishes it.
"""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.sources import Moving
from mimaface_cli.cache import Cache
from mimaface_cli.engines.diffusion import clip_encoder, small_checkpoint, video_denoiser
from mimaface_cli.engines.diffusion.photo_render import render_of
from mimaface_cli.engines.diffusion.pipeline import Appearance
from mimaface_cli.engines.diffusion.released import Diffused, paste
from mimaface_cli.engines.diffusion.runtime import choose_runtime, place_networks
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.motion_plan import plan_mesh_motion
from mimaface_cli.face import face478
from mimaface_cli.face.d3dfr import pack_coefficients
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.face.warp import images_to_tensor
from mimaface_cli.motion.coefficients import LIGHT_DIM, TEXTURE_DIM, Coefficients
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.weights.manifest import sha256_of
from mimaface_cli.weights.small_model import read_card


def from_photo(
    folder: Path,
    portrait: Portrait,
    track: MotionTrack,
    options: AnimateOptions,
    cache: Cache | None,
    tell: ProgressCallback,
) -> Diffused:
    """A photo under a face478 track, by the model in a folder. Raises WeightsError."""
    asked, card = options.diffusion, read_card(folder)
    settings = small_checkpoint.resolve_settings(card, asked.settings)
    tell("loading the diffusion networks", 0, None)
    networks, encoder = small_checkpoint.load_small_model(folder)
    runtime = choose_runtime(_device(asked.device), asked.dtype, asked.vram, asked.compile, frames=settings.length)
    model, size = face478.load(), card.size
    square = portrait.square()
    own = Coefficients(square.expression[None], square.pose[None], square.gaze[None])
    motion = plan_mesh_motion(model, square.identity, own, track, options.retarget, scores=square.scores)
    moved = motion.coefficients
    coefficients = pack_coefficients(
        {
            "identity": square.identity,
            "texture": np.zeros(TEXTURE_DIM),
            "illumination": np.zeros(LIGHT_DIM),
            "expression": moved.expression,
            "pose": moved.pose,
            "gaze": moved.gaze,
        }
    )
    with torch.inference_mode():
        tokens = clip_encoder.encode_image_tokens(
            encoder, clip_encoder.preprocess_image(square.image, encoder.config.image_size)
        )
    place_networks(networks, runtime, settings)

    def renders(first: int) -> Iterator[Tensor]:
        if card.condition == "render":
            draw = render_of(square, model)
            for expression, pose in zip(moved.expression[first:], moved.pose[first:]):
                yield images_to_tensor(_resized(draw(expression, pose), size)[None])[0]
            return
        for k, frame in enumerate(renderer.render_photo(square, model, motion)):
            if k >= first:
                yield images_to_tensor(_resized(frame[..., :3], size)[None])[0]

    rough = None
    if settings.warm_start:
        rough = (_resized(frame[..., :3], size) for frame in renderer.render_photo(square, model, motion))
    report = lambda done, total: tell("denoising", done, total)  # noqa: E731
    appearance = Appearance(tokens.clone())
    work = video_denoiser.VideoDenoiser(
        networks, runtime, settings, appearance, coefficients, renders, None, rough, report
    )
    if cache is not None:
        arrays = {"square": square.image, "lids": motion.lids}
        weights = sha256_of(folder / "unet.safetensors") + sha256_of(folder / "mia.safetensors")
        work.store = video_denoiser.open_clip_store(cache.clips, work, weights, arrays, size)
    frames, original = (_resized(frame, SQUARE) for frame in work.frames()), square.image
    if options.output_mode == "full":
        original = portrait.image
        frames = paste(frames, portrait, _to_square(portrait))
    return Diffused(Moving(frames, track.pts, track.frame_rate, repeat(original)), work, asked)


def _device(asked: str) -> str:
    """Small enough for a CPU: auto takes CUDA where it is and does not complain where it is not."""
    return "cpu" if asked == "auto" and not torch.cuda.is_available() else asked


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    way = cv2.INTER_AREA if size < len(frame) else cv2.INTER_CUBIC
    return cv2.resize(frame, (size, size), interpolation=way)


def _to_square(portrait: Portrait) -> np.ndarray:
    """The photo to the 512 square, from pixel centers at integers as OpenCV counts."""
    matrix = portrait.square_matrix()
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return matrix
