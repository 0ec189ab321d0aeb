"""The usual look of a face in a shot. Where a frame looks otherwise, something is in front of the face.

Faces are unrolled to the neutral face of the model, so that expressions move their texture little. The median over the
shot is its usual look, and the deviation from it at each place is what expressions change there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.face import face478, topology
from mimaface_cli.face.camera import apply_pose, project
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.face_outline import face_axes
from mimaface_cli.face.portrait import Portrait, crop_to_image
from mimaface_cli.face.rasterizer import rasterize, rasterize_positions

_SIDE = 64  # pixels of the unrolled face
_MARGIN = 2  # pixels around it
_CROP_FACE = 80.0  # height in pixels to which larger faces are reduced before they are unrolled
_BLUR = 1.0  # pixels: deviation of the blur that hides errors of the landmarks
_SAMPLES, _MIN_SAMPLES = 40, 8  # frames of a shot that make its look
_MIN_FACING = 0.35  # size of a triangle, relative to a face from the front, from which it counts as visible
# A pixel looks unusual if its difference from the usual look exceeds a number of gray levels plus a multiple of the
# usual deviation there.
_LEVELS, _DEVIATIONS = 9.0, 4.5
# Least size of a region that looks otherwise, as a share of the mouth with its surroundings, and of the face.
_MOUTH_SHARE, _FACE_SHARE = 0.2, 0.07
_WEAK = 0.7  # of these levels, from which a pixel next to such a region belongs to it
_MAX_GAIN = 1.8  # change of contrast or brightness up to which a frame can be compared
_MIN_CONTRAST = 5.0  # gray levels (standard deviation) of a face that can be compared
_LESS_CONTRAST = 0.5  # of the usual contrast: less shows that a frame fades, or is blurred
_AMBIGUOUS = 0.4  # share of the samples that look otherwise from which the median may be the occluder
_COVERED = 0.3  # share of a mouth that looks otherwise from which it is compared with the usual one
_FAINT_LIPS = 0.75  # of the contrast of these lips: if usual lips show less, they are not lips
_STEPS = 4  # of the robust fit of the light
_FIT_SCALE, _FIT_LIMIT = 6.0, 40.0  # gray levels: a pixel of larger error counts less, and not at all
_GAIN_PRIOR = 25.0


@dataclass(frozen=True)
class _Layout:
    """The unrolled face.

    Attributes:
        positions: (478, 2) pixels of the landmarks.
        corners: (S, S, 3) landmarks of the triangle at each pixel.
        weights: (S, S, 3) their barycentric weights.
        triangle: (S, S) index of the triangle.
        inner: (S, S) bool, the face without its rim.
        mouth: (S, S) bool, lips and what is around them.
        lips: (S, S) bool.
        around_lips: (S, S) bool, the skin close to them.
        lip_contrast: (3,) unit vector, in which direction the color of lips differs from the skin around.
        skin: (S, S) bool, the face without mouth, eyes and rim, where light is compared.
        area: (T,) double areas of the triangles in pixels.
    """

    positions: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    triangle: np.ndarray
    inner: np.ndarray
    mouth: np.ndarray
    lips: np.ndarray
    around_lips: np.ndarray
    lip_contrast: np.ndarray
    skin: np.ndarray
    area: np.ndarray


@dataclass(frozen=True)
class FaceTexture:
    """A face, unrolled.

    Attributes:
        colors: (S, S, 3) float32, 0 to 255.
        is_visible: (S, S) bool, where the frame shows the face well.
    """

    colors: np.ndarray
    is_visible: np.ndarray


@dataclass(frozen=True)
class FaceLook:
    """The usual look of a face.

    Attributes:
        colors: (S, S, 3) float32, 0 to 255.
        deviation: (S, S) float32, the median deviation from it, in gray levels.
    """

    colors: np.ndarray
    deviation: np.ndarray

    def find_foreign(self, texture: FaceTexture) -> np.ndarray:
        """Return where a face looks otherwise, (S, S) bool: regions too large to be an expression."""
        layout = _lay_out()
        foreign = np.zeros((_SIDE, _SIDE), bool)
        colors = _match_light(texture, self.colors)
        if colors is None:
            return foreign
        difference = np.abs(colors - self.colors).max(2)
        unusual = difference / (_LEVELS + _DEVIATIONS * self.deviation)
        is_other = (unusual > 1) & texture.is_visible & layout.inner
        count, labels = cv2.connectedComponents(is_other.astype(np.uint8))
        for label in range(1, count):
            region = labels == label
            mouth_share = (region & layout.mouth).sum() / layout.mouth.sum()
            if mouth_share > _MOUTH_SHARE or region.sum() > _FACE_SHARE * layout.inner.sum():
                foreign |= region
        if not foreign.any():
            return foreign
        _, labels = cv2.connectedComponents(((unusual > _WEAK) & texture.is_visible).astype(np.uint8))
        foreign = np.isin(labels, np.unique(labels[foreign]))
        # Lips and lids that are closed in the neutral face have no pixels of their own.
        closed = cv2.morphologyEx(foreign.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        return np.asarray(closed > 0)


def project_face(portrait: Portrait, model: Face478) -> np.ndarray:
    """Return the landmarks (478, 2) of a portrait's coefficients in pixels of its image."""
    shape = model.shape(portrait.identity, portrait.expression)
    pixels, _ = project(apply_pose(shape, portrait.pose))
    return crop_to_image(portrait, pixels)


