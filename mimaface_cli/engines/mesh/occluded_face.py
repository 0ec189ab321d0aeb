"""Completion of a face behind an occluder: from the other half of the face, or filled from its skin."""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.face_symmetry import find_mirrored_vertices
from mimaface_cli.engines.mesh.fine_face import build_fine_face
from mimaface_cli.engines.mesh.inpainting import fill_hole
from mimaface_cli.engines.mesh.smooth_fill import masked_resize, solve_membrane
from mimaface_cli.face import camera, topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.face_outline import draw_face_hull
from mimaface_cli.face.mask_box import find_mask_box
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.face.rasterizer import rasterize_positions
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.motion.rotation import rotation_matrix

_RIM = 0.02  # width of the occluder's tinted rim, as a share of the face's height
_LEAST_ALPHA = 0.04
_MEMBRANE_SIDE = 128  # pixels; differences of color are smooth
_MAX_GAIN = 60.0  # gray levels that the mirrored half is made lighter or darker
# Landmarks around brows and nostrils, which are no source of skin.
_BROWS = (
    np.array([70, 63, 105, 66, 107, 55, 65, 52, 53, 46]),
    np.array([300, 293, 334, 296, 336, 285, 295, 282, 283, 276]),
)
_NOSTRILS = np.array([48, 64, 98, 97, 2, 326, 327, 294, 278, 4])


def complete_occluded_face(
    portrait: Portrait, model: Face478, alpha: np.ndarray, *, is_fast: bool = False
) -> np.ndarray:
    """Replace an occluder by a completed face.

    Args:
        portrait: The photo.
        model: The face model of its coefficients.
        alpha: (H, W) float32 opacity of the occluder.
        is_fast: Whether to fill without texture what the other half does not show.

    Returns:
        (H, W, 3) uint8, equal to the photo outside the face and at some distance from the occluder.
    """
    image, points = portrait.image, portrait.points
    height = float(np.ptp(points[:, 1]))
    radius = max(2, round(_RIM * height))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    covered = cv2.dilate((alpha > _LEAST_ALPHA).astype(np.uint8), disc) > 0
    face = draw_face_hull(points, image.shape[:2])
    box = find_mask_box(face, radius)
    if box is None or not (covered & face).any():
        return image.copy()
    hole = (covered & cv2.dilate(face.astype(np.uint8), disc).astype(bool))[box]
    known = face[box] & ~hole
    crop = np.ascontiguousarray(image[box]).astype(np.float32)
    if known.sum() < 16:
        return image.copy()
    corner = np.array([box[1].start, box[0].start])
    mirror_map = _map_mirror(portrait, model, corner, hole.shape)
    is_source = sample_image(known.astype(np.float32), mirror_map, cv2.INTER_LINEAR) > 0.95
    filled = crop.copy()
    from_mirror = hole & is_source
    if from_mirror.any():
        mirrored = sample_image(crop, mirror_map, cv2.INTER_LINEAR)
        change = _spread(crop - mirrored, known & is_source, from_mirror)
        filled[from_mirror] = (mirrored + change)[from_mirror]
    rest = hole & ~from_mirror
    if rest.any():
        filled[rest] = _fill_skin(filled, rest, known | from_mirror, points - corner, is_fast)[rest]
    share = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), radius / 2) * hole
    share = np.clip(2 * share - 0.9, 0, 1)[..., None] if radius > 2 else hole[..., None].astype(np.float32)
    result = image.copy()
    result[box] = np.clip(np.rint(crop + share * (filled - crop)), 0, 255)
    return result


def _map_mirror(portrait: Portrait, model: Face478, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return for each pixel of a crop of the photo the crop's pixel (h, w, 2) of the mirrored place of the face."""
    fine = build_fine_face(model.face.tobytes())
    pose = portrait.pose
    vertices = model.shape(portrait.identity, portrait.expression) @ rotation_matrix(pose[:3]).T + pose[3:]
    depth = camera.CAMERA_DISTANCE - vertices[:, 2]
    pixels = fine.matrix @ portrait.points - corner
    mirrored = find_mirrored_vertices(model)
    _, positions = rasterize_positions(
        np.ascontiguousarray(pixels),
        np.ascontiguousarray(fine.matrix @ depth),
        fine.triangles,
        np.ascontiguousarray(pixels[mirrored] - 0.5),
        shape[1],
        shape[0],
    )
    return positions


def _spread(difference: np.ndarray, known: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Continue a color difference (h, w, 3) from the known pixels into the target, smoothly."""
    height, width = known.shape
    near = known & (cv2.dilate(target.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0)
    if not near.any():
        near = known
    if not near.any():
        return np.zeros_like(difference)
    scale = min(1.0, _MEMBRANE_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    coarse, share = masked_resize(np.clip(difference, -_MAX_GAIN, _MAX_GAIN), near.astype(np.float32), size)
    hole = share < min(0.2, 0.5 * float(share.max()))
    smooth = solve_membrane(coarse, hole)
    return cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)


def _fill_skin(crop: np.ndarray, rest: np.ndarray, known: np.ndarray, points: np.ndarray, is_fast: bool) -> np.ndarray:
    """Fill pixels of a face by its skin; crop: (h, w, 3) float32, points: landmarks in its pixels."""
    features = np.zeros(rest.shape, np.uint8)
    polygons = [points[ring] for ring in (topology.LEFT_EYE, topology.RIGHT_EYE, topology.OUTER_LIPS, *_BROWS)]
    for polygon in [*polygons, points[_NOSTRILS]]:
        cv2.fillConvexPoly(features, cv2.convexHull(np.round(polygon).astype(np.int32)), (1,))
    size = 2 * max(1, round(0.02 * len(rest))) + 1
    is_skin = known & (cv2.dilate(features, np.ones((size, size), np.uint8)) == 0)
    if is_skin.sum() < 16:
        is_skin = known
    smooth = _spread_colors(crop, is_skin)
    if is_fast:
        return smooth
    levels = np.clip(np.rint(np.where(is_skin[..., None], crop, smooth)), 0, 255).astype(np.uint8)
    return fill_hole(levels, ~is_skin, rest).astype(np.float32)


def _spread_colors(crop: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Continue colors (h, w, 3) from the known pixels, smoothly."""
    height, width = known.shape
    scale = min(1.0, _MEMBRANE_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    coarse, share = masked_resize(crop, known.astype(np.float32), size)
    smooth = solve_membrane(coarse, share < min(0.3, 0.5 * float(share.max())))
    return cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
