"""Who is rendered: a face478 identity and texture, and the skin, hair, brows, eyes, beard, glasses and clothes upon it."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.face import topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.motion.coefficients import IDENTITY_DIM, TEXTURE_DIM, blendshape_index

MAP = 112  # pixels of a face's texture, over its front view
REACH = 0.95  # model units from the middle of that view to its edge
SHAPE_SPREAD, TEXTURE_SPREAD = 1.4, 0.7  # standard deviations of the model's coefficients
_RIGHT_BROW = np.array([70, 63, 105, 66, 107, 55, 65, 52, 53, 46])
_LEFT_BROW = np.array([300, 293, 334, 296, 336, 285, 295, 282, 283, 276])
_HAIR = np.array(
    [[22, 18, 16], [48, 30, 20], [86, 54, 30], [140, 92, 50], [205, 170, 105], [150, 60, 28], [150, 148, 146]]
)
_EYES = np.array([[60, 36, 20], [92, 62, 30], [70, 96, 62], [66, 106, 140], [96, 110, 122]])
_CLOTH = ((20, 230), 3)


@dataclass(frozen=True)
class Person:
    """One who can be rendered, whatever the pose. identity, texture: 80 coefficients of face478 each; skin: MAP×MAP×3
    float32 albedo 0..255 over the front view; tone, hair, iris, cloth: RGB 0..255; hairline: how low the hair reaches
    (height of the face's rim, -1 chin .. 1 crown); volume: of the hair, model units; long: how far below the chin line
    it falls, 0 short; glasses: RGB, None for none; wrinkles: how deep lines are, 0..1.
    """

    identity: np.ndarray
    texture: np.ndarray
    skin: np.ndarray
    tone: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    cloth: np.ndarray
    hairline: float
    volume: float
    long: float
    glasses: np.ndarray | None
    wrinkles: float


def make_person(model: Face478, seed: int) -> Person:
    """The person of that seed: the same one every time."""
    rng = np.random.default_rng((478, seed))
    identity = rng.normal(0, SHAPE_SPREAD, IDENTITY_DIM)
    texture = rng.normal(0, TEXTURE_SPREAD, TEXTURE_DIM)
    depth = rng.uniform(0, 1)  # of the skin's color, light to dark
    target = np.array([236, 196, 172]) * (1 - depth) + np.array([92, 58, 40]) * depth
    target = target * rng.uniform(0.95, 1.05, 3)
    albedo = model.albedo(texture)
    albedo = albedo * (target / albedo[[50, 280]].mean(0))
    texture = _coefficients(model, albedo)
    hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.8, 1.2, 3)
    bald = rng.random() < 0.08
    skin = _front_view(model, albedo)
    skin = _paint(model, skin, hair, rng)
    hairline = 1.2 if bald else rng.uniform(-0.35, 0.45)
    if not bald:
        skin = _fringe(skin, hair, rng)
    return Person(
        identity,
        texture,
        skin.clip(4, 250).astype(np.float32),
        target,
        target * 0.92 if bald else hair,
        _EYES[rng.integers(len(_EYES))] * rng.uniform(0.8, 1.2, 3),
        rng.uniform(25, 230, 3),
        hairline,
        0.0 if bald else rng.uniform(0.04, 0.24),
        0.0 if bald or rng.random() < 0.55 else rng.uniform(0.3, 1.0),
        rng.uniform(10, 120, 3) if rng.random() < 0.22 else None,
        rng.uniform(0.3, 1.0),
    )


def _coefficients(model: Face478, albedo: np.ndarray) -> np.ndarray:
    """The texture coefficients (80) that come nearest to vertex colors 478×3 (ridge regression)."""
    basis = model.texture_basis.reshape(-1, TEXTURE_DIM)
    wanted = (albedo - model.albedo_mean).ravel()
    return np.linalg.solve(basis.T @ basis + 50 * np.eye(TEXTURE_DIM), basis.T @ wanted)


def to_map(points: np.ndarray) -> np.ndarray:
    """Front-view points …×2 (or ×3) in model units to texture pixels …×2."""
    return (np.stack([points[..., 0], -points[..., 1]], -1) / REACH + 1) * (MAP / 2)


def _front_view(model: Face478, albedo: np.ndarray) -> np.ndarray:
    """Vertex colors 478×3 laid out over the front view, continued beyond the rim."""
    xy = to_map(model.mean)
    spread = np.concatenate([xy, MAP / 2 + (xy[topology.OVAL] - MAP / 2) * 1.6])
    ring = np.arange(len(topology.OVAL))
    inner, outer = topology.OVAL, 478 + ring
    around = np.concatenate(
        [np.stack([inner, outer, np.roll(outer, -1)], 1), np.stack([inner, np.roll(outer, -1), np.roll(inner, -1)], 1)]
    )
    triangles = np.concatenate([model.triangles, around])
    depth = np.concatenate([10 - model.mean[:, 2], np.full(len(ring), 11.0)])
    index, weights, _ = rasterize(spread, depth, triangles, MAP, MAP)
    colors = np.concatenate([albedo, albedo[topology.OVAL]])
    return interpolate(index, weights, triangles, colors, background=albedo.mean(0))


def _area(ring: np.ndarray, soft: float) -> np.ndarray:
    """A closed ring of front-view points as a soft mask MAP×MAP."""
    mask = np.zeros((MAP, MAP), np.float32)
    cv2.fillPoly(mask, [np.round(to_map(ring) * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    return cv2.GaussianBlur(mask, (0, 0), soft)


def _blend(skin: np.ndarray, mask: np.ndarray, color: np.ndarray) -> np.ndarray:
    return skin + mask[..., None] * (np.asarray(color, np.float32) - skin)


def _paint(model: Face478, skin: np.ndarray, hair: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brows, lips, cheeks, beard, moles, freckles, and on some a painted mark."""
    mean = model.mean
    noise = cv2.GaussianBlur(rng.normal(size=(MAP, MAP)).astype(np.float32), (0, 0), 1.2)
    skin = skin * (1 + rng.uniform(0, 0.10) * noise[..., None])
    brow_thick, brow_dark = rng.uniform(0.6, 1.7), rng.uniform(0.45, 0.95)
    for brow in (_RIGHT_BROW, _LEFT_BROW):
        ring = mean[brow]
        middle = ring.mean(0)
        ring = middle + (ring - middle) * [1.05, brow_thick, 1]
        skin = _blend(skin, _area(ring, 0.8) * brow_dark, hair * 0.8)
    lips = _area(mean[topology.OUTER_LIPS], 0.7)
    tint = np.array([170, 60, 66]) * rng.uniform(0.6, 1.25) * rng.uniform(0.85, 1.15, 3)
    skin = _blend(skin, lips * rng.uniform(0.15, 0.85), tint)
    rows, columns = np.mgrid[:MAP, :MAP].astype(np.float32) + 0.5
    for vertex in (50, 280):
        x, y = to_map(mean[vertex])
        blush = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 7.0**2))
        skin = _blend(skin, blush * rng.uniform(0, 0.3), np.array([205, 95, 85]))
    for ring in (topology.LEFT_EYE, topology.RIGHT_EYE):
        middle = mean[ring].mean(0)
        wide = middle + (mean[ring] - middle) * [1.15, 1.7, 1]
        skin = _blend(skin, _area(wide, 1.2) * rng.uniform(0.1, 0.5), skin.mean((0, 1)) * 0.45)
        skin = _blend(skin, _area(middle + (mean[ring] - middle) * [1.06, 1.2, 1], 0.5) * 0.55, np.array([35, 24, 20]))
    if rng.random() < 0.3:
        low = to_map(np.array([0, mean[topology.NOSE_TIP, 1] - 0.16]))[1]
        side = np.abs(columns - MAP / 2) / (MAP / 2)
        beard = np.clip((rows - low + 30 * np.clip(side - 0.45, 0, 1)) / 4, 0, 1) * (1 - np.clip(lips * 1.6, 0, 1))
        beard *= rng.uniform(0.35, 0.9) * np.clip(1 + 0.5 * noise, 0, 1.3)
        skin = _blend(skin, np.clip(beard, 0, 1), hair * 0.8)
    for _ in range(rng.integers(0, 5)):  # moles
        x, y = rng.uniform(0.25, 0.75, 2) * MAP
        spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * rng.uniform(0.9, 2.0) ** 2))
        skin = _blend(skin, spot * 0.8, np.array([60, 36, 28]))
    if rng.random() < 0.2:
        dots = cv2.GaussianBlur((rng.random((MAP, MAP)) < 0.03).astype(np.float32), (0, 0), 0.8) * 4
        band = np.exp(-(((rows - MAP * 0.55) / 14) ** 2))
        skin = _blend(skin, np.clip(dots * band, 0, 0.6), np.array([120, 70, 45]))
    if rng.random() < 0.15:  # a stripe of face paint
        start, stop = to_map(rng.uniform(-0.6, 0.6, (2, 2)))
        stripe = np.zeros((MAP, MAP), np.float32)
        cv2.line(stripe, tuple(int(v) for v in start), tuple(int(v) for v in stop), 1.0, int(rng.integers(3, 7)))
        skin = _blend(skin, cv2.GaussianBlur(stripe, (0, 0), 0.8) * 0.8, rng.uniform(20, 240, 3))
    return skin


