"""Changes to a face that are no occlusion: beards, glasses, hats, shadows, make-up, and the style of a photo.

The drawing functions change colors (H, W, 3) float32 in place.
"""

import cv2
import numpy as np

from mimaface_cli.builders.occlusion.occluders import make_texture
from mimaface_cli.builders.occlusion.training_faces import TrainingData, TrainingFace
from mimaface_cli.face import topology
from mimaface_cli.face.face_outline import face_axes

_BEARD = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
_BEARD_TOP = (454, 425, 410, 391, 2, 165, 186, 205, 234)
_MOUSTACHE = (186, 165, 2, 391, 410, 291, 0, 61)


def change_appearance(colors: np.ndarray, face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> None:
    """Draw ordinary things that belong to a face, at random, in place."""
    for share, draw in (
        (0.14, _draw_beard),
        (0.12, _draw_glasses),
        (0.1, _draw_hat),
        (0.22, _cast_shadow),
        (0.1, _tint_lips),
    ):
        if rng.random() < share:
            draw(colors, face, data, rng)


def _blend(colors: np.ndarray, layer: np.ndarray, share: np.ndarray) -> None:
    colors += share[..., None] * (layer - colors)


def _fill(shape: tuple[int, int], polygon: np.ndarray) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], (1,))
    return mask.astype(np.float32)


def _draw_beard(colors: np.ndarray, face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> None:
    points, shape = face.points, colors.shape[:2]
    height = face_axes(points)[2]
    if rng.random() < 0.3:
        area = _fill(shape, points[list(_MOUSTACHE)])
    else:
        area = _fill(shape, np.concatenate([points[list(_BEARD)], points[list(_BEARD_TOP)]]))
    area = cv2.GaussianBlur(area, (0, 0), rng.uniform(0.01, 0.04) * height)
    area *= 1 - _fill(shape, points[topology.OUTER_LIPS])
    grain = rng.normal(size=shape).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.7) * rng.uniform(10, 40)
    hair = np.array([[20, 18, 18], [60, 45, 35], [120, 115, 112], [200, 198, 195], [140, 90, 50]])[rng.integers(5)]
    layer = np.clip(hair * rng.uniform(0.6, 1.2) + grain[..., None], 0, 255).astype(np.float32)
    _blend(colors, layer, area * rng.uniform(0.3, 0.95))


