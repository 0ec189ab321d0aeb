"""An overview image of a built model: identities, colors, and the effect of each expression column alone."""

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

CELL_SIZE, COLUMNS = 160, 10
_SUPERSAMPLING, _ZOOM = 2, 1.1


def render_overview(model: Face478) -> np.ndarray:
    """Render the overview image.

    It shows the mean at several angles, identity and texture columns at ±2 standard deviations, named columns at
    score 1 (a star marks hand-made ones) and the other expression columns at ±2.

    Returns:
        H×W×3 uint8.
    """
    size, unit = CELL_SIZE, np.eye(TEXTURE_DIM)
    pairs = [(k, sign) for k in range(COLUMNS // 2) for sign in (-2.0, 2.0)]
    unnamed = [(k, sign) for k in range(len(BLENDSHAPES), EXPRESSION_DIM) for sign in (-2.0, 2.0)]
    angles = [(f"mean, yaw {yaw}", render_mesh(model, size, model.mean, yaw=yaw)) for yaw in range(-60, 61, 15)]
    identities = [
        (f"identity {k + 1}: {sign:+.0f}", render_mesh(model, size, model.mean + sign * model.identity_basis[:, :, k]))
        for k, sign in pairs
    ]
    textures = [
        (f"texture {k + 1}: {sign:+.0f}", render_mesh(model, size, model.mean, model.albedo(sign * unit[k])))
        for k, sign in pairs
    ]
    named = [
        (
            name + " *" * (name in UNSCORED_BLENDSHAPES),
            render_mesh(model, size, move_column(model, blendshape_index(name))),
        )
        for name in BLENDSHAPES[1:]
    ]
    others = [
        (f"extra {k - len(BLENDSHAPES) + 1}: {sign:+.0f}", render_mesh(model, size, move_column(model, k, sign)))
        for k, sign in unnamed
    ]
    groups = [angles, identities, textures, named, others]
    return _arrange_cells([group[k : k + COLUMNS] for group in groups for k in range(0, len(group), COLUMNS)])


def _arrange_cells(rows: list[list[tuple[str, np.ndarray]]]) -> np.ndarray:
    """Write the label of each cell into it and arrange the cells in rows."""
    sheet = np.full((len(rows) * CELL_SIZE, COLUMNS * CELL_SIZE, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, (label, cell) in enumerate(row):
            cv2.putText(cell, label, (3, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (0, 0, 0), 1, cv2.LINE_AA)
            sheet[y * CELL_SIZE : (y + 1) * CELL_SIZE, x * CELL_SIZE : (x + 1) * CELL_SIZE] = cell
    return sheet


def move_column(model: Face478, column: int, amount: float = 1.0) -> np.ndarray:
    """Return the mean face under one expression column alone, 478×3."""
    return model.mean + amount * model.expression_basis[:, :, column]


def render_mesh(
    model: Face478, size: int, vertices: np.ndarray, colors: np.ndarray | None = None, yaw: float = 0.0
) -> np.ndarray:
    """Render vertices on white, lit slightly from above.

    Args:
        model: The model.
        size: Width and height in pixels.
        vertices: 478×3.
        colors: 478×3 albedo, by default the mean.
        yaw: Rotation in degrees.

    Returns:
        size×size×3 uint8.
    """
    posed = camera.apply_pose(vertices, np.array([0, np.radians(yaw), 0, 0, 0, 0]))
    canvas = size * _SUPERSAMPLING
    pixels, depth = camera.project(posed, canvas * _ZOOM)
    pixels += canvas * np.array([1 - _ZOOM, 0.95 - _ZOOM]) / 2  # room above for a label, below for an open jaw
    light = np.zeros((3, LIGHT_DIM // 3))
    light[:, 1], light[:, 2] = -0.10, 0.12  # from above and in front; uniform light would hide the relief
    albedo = model.albedo_mean if colors is None else colors
    lit = np.clip(shade(albedo, vertex_normals(posed, model.triangles), light.ravel()), 0, 255)
    index, weights, _ = rasterize(pixels, depth, model.triangles, canvas, canvas)
    image = interpolate(index, weights, model.triangles, lit, background=255.0).astype(np.uint8)
    if abs(yaw) < 30:  # at larger angles, the far eye would show through the nose
        _paint_openings(image, pixels)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def _paint_openings(image: np.ndarray, pixels: np.ndarray) -> None:
    """Paint eyeballs and a dark mouth, which the model's surface lacks. Changes the image in place."""

    def opening_mask(ring: np.ndarray) -> np.ndarray:
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(pixels[ring] * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return mask[..., None] / 255.0

    def blend(mask: np.ndarray, layer: np.ndarray) -> None:
        image[:] = (image * (1 - mask) + layer * mask + 0.5).astype(np.uint8)

    if pixels[topology.LOWER_LIP, 1] > pixels[topology.UPPER_LIP, 1]:  # a column can make the lips cross
        blend(opening_mask(topology.INNER_LIPS), np.full_like(image, (60, 25, 25)))
    eyes = ((topology.LEFT_EYE, topology.LEFT_IRIS), (topology.RIGHT_EYE, topology.RIGHT_IRIS))
    for lids, iris in eyes:
        eyeball = np.full_like(image, (225, 222, 218))
        radius = np.linalg.norm(pixels[iris[1:]] - pixels[iris[0]], axis=1).mean()
        center = np.round(pixels[iris[0]] * 16).astype(int)
        for share, color in ((1.0, (90, 70, 55)), (0.45, (15, 12, 10))):
            cv2.circle(eyeball, center.tolist(), round(radius * share * 16), color, -1, cv2.LINE_AA, 4)
        blend(opening_mask(lids), eyeball)
