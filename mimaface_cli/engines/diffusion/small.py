"""Animate a photo with a small model, which refines the condition renders that its card specifies."""

from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mimaface_cli.cache import Cache
from mimaface_cli.engines.base import FrameStream, RenderRequest
from mimaface_cli.engines.diffusion import clip_encoder, small_checkpoint, video_denoiser
from mimaface_cli.engines.diffusion.device import find_accelerator
from mimaface_cli.engines.diffusion.pasting import paste_square, require_photo
from mimaface_cli.engines.diffusion.photo_render import photo_renderer
from mimaface_cli.engines.diffusion.pipeline import Appearance
from mimaface_cli.engines.diffusion.run_report import create_stream
from mimaface_cli.engines.diffusion.runtime import choose_runtime, place_networks
from mimaface_cli.engines.mesh.engine import plan_portrait_motion
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.renderer import render_photo
from mimaface_cli.face import face478
from mimaface_cli.face.d3dfr import pack_coefficients
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.face.warp import images_to_tensor
from mimaface_cli.motion.coefficients import LIGHT_DIM, TEXTURE_DIM
from mimaface_cli.weights.manifest import sha256_of
from mimaface_cli.weights.small_model import ModelCard, read_card


def prepare(folder: Path, request: RenderRequest) -> FrameStream:
    """Start rendering a photo under a face478 track with the small model in a folder. Raises WeightsError."""
    portrait, options = require_photo(request), request.diffusion
    card = read_card(folder)
    settings = small_checkpoint.resolve_settings(card, options.settings)
    request.progress("loading the diffusion networks", 0, None)
    networks, encoder = small_checkpoint.load_small_model(folder)
    # "auto" falls back to the CPU without an error, because the model is small enough for it.
    device = "cpu" if options.device == "auto" and find_accelerator() is None else options.device
    weights = sum(parameter.numel() for parameter in networks.unet.parameters())
    runtime = choose_runtime(
        device, options.dtype, options.vram, options.compile, weights=weights, frames=settings.length
    )
    square = portrait.square()
    motion = plan_portrait_motion(square, request.track, request.retarget, request.cache)
    with torch.inference_mode():
        pixels = clip_encoder.preprocess_image(square.image, clip_encoder.input_size(encoder))
        tokens = clip_encoder.encode_image_tokens(encoder, pixels)
    runtime = place_networks(networks, runtime, settings)
    denoiser = video_denoiser.VideoDenoiser(
        networks,
        runtime,
        settings,
        Appearance(tokens.clone()),
        _pack_coefficients(square, motion),
        lambda first: _stream_conditions(card, square, motion, first),
        None,
        _resized_renders(square, motion, card.size) if settings.warm_start else None,
        lambda done, total: request.progress("denoising", done, total),
        lambda done, total: request.progress("first clip", done, total),
    )
    if request.cache is not None:
        denoiser.store = _open_clip_store(request.cache, denoiser, folder, square, motion, card.size)
    frames: Generator[np.ndarray, None, None] = (_resize(frame, SQUARE) for frame in denoiser.frames())
    original = square.image
    if request.output_mode == "full":
        original = portrait.image
        frames = paste_square(frames, portrait, _square_transform(portrait))

    def finish() -> None:
        if denoiser.store is not None:
            denoiser.store.clear()

    return create_stream(request, denoiser, frames, original, finish)


def _pack_coefficients(square: Portrait, motion: MeshMotion) -> np.ndarray:
    """Return the photo's identity and the driver's motion, (N, 261) in D3DFR's order; texture and light are 0."""
    moved = motion.coefficients
    return pack_coefficients(
        {
            "identity": square.identity,
            "texture": np.zeros(TEXTURE_DIM),
            "illumination": np.zeros(LIGHT_DIM),
            "expression": moved.expression,
            "pose": moved.pose,
            "gaze": moved.gaze,
        }
    )


def _stream_conditions(
    card: ModelCard, square: Portrait, motion: MeshMotion, first: int
) -> Generator[Tensor, None, None]:
    """Yield the condition images (3, S, S) from frame `first` on: coefficient renders, or the mesh engine's frames."""
    if card.condition == "render":
        render = photo_renderer(square, face478.load())
        moved = motion.coefficients
        for expression, pose in zip(moved.expression[first:], moved.pose[first:], strict=True):
            yield images_to_tensor(_resize(render(expression, pose), card.size)[None])[0]
        return
    for k, frame in enumerate(_resized_renders(square, motion, card.size)):
        if k >= first:
            yield images_to_tensor(frame[None])[0]


def _resized_renders(square: Portrait, motion: MeshMotion, size: int) -> Generator[np.ndarray, None, None]:
    """Yield the mesh engine's frames of the square at the model's size."""
    model = face478.load()
    for frame in render_photo(prepare_photo(square, model), model, motion):
        yield _resize(frame[..., :3], size)


def _open_clip_store(
    cache: Cache,
    denoiser: video_denoiser.VideoDenoiser,
    folder: Path,
    square: Portrait,
    motion: MeshMotion,
    size: int,
) -> video_denoiser.ClipStore:
    arrays = {"square": square.image, "lids": motion.lids}
    weights = sha256_of(folder / "unet.safetensors") + sha256_of(folder / "mia.safetensors")
    return video_denoiser.open_clip_store(cache.clips, denoiser, weights, arrays, size)


def _resize(frame: np.ndarray, size: int) -> np.ndarray:
    interpolation = cv2.INTER_AREA if size < len(frame) else cv2.INTER_CUBIC
    return cv2.resize(frame, (size, size), interpolation=interpolation)


def _square_transform(portrait: Portrait) -> np.ndarray:
    """Return the transform (2, 3) from the photo to its square, with pixel centers at integers as in OpenCV."""
    matrix = portrait.square_matrix()
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return matrix