def _draw_glasses(colors: np.ndarray, face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> None:
    points, shape = face.points, colors.shape[:2]
    _, up, height = face_axes(points)
    right = np.array([-up[1], up[0]])
    lenses, frame = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    degrees = float(np.degrees(np.arctan2(right[1], right[0])))
    size = np.array([rng.uniform(0.26, 0.36), rng.uniform(0.15, 0.28)]) * height
    places = [
        points[ring].mean(0) - up * rng.uniform(0, 0.03) * height for ring in (topology.RIGHT_EYE, topology.LEFT_EYE)
    ]
    for place in places:
        if rng.random() < 0.5:
            cv2.ellipse(lenses, (tuple(map(float, place)), tuple(map(float, size)), degrees), (1,), -1)
        else:
            box = cv2.boxPoints((tuple(map(float, place)), tuple(map(float, size)), degrees))
            cv2.fillPoly(lenses, [np.round(box).astype(np.int32)], (1,))
    thick = int(rng.integers(1, 5))
    contours, _ = cv2.findContours(lenses, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(frame, contours, -1, (1,), thick)
    cv2.line(frame, tuple(places[0].astype(int)), tuple(places[1].astype(int)), (1,), thick)
    frame[lenses > 0] = np.where(frame[lenses > 0] > 0, 1, 0)
    color = np.full(3, rng.uniform(0, 60)) if rng.random() < 0.7 else rng.uniform(0, 255, 3)
    tint = rng.uniform(0.6, 1.0) if rng.random() < 0.6 else rng.uniform(0, 0.2)
    _blend(
        colors,
        np.broadcast_to(color * rng.uniform(0.5, 1.2), colors.shape).astype(np.float32),
        lenses * np.float32(tint),
    )
    _blend(
        colors,
        np.broadcast_to(color, colors.shape).astype(np.float32),
        cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 0.6),
    )


def _draw_hat(colors: np.ndarray, face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> None:
    """Cover the forehead above the brows by a hat, a scarf or hair."""
    center, up, height = face_axes(face.points)
    rows, columns = np.indices(colors.shape[:2]).astype(np.float32)
    above = ((columns - center[0]) * up[0] + (rows - center[1]) * up[1]) / height
    aside = ((columns - center[0]) * -up[1] + (rows - center[1]) * up[0]) / height
    edge = rng.uniform(0.24, 0.45) + rng.uniform(-0.5, 0.5) * aside + rng.uniform(-0.6, 0.3) * aside**2
    area = np.clip((above - edge) * height / rng.uniform(1, 8), 0, 1)
    _blend(colors, make_texture(face, data, rng), area.astype(np.float32))


def _cast_shadow(colors: np.ndarray, face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> None:
    center, _, height = face_axes(face.points)
    rows, columns = np.indices(colors.shape[:2]).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    position = ((columns - center[0]) * np.cos(angle) + (rows - center[1]) * np.sin(angle)) / height
    bend = ((columns - center[0]) * -np.sin(angle) + (rows - center[1]) * np.cos(angle)) / height
    edge = rng.uniform(-0.35, 0.35) + rng.uniform(-1.5, 1.5) * bend**2
    area = np.clip((position - edge) / rng.uniform(0.02, 0.4) + 0.5, 0, 1)
    if rng.random() < 0.3:  # a highlight
        colors += area[..., None] * rng.uniform(10, 60)
    else:
        colors *= 1 - area[..., None] * (1 - rng.uniform(0.25, 0.8) * rng.uniform(0.95, 1.05, 3).astype(np.float32))
    np.clip(colors, 0, 255, out=colors)


def _tint_lips(colors: np.ndarray, face: TrainingFace, data: TrainingData, rng: np.random.Generator) -> None:
    shape = colors.shape[:2]
    area = _fill(shape, face.points[topology.OUTER_LIPS]) - _fill(shape, face.points[topology.INNER_LIPS])
    area = cv2.GaussianBlur(np.clip(area, 0, 1), (0, 0), 0.8)
    tint = np.array([[170, 20, 40], [120, 30, 60], [220, 120, 130], [60, 20, 30]])[rng.integers(4)]
    luma = colors.mean(2, keepdims=True) / max(float(colors.mean()), 1.0)
    _blend(colors, (tint * luma).astype(np.float32), area * rng.uniform(0.3, 0.8))


def change_style(colors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change light, color, sharpness and style of a photo at random.

    Args:
        colors: (H, W, 3) float32.
        rng: Random numbers.

    Returns:
        (H, W, 3) uint8.
    """
    colors = colors * rng.uniform(0.6, 1.3) * rng.uniform(0.88, 1.12, 3) + rng.uniform(-15, 15)
    middle = float(colors.mean())
    colors = middle + (colors - middle) * rng.uniform(0.7, 1.3)
    gray = colors @ np.array([0.299, 0.587, 0.114], np.float32)
    if rng.random() < 0.15:
        colors = gray[..., None] * rng.uniform(0.9, 1.1, 3) if rng.random() < 0.4 else np.repeat(gray[..., None], 3, 2)
    else:
        colors = gray[..., None] + (colors - gray[..., None]) * rng.uniform(0.5, 1.4)
    image = np.clip(colors, 0, 255).astype(np.uint8)
    style = rng.random()
    if style < 0.08:
        image = cv2.medianBlur(image, int(rng.choice([3, 5, 7])))
    elif style < 0.16:  # a drawing: flat colors and dark lines
        flat = cv2.bilateralFilter(image, 7, 40, 5)
        step = int(rng.integers(16, 56))
        flat = (flat // step * step + step // 2).clip(0, 255).astype(np.uint8)
        lines = cv2.adaptiveThreshold(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 255, 0, cv2.THRESH_BINARY, 7, 4)
        image = np.where((lines == 0)[..., None] & bool(rng.random() < 0.5), flat // 3, flat).astype(np.uint8)
    elif style < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.2))
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(2, 12), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image
