"""Appearance of rendered people: identity, texture, skin details, hair, eyes, glasses and clothes on face478."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.face import topology
from mimaface_cli.face.face478 import VERTICES, Face478
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.motion.coefficients import IDENTITY_DIM, TEXTURE_DIM, blendshape_index

TEXTURE_SIZE = 112  # pixels of a side of a face's texture, which covers its front view
TEXTURE_REACH = 0.95  # model units from the center of the front view to the edge of the texture
SHAPE_SPREAD, TEXTURE_SPREAD = 1.4, 0.7  # standard deviations of the model's coefficients
_RIGHT_BROW = np.array([70, 63, 105, 66, 107, 55, 65, 52, 53, 46])
_LEFT_BROW = np.array([300, 293, 334, 296, 336, 285, 295, 282, 283, 276])
_CHEEKS = [50, 280]  # vertices
_HAIR_COLORS = np.array(
    [[22, 18, 16], [48, 30, 20], [86, 54, 30], [140, 92, 50], [205, 170, 105], [150, 60, 28], [150, 148, 146]]
)
_IRIS_COLORS = np.array([[60, 36, 20], [92, 62, 30], [70, 96, 62], [66, 106, 140], [96, 110, 122]])


@dataclass(frozen=True)
class Person:
    """Appearance of a rendered person, independent of motion and light. Colors are RGB 0..255.

    Attributes:
        identity: 80 identity coefficients of face478.
        texture: 80 texture coefficients of face478.
        skin: TEXTURE_SIZE×TEXTURE_SIZE×3 float32 albedo over the front view.
        tone: Skin color.
        hair: Hair color.
        iris: Iris color.
        cloth: Color of the clothes.
        hairline: Height to which the hair reaches down the face's outline, -1 chin .. 1 crown.
        hair_volume: Thickness of the hair, model units.
        hair_length: How far the hair falls below the chin, 0 (short) .. 1.
        glasses: Color of the glasses, None without glasses.
        wrinkles: Depth of expression lines, 0..1.
    """

    identity: np.ndarray
    texture: np.ndarray
    skin: np.ndarray
    tone: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    cloth: np.ndarray
    hairline: float
    hair_volume: float
    hair_length: float
    glasses: np.ndarray | None
    wrinkles: float


def make_person(model: Face478, seed: int) -> Person:
    """Return the person of a seed, always the same one."""
    rng = np.random.default_rng((478, seed))
    identity = rng.normal(0, SHAPE_SPREAD, IDENTITY_DIM)
    texture = rng.normal(0, TEXTURE_SPREAD, TEXTURE_DIM)
    darkness = rng.uniform(0, 1)  # of the skin
    tone = np.array([236, 196, 172]) * (1 - darkness) + np.array([92, 58, 40]) * darkness
    tone = tone * rng.uniform(0.95, 1.05, 3)
    albedo = model.albedo(texture)
    albedo = albedo * (tone / albedo[_CHEEKS].mean(0))
    texture = _fit_texture(model, albedo)
    hair = _HAIR_COLORS[rng.integers(len(_HAIR_COLORS))] * rng.uniform(0.8, 1.2, 3)
    is_bald = rng.random() < 0.08
    skin = _SkinPainter(model, _front_view(model, albedo), hair, rng).paint()
    hairline = 1.2 if is_bald else rng.uniform(-0.35, 0.45)
    if not is_bald:
        skin = _paint_fringe(skin, hair, rng)
    return Person(
        identity=identity,
        texture=texture,
        skin=skin.clip(4, 250).astype(np.float32),
        tone=tone,
        hair=tone * 0.92 if is_bald else hair,
        iris=_IRIS_COLORS[rng.integers(len(_IRIS_COLORS))] * rng.uniform(0.8, 1.2, 3),
        cloth=rng.uniform(25, 230, 3),
        hairline=hairline,
        hair_volume=0.0 if is_bald else rng.uniform(0.04, 0.24),
        hair_length=0.0 if is_bald or rng.random() < 0.55 else rng.uniform(0.3, 1.0),
        glasses=rng.uniform(10, 120, 3) if rng.random() < 0.22 else None,
        wrinkles=rng.uniform(0.3, 1.0),
    )


def _fit_texture(model: Face478, albedo: np.ndarray) -> np.ndarray:
    """Fit the 80 texture coefficients to vertex colors 478×3 by ridge regression."""
    basis = model.texture_basis.reshape(-1, TEXTURE_DIM)
    difference = (albedo - model.albedo_mean).ravel()
    return np.linalg.solve(basis.T @ basis + 50 * np.eye(TEXTURE_DIM), basis.T @ difference)


def to_texture_pixels(points: np.ndarray) -> np.ndarray:
    """Convert front-view points …×2 (or ×3) in model units to texture pixels …×2."""
    return (np.stack([points[..., 0], -points[..., 1]], -1) / TEXTURE_REACH + 1) * (TEXTURE_SIZE / 2)


def _front_view(model: Face478, albedo: np.ndarray) -> np.ndarray:
    """Interpolate vertex colors 478×3 over the front view and extend them beyond the outline."""
    xy = to_texture_pixels(model.mean)
    center = TEXTURE_SIZE / 2
    xy = np.concatenate([xy, center + (xy[topology.OVAL] - center) * 1.6])
    steps = np.arange(len(topology.OVAL))
    inner, outer = topology.OVAL, VERTICES + steps
    next_inner, next_outer = np.roll(inner, -1), np.roll(outer, -1)
    ring = [np.stack([inner, outer, next_outer], 1), np.stack([inner, next_outer, next_inner], 1)]
    triangles = np.concatenate([model.triangles, np.concatenate(ring)])
    depth = np.concatenate([10 - model.mean[:, 2], np.full(len(steps), 11.0)])
    index, weights, _ = rasterize(xy, depth, triangles, TEXTURE_SIZE, TEXTURE_SIZE)
    colors = np.concatenate([albedo, albedo[topology.OVAL]])
    return interpolate(index, weights, triangles, colors, background=albedo.mean(0))


def _polygon_mask(ring: np.ndarray, blur: float) -> np.ndarray:
    """Draw a closed ring of front-view points as a soft mask of the texture's size. blur: pixels."""
    mask = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)
    cv2.fillPoly(mask, [np.round(to_texture_pixels(ring) * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    return cv2.GaussianBlur(mask, (0, 0), blur)


def _scale_ring(ring: np.ndarray, factors: list[float]) -> np.ndarray:
    """Scale points K×3 about their mean by a factor for each axis."""
    middle = ring.mean(0)
    return middle + (ring - middle) * factors


class _SkinPainter:
    """Paints details onto a skin texture; the order of the steps fixes the order of the random numbers.

    Args:
        model: The morphable model.
        skin: The bare skin, H×W×3.
        hair: Hair color.
        rng: Source of randomness.
    """

    def __init__(self, model: Face478, skin: np.ndarray, hair: np.ndarray, rng: np.random.Generator) -> None:
        self._mean, self._skin, self._hair, self._rng = model.mean, skin, hair, rng
        self._rows, self._columns = np.mgrid[:TEXTURE_SIZE, :TEXTURE_SIZE].astype(np.float32) + 0.5

    def paint(self) -> np.ndarray:
        """Return the skin with brows, lips, blush, eye shadow and, on some people, more."""
        rng = self._rng
        noise = cv2.GaussianBlur(rng.normal(size=(TEXTURE_SIZE, TEXTURE_SIZE)).astype(np.float32), (0, 0), 1.2)
        self._skin = self._skin * (1 + rng.uniform(0, 0.10) * noise[..., None])
        self._paint_brows()
        lips = self._paint_lips()
        self._paint_blush()
        self._paint_eye_shadow()
        if rng.random() < 0.3:
            self._paint_beard(noise, lips)
        self._paint_moles()
        if rng.random() < 0.2:
            self._paint_freckles()
        if rng.random() < 0.15:
            self._paint_stripe()
        return self._skin

    def _blend(self, mask: np.ndarray, color: np.ndarray) -> None:
        self._skin = self._skin + mask[..., None] * (np.asarray(color, np.float32) - self._skin)

    def _bump(self, x: float, y: float, variance: float) -> np.ndarray:
        return np.exp(-((self._columns - x) ** 2 + (self._rows - y) ** 2) / (2 * variance))

    def _paint_brows(self) -> None:
        thickness, opacity = self._rng.uniform(0.6, 1.7), self._rng.uniform(0.45, 0.95)
        for brow in (_RIGHT_BROW, _LEFT_BROW):
            ring = _scale_ring(self._mean[brow], [1.05, thickness, 1])
            self._blend(_polygon_mask(ring, 0.8) * opacity, self._hair * 0.8)

    def _paint_lips(self) -> np.ndarray:
        """Paint the lips; return their mask."""
        lips = _polygon_mask(self._mean[topology.OUTER_LIPS], 0.7)
        tint = np.array([170, 60, 66]) * self._rng.uniform(0.6, 1.25) * self._rng.uniform(0.85, 1.15, 3)
        self._blend(lips * self._rng.uniform(0.15, 0.85), tint)
        return lips

    def _paint_blush(self) -> None:
        for vertex in _CHEEKS:
            x, y = to_texture_pixels(self._mean[vertex])
            self._blend(self._bump(x, y, 7.0**2) * self._rng.uniform(0, 0.3), np.array([205, 95, 85]))

    def _paint_eye_shadow(self) -> None:
        for ring in (topology.LEFT_EYE, topology.RIGHT_EYE):
            lids = self._mean[ring]
            shadow = _polygon_mask(_scale_ring(lids, [1.15, 1.7, 1]), 1.2) * self._rng.uniform(0.1, 0.5)
            self._blend(shadow, self._skin.mean((0, 1)) * 0.45)
            self._blend(_polygon_mask(_scale_ring(lids, [1.06, 1.2, 1]), 0.5) * 0.55, np.array([35, 24, 20]))

    def _paint_beard(self, noise: np.ndarray, lips: np.ndarray) -> None:
        top = to_texture_pixels(np.array([0, self._mean[topology.NOSE_TIP, 1] - 0.16]))[1]
        side = np.abs(self._columns - TEXTURE_SIZE / 2) / (TEXTURE_SIZE / 2)
        beard = np.clip((self._rows - top + 30 * np.clip(side - 0.45, 0, 1)) / 4, 0, 1)
        beard = beard * (1 - np.clip(lips * 1.6, 0, 1))
        beard *= self._rng.uniform(0.35, 0.9) * np.clip(1 + 0.5 * noise, 0, 1.3)
        self._blend(np.clip(beard, 0, 1), self._hair * 0.8)

    def _paint_moles(self) -> None:
        for _ in range(self._rng.integers(0, 5)):
            x, y = self._rng.uniform(0.25, 0.75, 2) * TEXTURE_SIZE
            spot = self._bump(x, y, self._rng.uniform(0.9, 2.0) ** 2)
            self._blend(spot * 0.8, np.array([60, 36, 28]))

    def _paint_freckles(self) -> None:
        points = (self._rng.random((TEXTURE_SIZE, TEXTURE_SIZE)) < 0.03).astype(np.float32)
        dots = cv2.GaussianBlur(points, (0, 0), 0.8) * 4
        band = np.exp(-(((self._rows - TEXTURE_SIZE * 0.55) / 14) ** 2))
        self._blend(np.clip(dots * band, 0, 0.6), np.array([120, 70, 45]))

    def _paint_stripe(self) -> None:
        """Paint a stripe of face paint."""
        rng = self._rng
        start, stop = to_texture_pixels(rng.uniform(-0.6, 0.6, (2, 2)))
        stripe = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)
        ends = [tuple(int(v) for v in point) for point in (start, stop)]
        cv2.line(stripe, ends[0], ends[1], 1.0, int(rng.integers(3, 7)))
        self._blend(cv2.GaussianBlur(stripe, (0, 0), 0.8) * 0.8, rng.uniform(20, 240, 3))


def _paint_fringe(skin: np.ndarray, hair: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint hair over the forehead down to a slanted, wavy line."""
    columns = (np.arange(TEXTURE_SIZE) + 0.5) / TEXTURE_SIZE * 2 - 1
    line = rng.uniform(0.52, 0.86) + rng.uniform(-0.25, 0.25) * columns - rng.uniform(0, 0.25) * columns**2
    line = line + 0.03 * np.sin(columns * rng.uniform(4, 14) + rng.uniform(0, 6))
    height = TEXTURE_REACH * (1 - 2 * (np.arange(TEXTURE_SIZE) + 0.5) / TEXTURE_SIZE)
    mask = np.clip((height[:, None] - line[None]) / 0.035, 0, 1).astype(np.float32)
    strands = 1 + 0.18 * cv2.GaussianBlur(rng.normal(size=(1, TEXTURE_SIZE)).astype(np.float32), (0, 0), 1.0)
    return skin + mask[..., None] * (hair * strands[..., None] - skin)


Curve = tuple[tuple[float, float], ...]  # (x, y) of the front view, model units


def _draw_curves(*curves: Curve) -> np.ndarray:
    """Draw curves as a soft mask of the texture's size."""
    mask = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)
    for curve in curves:
        points = np.round(to_texture_pixels(np.array(curve)) * 16).astype(np.int32)
        cv2.polylines(mask, [points], False, 1.0, 2, cv2.LINE_8, 4)
    return np.clip(cv2.GaussianBlur(mask, (0, 0), 0.7) * 1.4, 0, 1)


def _both_sides(curve: Curve) -> tuple[Curve, Curve]:
    return curve, tuple((-x, y) for x, y in curve)


@lru_cache(maxsize=1)
def _expression_lines() -> tuple[tuple[tuple[str, ...], np.ndarray], ...]:
    """Return the names of expressions that fold the skin, with a mask of the lines of each group."""
    forehead = [((-0.32, y - 0.02), (-0.16, y), (0, y - 0.01), (0.16, y), (0.32, y - 0.02)) for y in (0.52, 0.59, 0.66)]
    cheek = _both_sides(((0.15, -0.1), (0.23, -0.2), (0.28, -0.32), (0.28, -0.42)))
    eye_corners = _both_sides(((0.5, 0.36), (0.58, 0.4))) + _both_sides(((0.5, 0.3), (0.59, 0.28)))
    frown = _both_sides(((0.045, 0.36), (0.04, 0.48)))
    chin = _both_sides(((0.02, -0.56), (0.12, -0.60)))
    return (
        (("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), _draw_curves(*forehead)),
        (("browDownLeft", "browDownRight"), _draw_curves(*frown)),
        (("mouthSmileLeft", "mouthSmileRight"), _draw_curves(*cheek, *eye_corners)),
        (("mouthShrugLower", "mouthFrownLeft", "mouthFrownRight"), _draw_curves(*chin)),
    )


def render_skin(person: Person, expression: np.ndarray) -> np.ndarray:
    """Return a person's skin texture with the wrinkles of an expression.

    Args:
        person: Appearance.
        expression: 64 coefficients.

    Returns:
        TEXTURE_SIZE×TEXTURE_SIZE×3 float32 albedo, 0..255.
    """
    shade = np.ones((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)
    for names, lines in _expression_lines():
        depth = max(float(expression[blendshape_index(name)]) for name in names)
        if depth > 0.05:
            shade *= 1 - 0.42 * person.wrinkles * min(depth, 1.0) * lines
    return person.skin * shade[..., None]
