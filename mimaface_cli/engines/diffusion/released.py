"""Animate a photo with the released checkpoint: networks, motion in bfm09, and the square pasted into the photo."""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mimaface_cli.engines.base import FrameStream, RenderRequest
from mimaface_cli.engines.diffusion import checkpoint, diffusion_motion, video_denoiser
from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.diffusion.pasting import paste_square, require_photo
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.engines.diffusion.portrait_features import PortraitFeatures, extract_portrait_features
from mimaface_cli.engines.diffusion.run_report import create_stream
from mimaface_cli.engines.diffusion.runtime import Runtime, choose_runtime, place_networks
from mimaface_cli.engines.mesh.engine import plan_portrait_motion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.renderer import render_photo
from mimaface_cli.errors import InputError
from mimaface_cli.face import face478
from mimaface_cli.face.alignment import to_corner_origin
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.track_meta import FACE478


@dataclass
class _LoadedNetworks:
    """Networks for one set of options, and the features of the last photo.

    Attributes:
        key: Weights and options that the networks were loaded for.
        networks: The networks.
        runtime: Device, precision and memory mode.
        is_placed: Whether the networks are on their device.
        photo_key: Content of the photo that `features` belongs to.
        features: Features of a photo, or None.
    """

    key: tuple[Any, ...]
    networks: DiffusionNetworks
    runtime: Runtime
    is_placed: bool = False
    photo_key: bytes = b""
    features: PortraitFeatures | None = None

    def place(self, options: DiffusionOptions) -> None:
        """Move the networks to their device, once."""
        if not self.is_placed:
            self.runtime = place_networks(self.networks, self.runtime, options.settings)
            self.is_placed = True

    def portrait_features(self, portrait: Portrait) -> PortraitFeatures:
        """Return the features of a photo; the networks that extract them are loaded only for a new photo."""
        photo_key = hashlib.sha256(portrait.image.tobytes()).digest() + portrait.points.tobytes()
        if self.features is None or self.photo_key != photo_key:
            coefficient_net, _ = checkpoint.load_coefficient_net()
            networks = checkpoint.load_portrait_networks(coefficient_net, identity=self.networks.needs_identity)
            face = Face(portrait.points, np.zeros(len(BLENDSHAPES)), np.eye(3))
            self.features = extract_portrait_features(portrait.image, face, networks, self.runtime.device)
            self.photo_key = photo_key
        return self.features


# At most one entry: the worker of a batch renders many videos in a row, often of one photo.
_reusable: list[_LoadedNetworks] = []


def prepare(request: RenderRequest) -> FrameStream:
    """Start rendering a photo under a bfm09 track. Raises InputError or WeightsError."""
    portrait, options = require_photo(request), request.diffusion
    request.progress("loading the diffusion networks", 0, None)
    loaded = _load_networks(options)
    features = loaded.portrait_features(portrait)
    loaded.place(options)  # after the networks that extract the photo's features are off the device
    denoiser = _create_denoiser(request, loaded, features)
    frames = denoiser.frames()
    to_square = features.face.to_square
    if request.output_mode == "full":
        frames, original = paste_square(frames, portrait, to_square), portrait.image
    else:
        original = portrait.warped(to_corner_origin(to_square), SQUARE, SQUARE).image

    def finish() -> None:
        if denoiser.store is not None:
            denoiser.store.clear()
        # A note means that memory ran out or the precision changed: the next video must load the networks again.
        if not denoiser.notes:
            _reusable[:] = [loaded]

    return create_stream(request, denoiser, frames, original, finish)


def _create_denoiser(
    request: RenderRequest, loaded: _LoadedNetworks, features: PortraitFeatures
) -> video_denoiser.VideoDenoiser:
    settings = request.diffusion.settings
    face_model = checkpoint.load_face_model()
    motion = diffusion_motion.plan_diffusion_motion(face_model, features, request.track, request.retarget)
    denoiser = video_denoiser.VideoDenoiser(
        loaded.networks,
        loaded.runtime,
        settings,
        features.appearance,
        motion.coefficients,
        diffusion_motion.stream_condition_renders(face_model, motion),
        None,
        _mesh_renders(request, features.face.to_square) if settings.warm_start > 0 else None,
        lambda done, total: request.progress("denoising", done, total),
        lambda done, total: request.progress("first clip", done, total),
    )
    if request.cache is not None:
        arrays = {"square": features.face.square, "source": features.coefficients, "places": motion.places}
        weights = checkpoint.fingerprint_weights()
        denoiser.store = video_denoiser.open_clip_store(request.cache.clips, denoiser, weights, arrays)
    return denoiser


def _load_networks(options: DiffusionOptions) -> _LoadedNetworks:
    """Return the networks of the last video if its options were the same, else new ones."""
    settings = options.settings
    is_exact = options.preset == "release"
    key = (
        checkpoint.fingerprint_weights(),
        options.device,
        options.dtype,
        options.vram,
        options.compile,
        is_exact,
        settings.length,
        settings.token_reuse == 1,
    )
    # Empty the list in any case: other networks need the memory, and a failed run must not leave its networks here.
    matching, _reusable[:] = [loaded for loaded in _reusable if loaded.key == key], []
    if matching:
        return matching[0]
    networks = checkpoint.load_networks()
    runtime = choose_runtime(
        options.device,
        options.dtype,
        options.vram,
        options.compile,
        exact=is_exact,
        weights=sum(parameter.numel() for parameter in networks.unet.parameters()),
        frames=settings.length,
    )
    return _LoadedNetworks(key, networks, runtime)


def _mesh_renders(request: RenderRequest, to_square: np.ndarray) -> Generator[np.ndarray, None, None]:
    """Yield the mesh engine's frames of the square, from which a warm start begins."""
    if request.load_track is None:
        raise InputError(
            "a warm start needs the driver's video, to extract its motion in face478 too. Set `warm_start=0`.",
            field="warm_start",
        )
    track = request.load_track(FACE478)
    square = require_photo(request).warped(to_corner_origin(to_square), SQUARE, SQUARE)
    return _opaque_renders(square, request, track)


def _opaque_renders(square: Portrait, request: RenderRequest, track: Any) -> Generator[np.ndarray, None, None]:
    motion = plan_portrait_motion(square, track, request.retarget, request.cache)
    model = face478.load()
    for frame in render_photo(prepare_photo(square, model, request.cache), model, motion):
        yield frame[..., :3]
