"""Drawn things in front of a face: masks, microphones, hands, cups, and shapes with arbitrary textures.

Each function returns colors (H, W, 3) float32 and coverage (H, W) float32, 0 to 1.
"""

from collections.abc import Callable

import cv2
import numpy as np

from mimaface_cli.builders.occlusion.training_faces import TrainingData, TrainingFace
from mimaface_cli.face.face_outline import face_axes

Layer = tuple[np.ndarray, np.ndarray]
_CHEEKS = (50, 280, 101, 330, 205, 425, 6)
# Landmarks along the edge of a mask: down one cheek, along the jaw, up the other cheek.
_MASK_JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
_MASK_COLORS = ((170, 200, 215), (150, 190, 225), (240, 240, 240), (30, 30, 32), (70, 90, 140), (190, 130, 140))


def draw_occluder(face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> Layer:
    """Draw one random thing in front of a face."""
    kinds: list[tuple[float, Callable[[TrainingFace, TrainingData, np.random.Generator], Layer]]] = [
        (0.22, draw_mask),
        (0.2, draw_microphone),
        (0.22 if data.hands else 0.0, draw_real_hand),
        (0.12, draw_fingers),
        (0.12, draw_blob),
        (0.12, draw_polygon),
    ]
    shares = np.array([share for share, _ in kinds])
    _, draw = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
    colors, coverage = draw(face, data, rng)
    return colors, cv2.GaussianBlur(coverage, (0, 0), rng.uniform(0.5, 1.3))


def make_texture(face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> np.ndarray:
    """Make a texture of the size of a face's crop: a color with grain and folds, or a piece of another photo."""
    height, width = face.colors.shape[:2]
    if rng.random() < 0.35:
        photo = data.faces[rng.integers(len(data.faces))].photo
        size = int(rng.integers(24, 100))
        top, left = rng.integers(0, len(photo) - size, 2)
        piece = photo[top : top + size, left : left + size]
        return cv2.resize(piece, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    kind = rng.random()
    color = np.full(3, rng.uniform(5, 250)) if kind < 0.5 else rng.uniform(0, 255, 3)
    return _shade(np.broadcast_to(color, (height, width, 3)).astype(np.float32), rng)


def _shade(colors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add grain, soft folds and a gradient of light."""
    shape = colors.shape[:2]
    rows, columns = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    light = 1 + rng.uniform(-0.35, 0.35) * columns + rng.uniform(-0.35, 0.35) * rows
    if rng.random() < 0.4:
        angle = rng.uniform(0, np.pi)
        position = np.cos(angle) * columns + np.sin(angle) * rows
        light *= 1 + rng.uniform(0.03, 0.2) * np.sin(position * rng.uniform(10, 60) + rng.uniform(0, 6))
    grain = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), rng.uniform(0.6, 3))
    grain = grain * (rng.uniform(0, 14) / max(float(grain.std()), 1e-6))
    return np.clip(colors * light[..., None] + grain[..., None], 0, 255)


def _fill(shape: tuple[int, int], polygon: np.ndarray) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def draw_mask(face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> Layer:
    """Draw a worn mask in the light of the face, with straps."""
    center, up, height = face_axes(face.points)
    points, right = face.points, np.array([-up[1], up[0]])
    jaw = center + (points[list(_MASK_JAW)] - center) * rng.uniform(0.98, 1.08)
    nose = points[6] + rng.uniform(0.2, 1.0) * (points[4] - points[6]) * (1.0 if rng.random() < 0.85 else 1.3)
    rise = rng.uniform(-0.06, 0.1) * height * up
    polygon = np.concatenate([jaw, [points[347] + rise, nose, points[118] + rise]])
    coverage = _fill(face.colors.shape[:2], polygon)
    gray = cv2.cvtColor(face.colors, cv2.COLOR_RGB2GRAY).astype(np.float32)
    light = cv2.GaussianBlur(gray, (0, 0), 0.1 * height)
    light = np.clip(
        light / max(float(np.median(light[coverage > 0.5])) if (coverage > 0.5).any() else 1.0, 1.0), 0.4, 1.5
    )
    if rng.random() < 0.6:
        base = np.array(_MASK_COLORS[rng.integers(len(_MASK_COLORS))], np.float32) * rng.uniform(0.6, 1.05)
        colors = _shade(np.broadcast_to(base, face.colors.shape).astype(np.float32), rng)
    else:
        colors = make_texture(face, data, rng)
    colors = np.clip(colors * light[..., None] * rng.uniform(0.7, 1.1), 0, 255)
    if rng.random() < 0.6:  # the nose pushes the cloth out
        ridge = np.exp(-(((np.indices(gray.shape)[1] - points[4, 0]) / (0.12 * height)) ** 2)).astype(np.float32)
        colors *= (1 + rng.uniform(-0.2, 0.2) * ridge)[..., None]
    if rng.random() < 0.5:
        straps = np.zeros(gray.shape, np.uint8)
        for start, side in ((jaw[0], -1), (jaw[-1], 1)):
            end = start + side * right * 0.3 * height + up * rng.uniform(0, 0.3) * height
            cv2.line(straps, tuple(start.astype(int)), tuple(end.astype(int)), (255,), 1, cv2.LINE_AA)
        coverage = np.maximum(coverage, straps.astype(np.float32) / 255)
    return colors, coverage


def draw_microphone(face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> Layer:
    """Draw a round or long head on a stick that comes from below or from the side."""
    _, up, height = face_axes(face.points)
    right = np.array([-up[1], up[0]])
    mouth = (face.points[13] + face.points[14]) / 2
    place = mouth + height * (rng.normal(0, 0.09) * right - rng.uniform(-0.05, 0.22) * up)
    radius = rng.uniform(0.07, 0.2) * height
    angle = rng.normal(0, 0.8)
    direction = -up * np.cos(angle) + right * np.sin(angle)
    mask = np.zeros(face.colors.shape[:2], np.uint8)
    axes = 2 * radius * rng.uniform(0.8, 1.6), 2 * radius
    degrees = float(np.degrees(np.arctan2(direction[1], direction[0])))
    cv2.ellipse(mask, (tuple(map(float, place)), axes, degrees), (255,), -1, cv2.LINE_AA)
    end = place + direction * 2 * height
    width = max(2, round(radius * rng.uniform(0.4, 1.8)))
    cv2.line(mask, tuple(place.astype(int)), tuple(end.astype(int)), (255,), width, cv2.LINE_AA)
    colors = make_texture(face, data, rng)
    if rng.random() < 0.55:
        colors = colors.mean(2, keepdims=True) * rng.uniform(0.15, 0.6) * np.ones(3, np.float32)
    rows, columns = np.indices(mask.shape).astype(np.float32)
    lit = ((columns - place[0]) * right[0] + (rows - place[1]) * right[1]) / radius
    colors = colors * (1 + rng.uniform(-0.35, 0.35) * np.clip(lit, -1, 1))[..., None]
    return np.clip(colors, 0, 255).astype(np.float32), mask.astype(np.float32) / 255


def draw_real_hand(face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> Layer:
    """Place a hand of another photo, half of the time in the colors of the face's skin."""
    hand = data.hands[rng.integers(len(data.hands))]
    height = face_axes(face.points)[2]
    shape = face.colors.shape[:2]
    scale = rng.uniform(0.6, 1.3) * height / max(hand.shape[:2])
    angle = rng.uniform(0, 2 * np.pi)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.5:
        rotation[:, 0] *= -1
    target = (
        face.points[rng.choice([13, 14, 17, 4, 205, 425, 50, 280, 152, 159, 386])] + rng.normal(0, 0.12, 2) * height
    )
    # A random pixel of the hand comes to lie on the target.
    rows, columns = np.nonzero(hand[..., 3])
    pick = rng.integers(len(rows))
    offset = target - rotation @ [columns[pick], rows[pick]]
    matrix = np.concatenate([rotation, offset[:, None]], 1)
    warped = cv2.warpAffine(hand, matrix, shape[::-1], flags=cv2.INTER_AREA)
    colors, coverage = warped[..., :3].astype(np.float32), warped[..., 3].astype(np.float32) / 255
    if rng.random() < 0.6:
        colors = _match_skin(colors, coverage, face, rng)
    return colors, coverage


def _skin_color(face: TrainingFace) -> np.ndarray:
    points = np.clip(face.points[list(_CHEEKS)].astype(int), 0, len(face.colors) - 1)
    return np.median(face.colors[points[:, 1], points[:, 0]].astype(np.float32), axis=0)


def _match_skin(colors: np.ndarray, coverage: np.ndarray, face: TrainingFace, rng: np.random.Generator) -> np.ndarray:
    inside = coverage > 0.5
    if not inside.any():
        return colors
    ratio = (_skin_color(face) + 4) / (np.median(colors[inside], axis=0) + 4) * rng.uniform(0.8, 1.15)
    return np.clip(colors * ratio, 0, 255).astype(np.float32)


def draw_fingers(face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> Layer:
    """Draw one to four round fingers in the colors of the face's skin, with dark edges."""
    height = face_axes(face.points)[2]
    shape = face.colors.shape[:2]
    direction = rng.normal(size=2)
    direction /= np.linalg.norm(direction)
    beside = np.array([-direction[1], direction[0]])
    tip = face.points[rng.choice([13, 14, 17, 4, 205, 425, 152, 61, 291])] + rng.normal(0, 0.06, 2) * height
    width = rng.uniform(0.07, 0.13) * height
    coverage, relief = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    rows, columns = np.indices(shape).astype(np.float32)
    for k in range(int(rng.integers(1, 5))):
        start = tip + beside * width * 1.02 * (k - 1) - direction * rng.uniform(0, 0.12) * height
        axis = direction + rng.normal(0, 0.05, 2)
        axis /= np.linalg.norm(axis)
        along = (columns - start[0]) * axis[0] + (rows - start[1]) * axis[1]
        across = -(columns - start[0]) * axis[1] + (rows - start[1]) * axis[0]
        # `direction` points from the palm to the tip.
        distance = np.hypot(np.maximum(along, 0), across) / (width / 2)
        inside = np.clip((1 - distance) * width / 2 + 0.5, 0, 1)
        relief = np.where(inside > coverage, 1 - 0.35 * np.clip(distance, 0, 1) ** 3, relief)
        coverage = np.maximum(coverage, inside)
    base = _skin_color(face) * rng.uniform(0.75, 1.2) * rng.uniform(0.94, 1.06, 3)
    colors = _shade(np.broadcast_to(base.astype(np.float32), (*shape, 3)).copy(), rng) * relief[..., None]
    return np.clip(colors, 0, 255).astype(np.float32), coverage


def _place(face: TrainingFace, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A random place on the face, more often at the mouth, and the face's height."""
    height = face_axes(face.points)[2]
    anchor = face.points[rng.choice([13, 14, 13, 14, 4, 205, 425, 152, 159, 386, 9])]
    return anchor + rng.normal(0, 0.12, 2) * height, height


def draw_blob(face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> Layer:
    """Draw a smooth random shape."""
    place, height = _place(face, rng)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = rng.uniform(0.1, 0.35) * height * np.ones_like(angles)
    for wave in range(1, 5):
        radius *= 1 + rng.uniform(-0.25, 0.25) * np.cos(wave * angles + rng.uniform(0, 6))
    polygon = place + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None] * [1, rng.uniform(0.5, 1.6)]
    return make_texture(face, data, rng), _fill(face.colors.shape[:2], polygon)


def draw_polygon(face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> Layer:
    """Draw a rotated rectangle, such as a phone, a book or a cup."""
    place, height = _place(face, rng)
    size = rng.uniform(0.12, 0.6, 2) * height
    box = cv2.boxPoints((tuple(map(float, place)), tuple(map(float, size)), float(rng.uniform(0, 180))))
    return make_texture(face, data, rng), _fill(face.colors.shape[:2], box)