def unroll_face(image: np.ndarray, points: np.ndarray) -> FaceTexture:
    """Unroll a face.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks in pixels.
    """
    layout = _lay_out()
    part, points = _reduce(image, points)
    places = (layout.weights[..., None] * points[layout.corners]).sum(2) - 0.5
    colors = cv2.remap(part, places.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]  # OpenCV's stub misses None
    blurred = cv2.GaussianBlur(colors.astype(np.float32), (0, 0), _BLUR)
    scale = face_axes(points)[2] / (_SIDE - 2 * _MARGIN)
    facing = _double_areas(points) / (layout.area * scale**2)
    height, width = part.shape[:2]
    is_inside = ((places >= 0) & (places <= [width - 1, height - 1])).all(2)
    return FaceTexture(blurred, is_inside & layout.inner & (facing[layout.triangle] > _MIN_FACING))


def place_region(region: np.ndarray, placed: np.ndarray, side: int) -> np.ndarray:
    """Return a region (S, S) bool of the unrolled face in a square crop, (side, side) bool.

    Args:
        region: The region.
        placed: (478, 2) landmarks in pixels of the crop.
        side: Pixels of the crop.
    """
    triangles = face478.load().triangles
    positions = np.ascontiguousarray(_lay_out().positions - 0.5)
    _, places = rasterize_positions(
        np.ascontiguousarray(placed, np.float64), np.ones(len(placed)), triangles, positions, side, side
    )
    return np.asarray(cv2.remap(region.astype(np.uint8), places, None, cv2.INTER_NEAREST) > 0)  # type: ignore[call-overload]  # OpenCV's stub misses None


def measure_look(textures: Iterable[FaceTexture]) -> FaceLook | None:
    """Measure the usual look of the face in a shot.

    Args:
        textures: The face in frames that are spread over the shot.

    Returns:
        The look; None if there are too few frames, or if the face looks otherwise in too many of them.
    """
    samples = [texture for texture in textures if texture.is_visible.any()]
    if len(samples) < _MIN_SAMPLES:
        return None
    colors = np.median([sample.colors for sample in samples], axis=0).astype(np.float32)
    look: FaceLook | None = None
    for _ in range(2):
        matched = [(_match_light(sample, colors), sample.is_visible) for sample in samples]
        pairs = [(image, is_visible) for image, is_visible in matched if image is not None]
        if len(pairs) < _MIN_SAMPLES:
            return None
        look = _take_median(pairs)
        colors = look.colors
    assert look is not None
    regions = [look.find_foreign(sample) for sample in samples]
    if sum(bool(region.any()) for region in regions) > _AMBIGUOUS * len(samples):
        return None
    # Where an occluder stays for most of a shot, the few frames without it would look unusual: they show lips.
    mouth = _lay_out().mouth
    covered = [region[mouth].mean() > _COVERED for region in regions]
    lips = [_measure_lips(sample.colors) for sample, is_other in zip(samples, covered, strict=True) if is_other]
    return look if not lips or _measure_lips(look.colors) > _FAINT_LIPS * np.median(lips) else None


