"""One picture that shows a built model: people, colors, and what each expression column alone does."""

import cv2
import numpy as np

from mimaface_cli.face import camera, topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.face.shading import shade, vertex_normals
from mimaface_cli.motion.coefficients import (
    BLENDSHAPES,
    EXPRESSION_DIM,
    LIGHT_DIM,
    TEXTURE_DIM,
    UNSCORED_BLENDSHAPES,
    blendshape_index,
)

CELL, COLUMNS = 160, 10
_OVERSAMPLED, _NEARER = 2, 1.1


def contact_sheet(model: Face478) -> np.ndarray:
    """H×W×3 uint8: the mean turned, identity and texture columns at ±2 (a standard deviation is 1), named columns at 1
    (a star marks those made by hand), the other expression columns at ±2.
    """
    both = [(k, sign) for k in range(COLUMNS // 2) for sign in (-2.0, 2.0)]
    extra = [(k, sign) for k in range(len(BLENDSHAPES), EXPRESSION_DIM) for sign in (-2.0, 2.0)]
    groups = [
        [(f"mean, yaw {yaw}", draw(model, CELL, model.mean, yaw=yaw)) for yaw in range(-60, 61, 15)],
        [
            (f"identity {k + 1}: {sign:+.0f}", draw(model, CELL, model.mean + sign * model.identity_basis[:, :, k]))
            for k, sign in both
        ],
        [
            (
                f"texture {k + 1}: {sign:+.0f}",
                draw(model, CELL, model.mean, model.albedo(sign * np.eye(TEXTURE_DIM)[k])),
            )
            for k, sign in both
        ],
        [
            (name + " *" * (name in UNSCORED_BLENDSHAPES), draw(model, CELL, moved(model, blendshape_index(name))))
            for name in BLENDSHAPES[1:]
        ],
        [
            (f"extra {k - len(BLENDSHAPES) + 1}: {sign:+.0f}", draw(model, CELL, moved(model, k, sign)))
            for k, sign in extra
        ],
    ]
    rows = [group[k : k + COLUMNS] for group in groups for k in range(0, len(group), COLUMNS)]
    sheet = np.full((len(rows) * CELL, COLUMNS * CELL, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, (label, cell) in enumerate(row):
            cv2.putText(cell, label, (3, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (0, 0, 0), 1, cv2.LINE_AA)
            sheet[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = cell
    return sheet


def moved(model: Face478, column: int, amount: float = 1.0) -> np.ndarray:
    """The mean face under one expression column alone: 478×3."""
    return model.mean + amount * model.expression_basis[:, :, column]


def draw(
    model: Face478, size: int, vertices: np.ndarray, colors: np.ndarray | None = None, yaw: float = 0.0
) -> np.ndarray:
    """A size×size×3 uint8 picture of vertices (478×3) with an albedo (478×3, the mean's by default), lit a little from
    above, on white; yaw in degrees.
    """
    placed = camera.apply_pose(vertices, np.array([0, np.radians(yaw), 0, 0, 0, 0]))
    canvas = size * _OVERSAMPLED
    pixels, depth = camera.project(placed, canvas * _NEARER)
    pixels += canvas * np.array([1 - _NEARER, 0.95 - _NEARER]) / 2  # room above for a label, below for a jaw
    light = np.zeros((3, LIGHT_DIM // 3))
    light[:, 1], light[:, 2] = -0.10, 0.12  # from above and ahead: even light hides the relief
    albedo = model.albedo_mean if colors is None else colors
    lit = np.clip(shade(albedo, vertex_normals(placed, model.triangles), light.ravel()), 0, 255)
    index, weights, _ = rasterize(pixels, depth, model.triangles, canvas, canvas)
    picture = interpolate(index, weights, model.triangles, lit, background=255.0).astype(np.uint8)
    if abs(yaw) < 30:  # turned further, the far eye would show through the nose
        _paint_openings(picture, pixels)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _paint_openings(picture: np.ndarray, pixels: np.ndarray) -> None:
    """Eyeballs and the dark of the mouth, which the model's surface does not have."""

    def opening(ring: np.ndarray) -> np.ndarray:
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(pixels[ring] * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return mask[..., None] / 255.0

    def blend(mask: np.ndarray, layer: np.ndarray) -> None:
        picture[:] = (picture * (1 - mask) + layer * mask + 0.5).astype(np.uint8)

    if pixels[topology.LOWER_LIP, 1] > pixels[topology.UPPER_LIP, 1]:  # lips can be made to cross
        blend(opening(topology.INNER_LIPS), np.full_like(picture, (60, 25, 25)))
    eyes = ((topology.LEFT_EYE, topology.LEFT_IRIS), (topology.RIGHT_EYE, topology.RIGHT_IRIS))
    for lids, iris in eyes:
        ball = np.full_like(picture, (225, 222, 218))
        radius = np.linalg.norm(pixels[iris[1:]] - pixels[iris[0]], axis=1).mean()
        center = np.round(pixels[iris[0]] * 16).astype(int)
        for share, color in ((1.0, (90, 70, 55)), (0.45, (15, 12, 10))):
            cv2.circle(ball, center.tolist(), round(radius * share * 16), color, -1, cv2.LINE_AA, 4)
        blend(opening(lids), ball)