def _fringe(skin: np.ndarray, hair: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hair over the forehead down to a slanted, wavy line."""
    columns = (np.arange(MAP) + 0.5) / MAP * 2 - 1
    line = rng.uniform(0.52, 0.86) + rng.uniform(-0.25, 0.25) * columns - rng.uniform(0, 0.25) * columns**2
    line = line + 0.03 * np.sin(columns * rng.uniform(4, 14) + rng.uniform(0, 6))
    height = REACH * (1 - 2 * (np.arange(MAP) + 0.5) / MAP)
    mask = np.clip((height[:, None] - line[None]) / 0.035, 0, 1).astype(np.float32)
    strands = 1 + 0.18 * cv2.GaussianBlur(rng.normal(size=(1, MAP)).astype(np.float32), (0, 0), 1.0)
    return skin + mask[..., None] * (hair * strands[..., None] - skin)


@lru_cache(maxsize=1)
def _lines() -> tuple[tuple[tuple[str, ...], np.ndarray], ...]:
    """Which expressions fold the skin where: names of coefficients, and a MAP×MAP mask of the lines they draw."""

    def drawn(*curves: tuple[tuple[float, float], ...]) -> np.ndarray:
        mask = np.zeros((MAP, MAP), np.float32)
        for curve in curves:
            points = np.round(to_map(np.array(curve)) * 16).astype(np.int32)
            cv2.polylines(mask, [points], False, 1.0, 2, cv2.LINE_8, 4)
        return np.clip(cv2.GaussianBlur(mask, (0, 0), 0.7) * 1.4, 0, 1)

    both = lambda curve: (curve, tuple((-x, y) for x, y in curve))  # noqa: E731
    forehead = [((-0.32, y - 0.02), (-0.16, y), (0, y - 0.01), (0.16, y), (0.32, y - 0.02)) for y in (0.52, 0.59, 0.66)]
    cheek = both(((0.15, -0.1), (0.23, -0.2), (0.28, -0.32), (0.28, -0.42)))
    corners = both(((0.5, 0.36), (0.58, 0.4))) + both(((0.5, 0.3), (0.59, 0.28)))
    frown = both(((0.045, 0.36), (0.04, 0.48)))
    chin = both(((0.02, -0.56), (0.12, -0.60)))
    return (
        (("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), drawn(*forehead)),
        (("browDownLeft", "browDownRight"), drawn(*frown)),
        (("mouthSmileLeft", "mouthSmileRight"), drawn(*cheek, *corners)),
        (("mouthShrugLower", "mouthFrownLeft", "mouthFrownRight"), drawn(*chin)),
    )


def folded(person: Person, expression: np.ndarray) -> np.ndarray:
    """The skin under an expression (64), MAP×MAP×3 float32: with the wrinkles that it folds."""
    shade = np.ones((MAP, MAP), np.float32)
    for names, lines in _lines():
        depth = max(float(expression[blendshape_index(name)]) for name in names)
        if depth > 0.05:
            shade *= 1 - 0.42 * person.wrinkles * min(depth, 1.0) * lines
    return person.skin * shade[..., None]