def _measure_lips(colors: np.ndarray) -> float:
    """Return by how much the lips of an unrolled face (S, S, 3) differ from the skin around, as usual lips do."""
    layout = _lay_out()
    contrast = colors[layout.lips].mean(0) - colors[layout.around_lips].mean(0)
    return float(contrast @ layout.lip_contrast)


def _take_median(pairs: list[tuple[np.ndarray, np.ndarray]]) -> FaceLook:
    """Return the median of images (S, S, 3), each where it is visible (S, S), and the deviation from it."""
    images = np.stack([image for image, _ in pairs])
    hidden = ~np.stack([is_visible for _, is_visible in pairs])
    is_known = hidden.sum(0) <= len(pairs) - _MIN_SAMPLES // 2
    colors = np.ma.median(np.ma.array(images, mask=np.repeat(hidden[..., None], 3, 3)), axis=0).filled(0)
    difference = np.abs(images - colors).max(3)
    deviation = np.ma.median(np.ma.array(difference, mask=hidden), axis=0).filled(0)
    # Where hardly a frame shows the face, nothing is unusual.
    return FaceLook(colors.astype(np.float32), np.where(is_known, deviation, 255).astype(np.float32))


def sample_look(portraits: Iterator[Portrait], count: int, model: Face478) -> FaceLook | None:
    """Measure the usual look of the face in a shot of `count` frames, see `measure_look`.

    Args:
        portraits: The frames; all of them are consumed.
        count: Their number.
        model: The face model.
    """
    sampler = LookSampler(count, model)
    for portrait in portraits:
        sampler.add_frame(portrait)
    return sampler.finish()


class LookSampler:
    """Collects the face in frames that are spread over a shot.

    Args:
        count: Number of frames of the shot.
        model: The face model.
    """

    def __init__(self, count: int, model: Face478) -> None:
        self._frames = set(np.linspace(0, count - 1, _SAMPLES).round().astype(int).tolist())
        self._model = model
        self._index = 0
        self._textures: list[FaceTexture] = []

    def add_frame(self, portrait: Portrait) -> None:
        """Look at the next frame."""
        if self._index in self._frames:
            self._textures.append(unroll_face(portrait.image, project_face(portrait, self._model)))
        self._index += 1

    def finish(self) -> FaceLook | None:
        """Return the look of the frames, see `measure_look`."""
        return measure_look(self._textures)


