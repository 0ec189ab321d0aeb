"""The layers of a photo: the person with a soft alpha, and the background behind the moving part of the person."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.cache import FIGURE_FOLDER, Cache, EntryKind
from mimaface_cli.engines.mesh.head_axes import find_shoulders
from mimaface_cli.engines.mesh.head_geometry import HeadGeometry, build_head_geometry, moving_share
from mimaface_cli.engines.mesh.inpainting import fill_hole
from mimaface_cli.engines.mesh.occluder_layer import lift_occluder
from mimaface_cli.engines.mesh.stored_arrays import open_arrays
from mimaface_cli.face.alignment import invert, transform_points
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.matting import PersonMatte, matte_person
from mimaface_cli.face.occlusion import Occlusion, find_occluders
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.face.segmentation import segment_person
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.weights.locate import find_missing_files

REVISION = 16  # part of the cache key: increase it when results change
_LEAST = 0.03  # a smaller alpha counts as 0, and a larger one than 1 minus this as 1
_STILL = 0.02  # share of the head's motion below which a pixel counts as still
_TINTED = 0.025  # heights of the face: width beyond the soft outline that single hairs may tint
_BLEND = 0.011  # heights of the face over which the fill ends beyond the outline
_OVERLAP = 9  # pixels: the moving part of the person overlaps the still part, so that no seam opens between them
# Head coordinates (see `HeadAxes`) of the neck, behind which is the body.
_NECK_FROM, _NECK_WIDTH = -0.05, 0.8
_SHOULDER_SLOPE = 0.05  # multiples of the face's height by which shoulders rise to the neck
_UNCOVERED = 0.32  # heights of the face: the head uncovers a band of this width behind its outline

_CUT = 0.3  # share of the face's width or height along which a photo's border cuts a head that is reported
CUT_HEAD_NOTE = "the photo's border cuts the head; what a moving head shows beyond the border is invented"

# Returns an image (H, W, 3) uint8 whose hole (H, W) bool is filled where a mask (H, W) bool needs it.
Filler = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PhotoLayers:
    """A photo, separated into person and background.

    Attributes:
        alpha: (H, W) float32 alpha of the person, 0 to 1.
        moving_alpha: (H, W) uint8 alpha of the part of the person that moves, with a margin of still pixels.
        foreground: (H, W, 3) uint8 RGB colors of the person, continued beyond its outline.
        background: (H, W, 3) uint8 RGB: the photo, filled behind the moving part of the person and close around it.
        still_alpha: (H, W) uint8 alpha of the still part of the person, such as the shoulders, and of the body that
            `background` shows behind the moving part.
        background_alpha: (H, W) uint8 alpha of the background of a photo with transparency, or None.
        completed: (H, W, 3) uint8, the photo without an occluder of the face, or None if there is none.
        occluder: (H, W, 4) uint8 RGBA, an occluder that stays where it is, or None.
        covered: (3,) bool, whether mouth, left eye and right eye are covered.
        notes: Notes for the user.
    """

    alpha: np.ndarray
    moving_alpha: np.ndarray
    foreground: np.ndarray
    background: np.ndarray
    still_alpha: np.ndarray
    background_alpha: np.ndarray | None = None
    completed: np.ndarray | None = None
    occluder: np.ndarray | None = None
    covered: np.ndarray = field(default_factory=lambda: np.zeros(3, bool))
    notes: tuple[str, ...] = ()


def opaque_layers(portrait: Portrait) -> PhotoLayers:
    """Return the layers of a photo whose head does not move: all of it counts as the person."""
    image = portrait.image
    alpha = np.ones(image.shape[:2], np.float32)
    opaque = np.full(alpha.shape, 255, np.uint8)
    return PhotoLayers(alpha, opaque, image, image, opaque, portrait.alpha)


def build_photo_layers(portrait: Portrait, model: Face478, cache: Cache | None = None) -> PhotoLayers:
    """Separate a photo into layers, or load them from the cache.

    Args:
        portrait: The photo.
        model: The face model of its coefficients.
        cache: Where layers are stored, or None.
    """
    if cache is None:
        return _build_layers(portrait, model)
    key = _layers_key(portrait)
    layers = cache.load(_KIND, key)
    if layers is None:
        layers = _build_layers(portrait, model)
        cache.store(_KIND, key, layers)
    return layers


def _build_layers(portrait: Portrait, model: Face478) -> PhotoLayers:
    image, points = portrait.image, portrait.points
    mask = segment_person(image, points, others=portrait.other_faces)
    matte = matte_person(image, mask.confidence, points)
    notes = (*mask.notes, CUT_HEAD_NOTE) if is_head_cut(matte.alpha, points) else mask.notes
    layers = separate_layers(portrait, model, clean_matte(matte, portrait.alpha), notes)
    return separate_occluder(layers, portrait, model, find_occluders(image, points))


def is_head_cut(alpha: np.ndarray, points: np.ndarray) -> bool:
    """Return whether the border of a photo cuts much of a head.

    Args:
        alpha: (H, W) float32 alpha of the person, 0 to 1.
        points: (478, 2) landmarks of the face in pixels.
    """
    height, width = alpha.shape
    low, high = points.min(0), points.max(0)
    left, top = np.clip(low.astype(int), 0, [width - 1, height - 1])
    right, bottom = np.clip(high.astype(int), [left + 1, top + 1], [width, height])
    above = (alpha[0, left:right] > 0.5).sum() / (high[0] - low[0])
    beside = max((alpha[top:bottom, column] > 0.5).sum() / (high[1] - low[1]) for column in (0, width - 1))
    return bool(max(above, beside) > _CUT)


def clean_matte(matte: PersonMatte, image_alpha: np.ndarray | None) -> PersonMatte:
    """Return a matte whose alpha has 256 levels, without traces in the background, within an image's alpha.

    Args:
        matte: The matte.
        image_alpha: (H, W) uint8 alpha of the image, or None.
    """
    alpha = np.clip((matte.alpha - _LEAST) / (1 - 2 * _LEAST), 0, 1)
    levels = np.round(alpha * 255).astype(np.uint8)
    if image_alpha is not None:
        levels = np.minimum(levels, image_alpha)
    return PersonMatte(levels / np.float32(255), matte.foreground, matte.background)


def separate_occluder(
    layers: PhotoLayers, portrait: Portrait, model: Face478, occlusion: Occlusion | None, *, is_fast: bool = False
) -> PhotoLayers:
    """Remove the occluder of a face from the layers of a photo.

    The face behind it is completed. Beside the face it belongs to what does not move. A worn mask stays part of the
    face.

    Args:
        layers: Layers of the photo.
        portrait: The photo.
        model: The face model of its coefficients.
        occlusion: The occluder, or None.
        is_fast: Whether to complete the face without texture.
    """
    if occlusion is None:
        return layers
    covered = np.array([occlusion.covers_mouth, *occlusion.covers_eyes])
    layers = replace(layers, covered=covered, notes=(*layers.notes, *occlusion.notes))
    if occlusion.is_worn:
        return layers
    image, lifted = portrait.image, lift_occluder(portrait, model, occlusion.alpha, is_fast=is_fast)
    is_changed = (lifted.completed != image).any(2, keepdims=True)
    beside = lifted.beside[..., None]
    background = np.round(layers.background + beside * (image.astype(np.float32) - layers.background))
    return replace(
        layers,
        alpha=layers.alpha * (1 - lifted.beside),
        moving_alpha=np.round(layers.moving_alpha * (1 - lifted.beside)).astype(np.uint8),
        foreground=np.where(is_changed, lifted.completed, layers.foreground),
        background=background.astype(np.uint8),
        completed=lifted.completed,
        occluder=lifted.occluder,
    )


def separate_layers(
    portrait: Portrait,
    model: Face478,
    matte: PersonMatte,
    notes: tuple[str, ...] = (),
    fill_background: Filler = fill_hole,
    fill_body: Filler = fill_hole,
) -> PhotoLayers:
    """Fill the background behind the moving part of a person.

    Args:
        portrait: The photo.
        model: The face model of its coefficients.
        matte: Opacity and colors of the person.
        notes: Notes about the matte.
        fill_background: Fills what the head uncovers of the background.
        fill_body: Fills what the head uncovers of the body.
    """
    alpha = matte.alpha
    geometry = build_head_geometry(portrait, model, alpha)
    share = moving_share(geometry, alpha.shape)
    is_moving = (share > _STILL) & (alpha > 0)
    body = _body_share(portrait, geometry, alpha)
    background = _fill_background(portrait, alpha, is_moving, body, (fill_background, fill_body))
    alpha8 = np.round(alpha * 255).astype(np.uint8)
    margin = cv2.dilate(is_moving.astype(np.uint8), np.ones((_OVERLAP, _OVERLAP), np.uint8)) > 0
    return PhotoLayers(
        alpha=alpha,
        moving_alpha=np.where(is_moving | (margin & (alpha8 == 255)), alpha8, 0).astype(np.uint8),
        foreground=matte.foreground,
        background=background,
        still_alpha=np.where(is_moving, 255 * body * (alpha8 == 255), alpha8).astype(np.uint8),
        background_alpha=_fill_alpha(portrait.alpha, is_moving),
        notes=notes,
    )


def _fill_background(
    portrait: Portrait, alpha: np.ndarray, is_moving: np.ndarray, body: np.ndarray, fillers: tuple[Filler, Filler]
) -> np.ndarray:
    """Return the photo (H, W, 3), filled behind the moving person: with background, and with body behind the neck.

    The fill ends softly beyond the outline, so that neither a seam nor a fringe of the person is left there.

    Args:
        portrait: The photo.
        alpha: (H, W) float32 alpha of the person.
        is_moving: (H, W) bool, the moving part of the person.
        body: (H, W) see `_body_share`.
        fillers: For the background and for the body.
    """
    image = portrait.image
    height = float(np.ptp(portrait.points[:, 1]))
    margin = 1 + round(_TINTED * height)
    is_person = _grow(alpha > 0, margin)
    depth = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    can_appear = _grow(is_moving, margin) & (depth < _UNCOVERED * height)
    fill_background, fill_body = fillers
    is_body = can_appear & (body > 0)
    with ThreadPoolExecutor(1) as executor:
        body_colors = executor.submit(fill_body, image, _grow(is_moving), is_body) if is_body.any() else None
        filled = fill_background(image, is_person, can_appear & (body < 1))
        if body_colors is not None:
            filled = filled + body[..., None] * (body_colors.result().astype(np.float32) - filled)
    outside = cv2.distanceTransform((~is_moving).astype(np.uint8), cv2.DIST_L2, 3)
    blend = smoothstep(1.2 - 1.2 * outside / (1 + _BLEND * height)) * (is_moving | (alpha == 0))
    return np.round(image + blend.astype(np.float32)[..., None] * (filled - image.astype(np.float32))).astype(np.uint8)


def _body_share(portrait: Portrait, geometry: HeadGeometry, alpha: np.ndarray) -> np.ndarray:
    """Share (H, W) float32 of the body, not of the background, in what the head uncovers.

    It is 1 below the chin, and aside from the shoulders on.
    """
    rows, columns = np.mgrid[: alpha.shape[0], : alpha.shape[1]].astype(np.float32)
    pixels = transform_points(portrait.to_crop, np.stack([columns, rows], -1).reshape(-1, 2) + 0.5)
    below, aside = (values.reshape(alpha.shape) for values in geometry.axes.measure(pixels))
    level = np.where(aside < 0, *find_shoulders(geometry.axes, alpha, invert(portrait.to_crop)))
    behind_neck = smoothstep((below - _NECK_FROM) / 0.1) * (1 - smoothstep((np.abs(aside) - _NECK_WIDTH) / 0.2))
    behind_hair = smoothstep((below - level + _SHOULDER_SLOPE) / 0.1)
    return (np.maximum(behind_neck, behind_hair) * (alpha > 0.5)).astype(np.float32)


def _grow(mask: np.ndarray, radius: int = 1) -> np.ndarray:
    """Return a bool mask (H, W), dilated by a number of pixels."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def _fill_alpha(alpha: np.ndarray | None, is_moving: np.ndarray) -> np.ndarray | None:
    """Continue the alpha of a photo's background behind the moving person."""
    if alpha is None:
        return None
    hole = cv2.dilate(is_moving.astype(np.uint8), np.ones((3, 3), np.uint8))
    return cv2.inpaint(alpha, hole, 3, cv2.INPAINT_NS)


