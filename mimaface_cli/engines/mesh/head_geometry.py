"""The geometry of a portrait's head: vertices and triangles of the face and of its surroundings."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimaface_cli.engines.mesh.face_symmetry import find_mirrored_vertices, measure_visibility
from mimaface_cli.engines.mesh.fine_face import FACE_VERTICES, FineFace, build_fine_face
from mimaface_cli.engines.mesh.head_axes import HeadAxes, build_head_axes
from mimaface_cli.engines.mesh.head_surface import HeadSurface, build_head_surface, mirror_surface
from mimaface_cli.face import camera
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait, crop_to_image
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.motion.rotation import rotation_matrix

_DEPTH_SCALE = 1.15  # see `deepen_face`
_NEAR_PERSON = 0.04  # of the face's size: triangles so close to the person are rendered
_ALPHA_MARGIN = 4  # pixels beyond a triangle's corners whose alpha may reach into it


@dataclass(frozen=True)
class HeadGeometry:
    """The geometry of a portrait's head: V vertices, those of the fine face first, then those of `surfaces`.

    Attributes:
        axes: Head coordinates in the photo.
        head: (478, 3) the photo's face in the head's frame; projects exactly onto the landmarks.
        fine: The subdivided face.
        placed: (F, 3) vertices of the fine face in camera space.
        visibility: (F,) how well the photo shows the fine face, see `face_symmetry.measure_visibility`.
        surfaces: The surroundings of the face on the shape of a head, and the half of the head that the photo hides.
        mirrored: (F,) index of the mirror image of each vertex of the fine face.
        texture: (V, 2) image pixels of the vertices.
        anchor: (V, 2) crop pixels of the vertices as long as the head does not move.
        weight: (V,) share of the head's motion that the vertex follows: 1 for the head, 0 for the shoulders.
        hold: (V, 2, 2) how firmly the photo's border holds the vertex, see `border_hold`.
        front: (T, 3) int32 vertex indices of what the photo shows: face, hair and neck.
        hidden: (T, 3) int32 vertex indices of the parts that the photo does not show, from front to back.
        rendered: Indices of the vertices of `front` and `hidden`.
    """

    axes: HeadAxes
    head: np.ndarray
    fine: FineFace
    placed: np.ndarray
    visibility: np.ndarray
    surfaces: tuple[HeadSurface, HeadSurface]
    mirrored: np.ndarray
    texture: np.ndarray
    anchor: np.ndarray
    weight: np.ndarray
    hold: np.ndarray
    front: np.ndarray
    hidden: tuple[np.ndarray, ...]
    rendered: np.ndarray


def build_head_geometry(portrait: Portrait, model: Face478, alpha: np.ndarray) -> HeadGeometry:
    """Build the geometry of a portrait's head.

    Args:
        portrait: The portrait.
        model: The face model of its coefficients.
        alpha: (H, W) float32 alpha of the person, 0 to 1.
    """
    pose = portrait.pose
    placed = _place_landmarks(portrait, model)
    head = _to_head_frame(placed, pose)
    fine = build_fine_face(model.face.tobytes())
    fine_placed = fine.matrix @ placed
    fine_crop = camera.project(fine_placed)[0]
    count, oval = len(fine_crop), fine.rings["oval"]
    visibility = measure_visibility(fine_placed, fine.triangles)
    surroundings = build_head_surface(
        fine_crop[oval], fine_placed[oval], visibility[oval], head, pose, alpha, portrait.to_crop
    )
    mirrored = find_mirrored_vertices(model)
    oval_head = (fine_placed[oval] - pose[3:]) @ rotation_matrix(pose[:3])
    surfaces = surroundings, mirror_surface(surroundings, pose, oval_head, alpha, portrait.to_crop)
    texture = crop_to_image(portrait, np.concatenate([fine_crop, *(surface.texture for surface in surfaces)]))
    starts = count, count + len(surroundings.head)
    front = surroundings.front + count
    front = front[_is_near_person(texture, alpha)[front].any(1)]
    # The mirrored half first: it covers the back.
    hidden = tuple((surfaces[k].back + starts[k]).astype(np.int32) for k in (1, 0))
    front = np.concatenate([fine.triangles, triangulate_openings(fine), front]).astype(np.int32)
    return HeadGeometry(
        axes=build_head_axes(fine_crop[oval], pose),
        head=head,
        fine=fine,
        placed=fine_placed,
        visibility=visibility,
        surfaces=surfaces,
        mirrored=mirrored,
        texture=texture,
        anchor=np.concatenate([fine_crop, *(surface.anchor for surface in surfaces)]),
        weight=np.concatenate([np.ones(count), *(surface.weight for surface in surfaces)]),
        hold=np.concatenate([np.zeros((count, 2, 2)), *(surface.hold for surface in surfaces)]),
        front=front,
        hidden=tuple(triangles for triangles in hidden if len(triangles)),
        rendered=np.unique(np.concatenate([front, *hidden])),
    )


def select_moving_part(geometry: HeadGeometry, moving_alpha: np.ndarray) -> HeadGeometry:
    """Return a head whose front has no triangles that show nothing of the moving person.

    Args:
        geometry: The head.
        moving_alpha: (H, W) uint8 alpha of the part of the person that moves.
    """
    height, width = moving_alpha.shape
    counts = cv2.integral((moving_alpha > 0).astype(np.uint8))
    corners = geometry.texture[geometry.front]
    limits = [width, height]
    left, top = np.clip(np.floor(corners.min(1)).astype(int) - _ALPHA_MARGIN, 0, limits).T
    right, bottom = np.clip(np.ceil(corners.max(1)).astype(int) + _ALPHA_MARGIN, 0, limits).T
    visible = counts[bottom, right] - counts[top, right] - counts[bottom, left] + counts[top, left]
    is_face = (geometry.front < len(geometry.placed)).all(1)
    front = geometry.front[is_face | (visible > 0)]
    return replace(geometry, front=front, rendered=np.unique(np.concatenate([front, *geometry.hidden])))


def _place_landmarks(portrait: Portrait, model: Face478) -> np.ndarray:
    """Landmarks (478, 3) in camera space: their pixels from the photo, their depth from the fitted model."""
    pose = portrait.pose
    shape = deepen_face(model.shape(portrait.identity, portrait.expression))
    depth = camera.CAMERA_DISTANCE - (shape @ rotation_matrix(pose[:3]).T + pose[3:])[:, 2]
    return camera.unproject(transform_points(portrait.to_crop, portrait.points), depth)


def find_head(portrait: Portrait, model: Face478) -> np.ndarray:
    """Return the face (478, 3) of a portrait in the head's frame, as `HeadGeometry.head`."""
    return _to_head_frame(_place_landmarks(portrait, model), portrait.pose)


