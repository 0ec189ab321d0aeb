"""A photo under the diffusion engine: its networks, the driver in their space, and the square put back into the photo."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any

import cv2
import numpy as np

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.sources import Moving
from mimaface_cli.cache import Cache
from mimaface_cli.engines.diffusion import checkpoint, video_denoiser
from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.engines.diffusion.portrait_features import PortraitFeatures, extract_portrait_features
from mimaface_cli.engines.diffusion.runtime import Runtime, choose_runtime, place_networks
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.motion_plan import plan_mesh_motion
from mimaface_cli.face import alignment as align
from mimaface_cli.face import face478
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.motion.coefficients import Coefficients
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback

FEATHER = 40  # pixels of the square over which it blends into the photo


@dataclass
class _Loaded:
    """Networks, placed where they run or not yet, and what was seen of a photo. asked, photo: what they were made for."""

    asked: tuple
    networks: DiffusionNetworks
    runtime: Runtime
    placed: bool = False
    photo: bytes = b""
    source: PortraitFeatures | None = None


_last: list[_Loaded] = []  # at most one: a batch's worker draws video after video, often of one photo


@dataclass
class Diffused:
    """A video to be drawn, and afterwards what is to be said of it."""

    moving: Moving
    work: video_denoiser.VideoDenoiser
    options: DiffusionOptions
    loaded: _Loaded | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Preset and settings, device, number format, memory level, and how many clips were made and taken over."""
        work = self.work
        return {
            "preset": self.options.preset,
            **asdict(work.settings),
            "running_on": work.runtime.name,
            "vram": work.runtime.level,
            "clips_made": work.made,
            "clips_resumed": len(work.taken),
        }

    def finished(self) -> None:
        """The video is written: what was kept to resume it may go, the networks may serve the next one."""
        if self.work.store is not None:
            self.work.store.forget()
        if (
            self.loaded and not self.work.notes
        ):  # else memory ran short, or their numbers had to be changed: better begin anew
            _last[:] = [self.loaded]


def from_photo(
    portrait: Portrait,
    track: MotionTrack,
    options: AnimateOptions,
    cache: Cache | None,
    tell: ProgressCallback,
    mesh_track: MotionTrack | None = None,
) -> Diffused:
    """A photo under a bfm09 track. mesh_track: the same driver in face478, for a warm start."""
    asked, settings = options.diffusion, options.diffusion.settings
    tell("loading the diffusion networks", 0, None)
    loaded = _load(asked)
    networks, runtime, source = loaded.networks, loaded.runtime, _seen(loaded, portrait)
    if not loaded.placed:  # after those that looked at the photo have left the device
        place_networks(networks, runtime, settings)
        loaded.placed = True
    model = checkpoint.load_face_model()
    motion = video_denoiser.plan_diffusion_motion(model, source, track, options.retarget)
    rough = None if mesh_track is None else _rough(portrait, source.face.to_square, mesh_track, options)
    report = lambda done, total: tell("denoising", done, total)  # noqa: E731
    renders = video_denoiser.stream_condition_renders(model, motion)
    work = video_denoiser.VideoDenoiser(
        networks, runtime, settings, source.appearance, motion.coefficients, renders, None, rough, report
    )
    if cache is not None:
        arrays = {"square": source.face.square, "source": source.coefficients, "places": motion.places}
        work.store = video_denoiser.open_clip_store(cache.clips, work, checkpoint.fingerprint_weights(), arrays)
    frames = work.frames()
    if options.output_mode == "full":
        frames, original = paste(frames, portrait, source.face.to_square), portrait.image
    else:
        original = portrait.warped(align.to_corner_origin(source.face.to_square), SQUARE, SQUARE).image
    return Diffused(Moving(frames, track.pts, track.frame_rate, repeat(original)), work, asked, loaded)


def _load(asked: DiffusionOptions) -> _Loaded:
    """The networks: those of the last video where they were made for the same, else new ones that are to be placed."""
    settings = asked.settings
    key = (
        *(
            checkpoint.fingerprint_weights(),
            asked.device,
            asked.dtype,
            asked.vram,
            asked.compile,
            asked.preset == "release",
        ),
        *(settings.length, settings.token_reuse == 1),
    )
    found, _last[:] = [loaded for loaded in _last if loaded.asked == key], []  # others make room; so does a failure
    if found:
        return found[0]
    networks = checkpoint.load_networks()
    runtime = choose_runtime(
        asked.device,
        asked.dtype,
        asked.vram,
        asked.compile,
        exact=asked.preset == "release",
        weights=sum(p.numel() for p in networks.unet.parameters()),
        frames=settings.length,
    )
    return _Loaded(key, networks, runtime)


def _seen(loaded: _Loaded, portrait: Portrait) -> PortraitFeatures:
    """What the readers see of a photo; they are loaded only where it is another than the last one."""
    photo = hashlib.sha256(np.ascontiguousarray(portrait.image)).digest() + portrait.points.tobytes()
    if loaded.photo != photo:
        net, _ = checkpoint.load_coefficient_net()
        readers = checkpoint.load_portrait_networks(net, identity=loaded.networks.wants_identity)
        face = Face(portrait.points, np.zeros(52), np.eye(3))
        loaded.source, loaded.photo = (
            extract_portrait_features(portrait.image, face, readers, loaded.runtime.device),
            photo,
        )
    return loaded.source


def _rough(
    portrait: Portrait, to_square: np.ndarray, track: MotionTrack, options: AnimateOptions
) -> Iterator[np.ndarray]:
    """The mesh engine's frames of the same square, which a warm start begins from."""
    model = face478.load()
    square = portrait.warped(align.to_corner_origin(to_square), SQUARE, SQUARE)
    own = Coefficients(square.expression[None], square.pose[None], square.gaze[None])
    motion = plan_mesh_motion(model, square.identity, own, track, options.retarget, scores=square.scores)
    for frame in renderer.render_photo(square, model, motion):
        yield frame[..., :3]


def paste(frames: Iterator[np.ndarray], portrait: Portrait, to_square: np.ndarray) -> Iterator[np.ndarray]:
    """Frames of the square (512×512×3 uint8) laid into the whole photo H×W×3 (×4 with its alpha), blended at the rim."""
    height, width = portrait.image.shape[:2]
    back = align.invert(to_square)
    inside = cv2.warpAffine(_feather(), back, (width, height), flags=cv2.INTER_LINEAR)
    left, top, wide, tall = cv2.boundingRect((inside > 0).astype(np.uint8))
    box = np.s_[top : top + tall, left : left + wide]
    back = align.compose(np.array([[1.0, 0, -left], [0, 1, -top]]), back)
    share = inside[box][..., None].astype(np.float32)
    behind = portrait.image[box].astype(np.float32) * (1 - share) + 0.5
    try:
        for frame in frames:
            drawn = cv2.warpAffine(frame, back, (wide, tall), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            whole = portrait.image.copy()
            whole[box] = (drawn * share + behind).astype(np.uint8)
            yield whole if portrait.alpha is None else np.dstack([whole, portrait.alpha])
    finally:
        frames.close()


def _feather() -> np.ndarray:
    """How much of each pixel of the square is seen, SQUARE×SQUARE float32: 1 inside, falling to 0 at the rim."""
    distance = np.minimum(np.arange(SQUARE) + 0.5, SQUARE - np.arange(SQUARE) - 0.5)
    ramp = np.clip(distance / FEATHER, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.outer(ramp, ramp).astype(np.float32)