def _layers_key(portrait: Portrait) -> str:
    has_models = [not find_missing_files(name) for name in ("person_segmenter", "hand_landmarker")]
    digest = sha256(f"layers {REVISION} {portrait.image.shape} {has_models}".encode())
    for array in (portrait.image, portrait.alpha, portrait.points, portrait.pose, portrait.expression):
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _save_layers(layers: PhotoLayers, path: Path) -> None:
    arrays = {name: getattr(layers, name) for name in _ARRAYS}
    arrays["alpha"] = np.round(layers.alpha * 255).astype(np.uint8)
    with path.open("wb") as file:
        np.savez(
            file,
            notes=np.array(layers.notes, dtype=np.str_),
            **{name: array for name, array in arrays.items() if array is not None},
        )


def _load_layers(path: Path) -> PhotoLayers:
    with open_arrays(path) as stored:
        notes = tuple(str(note) for note in stored.pop("notes"))
        if stored["alpha"].dtype != np.uint8 or any(name not in _ARRAYS for name in stored):
            raise ValueError("arrays do not fit together")
        stored["alpha"] = stored["alpha"] / np.float32(255)
        return PhotoLayers(**stored, notes=notes)


_ARRAYS = (
    "alpha",
    "moving_alpha",
    "foreground",
    "background",
    "still_alpha",
    "background_alpha",
    "completed",
    "occluder",
    "covered",
)
_KIND = EntryKind(FIGURE_FOLDER, ".npz", _load_layers, _save_layers)