def _reduce(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a face out of an image, scale it down to a fixed height, and move its landmarks accordingly."""
    height, width = image.shape[:2]
    low = np.clip(np.floor(points.min(0)).astype(int) - 2, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(points.max(0)).astype(int) + 3, low + 1, [width, height])
    part, points = image[low[1] : high[1], low[0] : high[0]], points - low
    scale = _CROP_FACE / face_axes(points)[2]
    if scale >= 1:
        return np.ascontiguousarray(part), points
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    ratio = np.array([size[0] / part.shape[1], size[1] / part.shape[0]])
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA), points * ratio


def _match_light(texture: FaceTexture, target: np.ndarray) -> np.ndarray | None:
    """Return the colors of a face in the light of a target (S, S, 3): gain, level and gradient by channel.

    None where the light differs too much, or too little of the face is visible.
    """
    layout = _lay_out()
    used = (texture.is_visible & layout.skin)[::2, ::2].ravel()
    if used.sum() < 0.15 * layout.skin[::2, ::2].sum():
        return None
    contrast, usual = (image[::2, ::2].reshape(-1, 3)[used].std() for image in (texture.colors, target))
    if contrast < max(_MIN_CONTRAST, _LESS_CONTRAST * usual):
        return None
    rows, columns = np.mgrid[:_SIDE, :_SIDE] / _SIDE - 0.5
    prior = np.zeros((4, 4))
    prior[0, 0] = _GAIN_PRIOR
    result = np.empty_like(texture.colors)
    for channel in range(3):
        terms = np.stack([texture.colors[..., channel], np.ones_like(rows), columns, rows], -1)
        samples, levels = terms[::2, ::2].reshape(-1, 4)[used], target[::2, ::2, channel].ravel()[used]
        weight = np.ones(len(samples))
        for _ in range(_STEPS):
            weighted = samples * weight[:, None]
            normal = weighted.T @ samples + prior * weight.sum()
            right = weighted.T @ levels + prior[0] * weight.sum()
            solution = np.linalg.solve(normal + 1e-6 * np.eye(4), right)
            error = np.abs(samples @ solution - levels)
            weight = np.where(error < _FIT_LIMIT, 1 / np.maximum(error / _FIT_SCALE, 1), 1e-6)
        if not 1 / _MAX_GAIN < solution[0] < _MAX_GAIN:
            return None
        result[..., channel] = terms @ solution
    return result


def _double_areas(points: np.ndarray) -> np.ndarray:
    """Return twice the signed areas (T,) of the triangles of the face's skin at pixels (478, 2)."""
    a, b, c = (points[corner] for corner in face478.load().face.T)
    return np.asarray((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


@lru_cache(maxsize=1)
def _lay_out() -> _Layout:
    model = face478.load()
    flat = model.mean[:, :2] * [1, -1]
    low, high = flat[topology.OVAL].min(0), flat[topology.OVAL].max(0)
    positions = (flat - (low + high) / 2) * (_SIDE - 2 * _MARGIN) / (high - low).max() + _SIDE / 2
    index, weights, _ = rasterize(positions, np.ones(len(positions)), model.face, _SIDE, _SIDE)
    is_face = index >= 0
    triangle = np.maximum(index, 0)
    filled = cv2.morphologyEx(is_face.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    inner = (cv2.erode(filled, np.ones((5, 5), np.uint8)) > 0) & is_face
    mouth, lips = (_draw(positions, topology.OUTER_LIPS, growth) & is_face for growth in (5, 0))
    around_lips = _draw(positions, topology.OUTER_LIPS, 3) & ~_draw(positions, topology.OUTER_LIPS, 1) & is_face
    albedo = (weights[..., None] * model.albedo_mean[model.face[triangle]]).sum(2)
    contrast = albedo[lips].mean(0) - albedo[around_lips].mean(0)
    eyes = _draw(positions, topology.LEFT_EYE, 4) | _draw(positions, topology.RIGHT_EYE, 4)
    skin = inner & ~_draw(positions, topology.OUTER_LIPS, 3) & ~eyes
    return _Layout(
        positions=positions,
        corners=model.face[triangle],
        weights=weights,
        triangle=triangle,
        inner=inner & ~eyes,
        mouth=mouth,
        lips=lips,
        around_lips=around_lips,
        lip_contrast=contrast / max(float(np.linalg.norm(contrast)), 1e-6),
        skin=skin,
        area=_double_areas(positions),
    )


def _draw(positions: np.ndarray, ring: np.ndarray, growth: int) -> np.ndarray:
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.fillPoly(mask, [np.round(positions[ring] - 0.5).astype(np.int32)], (1,))
    return np.asarray(cv2.dilate(mask, np.ones((2 * growth + 1, 2 * growth + 1), np.uint8)) > 0)