def _to_head_frame(placed: np.ndarray, pose: np.ndarray) -> np.ndarray:
    return np.asarray((placed - pose[3:]) @ rotation_matrix(pose[:3]))


def deepen_face(face: np.ndarray) -> np.ndarray:
    """Scale the depth of a face (478, 3) in the head's frame about its mean.

    The model's depth comes from a landmark model that flattens faces: without the scale, a rendered head that is turned
    by 10° is measured as turned by 7.7° (six portraits). The mean stays, so that a turn moves the face in the image
    as far as the fitted pose does.
    """
    deep = face.copy()
    origin = face[:, 2].mean()
    deep[:, 2] = origin + _DEPTH_SCALE * (face[:, 2] - origin)
    return deep


def _is_near_person(texture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return for each vertex (V,) whether a pixel of the person lies near it."""
    reach = max(3, int(_NEAR_PERSON * np.ptp(texture[:FACE_VERTICES], axis=0).max())) | 1
    near = cv2.dilate(alpha, np.ones((reach, reach), np.uint8))
    height, width = alpha.shape
    columns, rows = np.clip(texture.astype(int), 0, [width - 1, height - 1]).T
    return near[rows, columns] > 0


def triangulate_openings(fine: FineFace) -> np.ndarray:
    """Triangulate the openings of eyes and mouth, so that the surface has no holes under what is rendered there.

    Returns:
        (T, 3) int32 vertex indices.
    """
    corners = []
    for name in ("left_eye", "right_eye", "mouth"):
        ring = fine.rings[name]
        half = len(ring) // 2
        lower, upper = ring[: half + 1], np.append(ring[half:], ring[0])[::-1]
        for i in range(half):
            corners += [(lower[i], lower[i + 1], upper[i + 1]), (lower[i], upper[i + 1], upper[i])]
    return np.array([triangle for triangle in corners if len(set(triangle)) == 3], np.int32)


def project_head(geometry: HeadGeometry, placed: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project the vertices of a head for one frame.

    Args:
        geometry: The head.
        placed: (478, 3) face in camera space.
        pose: (6,) pose of the head.

    Returns:
        Crop pixels (V, 2), and distances (V,) from the camera.
    """
    fine = geometry.fine.matrix @ placed
    rotation = rotation_matrix(pose[:3])
    oval = fine[geometry.fine.rings["oval"]]
    vertices = [fine, *(surface.place(oval, rotation, pose[3:]) for surface in geometry.surfaces)]
    xy, depth = camera.project(np.concatenate(vertices))
    movement = geometry.weight[:, None] * (xy - geometry.anchor)
    movement *= 1 - np.where(movement > 0, geometry.hold[:, 0], geometry.hold[:, 1])
    xy = geometry.anchor + movement
    xy[: len(fine)] = camera.project(fine)[0]
    return xy, np.maximum(depth, 0.5)


def moving_share(geometry: HeadGeometry, shape: tuple[int, int]) -> np.ndarray:
    """Return the share of the head's motion at each pixel of the photo, (H, W) float32: 1 for the face, 0 if still."""
    height, width = shape
    depth = np.full(len(geometry.texture), camera.CAMERA_DISTANCE)
    index, weights, _ = rasterize(geometry.texture, depth, geometry.front, width, height)
    return interpolate(index, weights, geometry.front, geometry.weight[:, None])[..., 0]
