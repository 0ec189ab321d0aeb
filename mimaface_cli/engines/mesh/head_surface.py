"""The surface around the face: hair, ears, jaw line and neck on the shape of a head, and the back of that head.

The front is a polar grid around the face. Between the rim of the face and the outline of the head it curves back like a
skull; the outline lies in the plane through the skull's center that is parallel to the image. Below the jaw it is the
neck, which bends between the head and the still shoulders. The back continues the front behind the outline, with
mirrored texture. It becomes visible when the head turns. Texture coordinates are pixels of the photo's 256 crop.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.engines.mesh.border_hold import hold_at_border
from mimaface_cli.engines.mesh.head_axes import HeadAxes, build_head_axes, find_shoulders, motion_weight
from mimaface_cli.engines.mesh.polar_grid import (
    blur_circular,
    grid_triangles,
    intersect_ring,
    median_circular,
    rim_points,
)
from mimaface_cli.face import camera
from mimaface_cli.face.alignment import invert, transform_points
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.rotation import rotation_matrix

ANGLES = 96
# Rings of the front: inside the rim (multiples of its radius), from rim (0) to outline (1), and beyond the outline
# (multiples of its radius).
_INNER_RINGS = np.array([0.70, 0.85, 0.95])
_SKULL_RINGS = np.array([0.0, 0.08, 0.2, 0.35, 0.5, 0.64, 0.76, 0.86, 0.93, 0.975, 1.0])
_OUTER_RINGS = np.array([1.04, 1.1, 1.18, 1.28, 1.4, 1.55, 1.7, 1.9, 2.15, 2.5])
RINGS = len(_INNER_RINGS) + len(_SKULL_RINGS) + len(_OUTER_RINGS)
FACE_RIM = len(_INNER_RINGS)  # index of the ring on the rim of the face
_BACK_ANGLES = np.radians([0.0, 12.0, 26.0, 42.0, 60.0, 80.0])  # behind the outline
# Model units by which the inner rings lie under the face, visible only where that leaves a gap.
_UNDERLAY = np.array([0.25, 0.20, 0.08])

# Center of the skull in the head's frame, in model units: between the ears, above and behind the tragi.
_SKULL_ABOVE, _SKULL_BEHIND = 0.25, 0.12
TRAGI = (127, 356)  # landmarks of the rim next to the ears
# How far the outline may lie from the rim, in multiples of the rim's radius, by direction: up, aside.
_OUTLINE_LIMITS = 2.0, 1.75
_TYPICAL_OUTLINE = 1.65, 1.35  # where the photo's border cuts the head
_MIN_OUTLINE = 1.05
_NECK_DROP, _NECK_SLOPE = 0.22, 0.15  # model units: the neck lies behind the jaw, and slopes back
# Of the way from the rim to the outline: texture of the back, where hair is dense.
_BACK_TEXTURE = 0.8
_BACK_INSET = 0.975  # of the outline, beyond which only single hairs are
_EARS = 0.17  # by which ears stand out, in multiples of the rim's radius
_ROUNDNESS = 0.8  # exponent of the skull's profile; 0.5 is an ellipse, whose edge would stretch to streaks
# Least yaw in the photo, in degrees, at which one side of the head is hidden, and at which it hides a cheek.
_SLIGHT_TURN, _HALF_PROFILE = 8.0, 14.0
_HIDDEN_RIM = 0.25  # cosine between normal and view below which the rim of the face counts as hidden
_UPPER = 0.2  # cosine between a ray and the way down
_SEARCH = np.linspace(1.0, 2.6, 97)  # multiples of the rim's radius at which the outline is searched


@dataclass(frozen=True)
class HeadSurface:
    """The surroundings of the face: V vertices of the front (ring by ring), then those of the back.

    Attributes:
        texture: (V, 2) position of each vertex in the photo's crop.
        anchor: (V, 2) position of each vertex in the crop as long as the head does not move.
        head: (V, 3) position of each vertex in the head's frame.
        weight: (V,) share of the head's motion that the vertex follows: 1 for the head, 0 for the shoulders.
        hold: (V, 2, 2) how firmly the photo's border holds the vertex, see `border_hold`.
        stretch: (V,) share of the rim's expression movement that the vertex takes on.
        neck: (ANGLES,) 1 for rays to the neck, 0 for rays to the skull.
        rim: (ANGLES, 2) corners of the oval's edge that each ray meets.
        share: (ANGLES,) position of the ray's rim point on that edge, 0 to 1.
        rest_rim: (ANGLES, 3) that rim point in the photo, in the head's frame.
        fade: (V,) opacity of the vertex once the head is turned, 0 to 1.
        is_opaque: (V,) whether the vertex is opaque whatever the person's alpha at its texture is.
        front: (T, 3) int32 vertex indices of what the photo shows.
        back: (T, 3) int32 vertex indices of what it does not show.
    """

    texture: np.ndarray
    anchor: np.ndarray
    head: np.ndarray
    weight: np.ndarray
    hold: np.ndarray
    stretch: np.ndarray
    neck: np.ndarray
    rim: np.ndarray
    share: np.ndarray
    rest_rim: np.ndarray
    fade: np.ndarray
    is_opaque: np.ndarray
    front: np.ndarray
    back: np.ndarray

    def place(self, oval: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """Place the vertices for one frame.

        Args:
            oval: (K, 3) rim of the face in camera space.
            rotation: (3, 3) rotation of the head.
            translation: (3,) translation of the head.

        Returns:
            (V, 3) vertices in camera space that follow the head fully.
        """
        offset = rim_points((oval - translation) @ rotation, self.rim, self.share) - self.rest_rim
        moved = self.head + self.stretch[:, None] * np.tile(offset, (len(self.head) // ANGLES, 1))
        return moved @ rotation.T + translation


@dataclass(frozen=True)
class _Rays:
    """Rays from the center of the face: unit directions (A, 2), and by ray the rim's radius, edge and depth.

    `neck`: (A,) 1 for rays to the neck, 0 for rays to the skull. Radii in crop pixels, depth along the camera's z.
    `depth` is `rim_depth`, smoothed.
    """

    center: np.ndarray
    directions: np.ndarray
    radius: np.ndarray
    rim: np.ndarray
    share: np.ndarray
    rim_depth: np.ndarray
    depth: np.ndarray
    neck: np.ndarray
    down: np.ndarray

    @property
    def is_upper(self) -> np.ndarray:
        """(A,) whether a ray points to hair or ears, not to neck and shoulders."""
        return self.directions @ self.down < _UPPER


def build_head_surface(
    oval: np.ndarray,
    placed: np.ndarray,
    visibility: np.ndarray,
    head: np.ndarray,
    pose: np.ndarray,
    alpha: np.ndarray,
    to_crop: np.ndarray,
) -> HeadSurface:
    """Build the surface around a face.

    Args:
        oval: (K, 2) rim of the face in crop pixels.
        placed: (K, 3) the same rim in camera space.
        visibility: (K,) how well the photo shows that rim, see `face_symmetry.measure_visibility`.
        head: (478, 3) face in the head's frame.
        pose: (6,) pose of the photo's head.
        alpha: (H, W) float32 alpha of the person in the photo, 0 to 1.
        to_crop: (2, 3) transform of the photo's pixels to the crop.
    """
    axes = build_head_axes(oval, pose)
    rays = _cast_rays(oval, placed, axes)
    outline, reaches_border = _find_outline(rays, alpha, invert(to_crop))
    is_cut = reaches_border & rays.is_upper
    skull = _skull_center(head, pose)
    factor = _ring_factors(outline)
    texture = rays.center + (factor * rays.radius)[..., None] * rays.directions
    depth = _front_depth(rays, outline, factor, skull[2])
    front = camera.unproject(texture.reshape(-1, 2), camera.CAMERA_DISTANCE - depth.ravel())
    shoulders = find_shoulders(axes, alpha, invert(to_crop))
    weight = motion_weight(texture, axes, shoulders) * (1 - smoothstep((factor / outline - 1.7) / 0.8))
    stretch = np.where(factor <= 1, 1.0, 1 - smoothstep((factor - 1) / (0.4 + 0.35 * rays.neck)))
    back, back_texture = _build_back(rays, outline, skull)
    vertices = np.concatenate([front, back])
    hold = _hold_neck(rays, factor, weight, reaches_border & ~rays.is_upper, invert(to_crop), alpha.shape)
    outline_weight = weight[FACE_RIM + len(_SKULL_RINGS) - 1]
    return HeadSurface(
        texture=np.concatenate([texture.reshape(-1, 2), back_texture]),
        anchor=camera.project(vertices)[0],
        head=(vertices - pose[3:]) @ rotation_matrix(pose[:3]),
        weight=np.concatenate([weight.ravel(), np.tile(outline_weight, len(_BACK_ANGLES))]),
        hold=np.concatenate([hold.reshape(-1, 2, 2), np.zeros((len(back), 2, 2))]),
        stretch=np.concatenate([stretch.ravel(), np.zeros(len(back))]),
        neck=rays.neck,
        rim=rays.rim,
        share=rays.share,
        rest_rim=rim_points((placed - pose[3:]) @ rotation_matrix(pose[:3]), rays.rim, rays.share),
        fade=np.concatenate(
            [
                _front_fade(rays, placed, visibility, pose, is_cut).ravel(),
                np.tile(_back_fade(rays), len(_BACK_ANGLES)),
            ]
        ),
        is_opaque=np.repeat([False, True], [len(front), len(back)]),
        front=_front_triangles(rays, is_cut, texture, invert(to_crop), alpha.shape),
        back=_back_triangles(rays, len(front)),
    )


def _hold_neck(
    rays: _Rays,
    factor: np.ndarray,
    weight: np.ndarray,
    is_cut: np.ndarray,
    to_image: np.ndarray,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Return how firmly the photo's border holds the front, see `border_hold.hold_at_border`."""
    points = np.stack([rays.center, *(rays.center + rays.radius[:, None] * rays.directions)])
    center, *rim = transform_points(to_image, points)
    return hold_at_border(center, np.stack(rim) - center, factor, weight, is_cut, shape)


def _cast_rays(oval: np.ndarray, placed: np.ndarray, axes: HeadAxes) -> _Rays:
    center = axes.center
    angles = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)], -1)  # image axes: y down
    radius, rim, share = intersect_ring(center, directions, oval)
    depth = (1 - share) * placed[rim[:, 0], 2] + share * placed[rim[:, 1], 2]
    neck = smoothstep((directions @ axes.down - 0.5) / 0.3)
    return _Rays(center, directions, radius, rim, share, depth, blur_circular(depth, 1.0), neck, axes.down)


def _find_outline(rays: _Rays, alpha: np.ndarray, to_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the head's outline on each ray.

    Returns:
        The outline as a multiple (A,) of the rim's radius, and whether the person reaches the photo's border there.
    """
    points = rays.center + (_SEARCH[:, None] * rays.radius)[..., None] * rays.directions
    positions = transform_points(to_image, points.reshape(-1, 2)).reshape(points.shape)
    is_person = sample_image(alpha, (positions - 0.5).astype(np.float32)) > 0.5
    is_person[:4] |= is_person[4]  # a ray may start on a soft rim
    end = np.where(is_person.all(0), len(_SEARCH) - 1, is_person.argmin(0))
    up = np.clip(-rays.directions @ rays.down, 0, 1) ** 2
    limit, typical = (values[0] * up + values[1] * (1 - up) for values in (_OUTLINE_LIMITS, _TYPICAL_OUTLINE))
    height, width = alpha.shape
    last = np.take_along_axis(positions, end[None, :, None], 0)[0]
    reaches_border = ((last < 1) | (last > np.array([width, height]) - 1)).any(1)
    is_cut = reaches_border & rays.is_upper
    reach = _SEARCH[end]
    outline = np.where(is_cut, np.maximum(reach, typical), np.minimum(reach, limit))
    outline = outline * (1 - rays.neck) + 1.3 * rays.neck
    outline = np.maximum(blur_circular(median_circular(outline, 5), 1.2), _MIN_OUTLINE)
    return np.where(is_cut, np.maximum(outline, reach), outline), reaches_border


def _skull_center(head: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Center (3,) of the skull in camera space."""
    center = head[list(TRAGI)].mean(0) + np.array([0.0, _SKULL_ABOVE, -_SKULL_BEHIND])
    return rotation_matrix(pose[:3]) @ center + pose[3:]


def _ring_factors(outline: np.ndarray) -> np.ndarray:
    """Radius of each vertex, (RINGS, A), in multiples of the rim's radius."""
    return np.concatenate(
        [
            np.broadcast_to(_INNER_RINGS[:, None], (len(_INNER_RINGS), ANGLES)),
            1 + _SKULL_RINGS[:, None] * (outline - 1),
            _OUTER_RINGS[:, None] * outline,
        ]
    )


def _front_depth(rays: _Rays, outline: np.ndarray, factor: np.ndarray, skull_depth: float) -> np.ndarray:
    """Depth (RINGS, A) of the front along the camera's z axis."""
    along = np.clip((factor - 1) / (outline - 1), 0, 1)
    behind = np.maximum(rays.depth - skull_depth, 0.0)
    skull = rays.depth - behind * (1 - (1 - along**2) ** _ROUNDNESS)
    outward = np.maximum(factor - 1, 0)
    neck = rays.depth - _NECK_DROP * smoothstep(outward / 0.15) - _NECK_SLOPE * np.minimum(outward, 1.0)
    depth = (1 - rays.neck) * skull + rays.neck * neck
    # At the rim the exact depth: a step to the face would be a gap once the head turns.
    depth += (rays.rim_depth - rays.depth) * (1 - smoothstep(along / _SKULL_RINGS[2]))
    depth[:FACE_RIM] -= _UNDERLAY[:, None]
    return depth


def _build_back(rays: _Rays, outline: np.ndarray, skull: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertices of the back in camera space, (B·A, 3), and their texture (B·A, 2), ring by ring."""
    # Ears and the hair beside them stand out from the skull.
    skull_outline = np.maximum(_BACK_INSET * outline - _EARS * smoothstep((_degrees_from_up(rays) - 40) / 25), 1.0)
    rim = rays.center + (skull_outline * rays.radius)[:, None] * rays.directions
    edge = camera.unproject(rim, np.full(ANGLES, camera.CAMERA_DISTANCE - skull[2]))
    offset = edge - skull
    radius = float(np.median(np.hypot(offset[:, 0], offset[:, 1])[rays.neck < 0.5]))
    cosine, sine = np.cos(_BACK_ANGLES)[:, None, None], np.sin(_BACK_ANGLES)[:, None, None]
    points = skull + cosine * offset + sine * np.array([0.0, 0.0, -radius])
    # Behind an ear is hair: there the texture comes from rays further up.
    ray = _ray_of_back_texture(rays)
    factor = 1 + (outline - 1)[ray] * (_BACK_TEXTURE * (1 + np.cos(_BACK_ANGLES))[:, None] / 2)
    texture = rays.center + (factor * rays.radius[ray])[..., None] * rays.directions[ray]
    return points.reshape(-1, 3), texture.reshape(-1, 2)


def _degrees_from_up(rays: _Rays) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(-rays.directions @ rays.down, -1, 1)))


def _ray_of_back_texture(rays: _Rays) -> np.ndarray:
    """Index (A,) of the ray whose texture the back takes: the same one above, one nearer to the crown aside."""
    up = np.arctan2(*(rays.directions @ np.array([[rays.down[1], -rays.down[0]], -rays.down]).T).T)
    target = np.sign(up) * np.minimum(np.abs(up), np.radians(45) + 0.25 * np.clip(np.abs(up) - np.radians(45), 0, None))
    difference = np.abs((target[:, None] - up + np.pi) % (2 * np.pi) - np.pi)
    return difference.argmin(1)


def _front_triangles(
    rays: _Rays, is_cut: np.ndarray, texture: np.ndarray, to_image: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Triangles of the front.

    Beyond the outline of hair and ears, it ends at the photo's border, or at the outline where the border cuts the
    head. Neck and shoulders continue beyond the border.
    """
    triangles = grid_triangles(RINGS, ANGLES)
    is_beyond = (triangles // ANGLES > FACE_RIM + len(_SKULL_RINGS) - 1) & rays.is_upper[triangles % ANGLES]
    pixels = transform_points(to_image, texture.reshape(-1, 2))
    is_outside: np.ndarray = np.any((pixels < 0) | (pixels > np.array(shape[1::-1])), axis=1)
    is_open = is_beyond & is_cut[triangles % ANGLES]
    return triangles[~(is_open | (is_beyond & is_outside[triangles])).any(1)]


def _front_fade(
    rays: _Rays, placed: np.ndarray, visibility: np.ndarray, pose: np.ndarray, is_cut: np.ndarray
) -> np.ndarray:
    """Opacity (RINGS, A) of the front, once the head is turned.

    In a half-profile, the rays beyond the far cheek show the outline of the near face, which is no part of that cheek.
    Where the photo's border cuts the head, its estimated outline is soft.
    """
    rim = rays.rim[:, 0]
    rotation = rotation_matrix(pose[:3])
    aside = ((placed - pose[3:]) @ rotation)[rim, 0] * np.sign(rotation[2, 0])  # positive on the near side
    is_hidden = smoothstep(-aside / 0.2) * smoothstep((_HIDDEN_RIM - visibility[rim]) / _HIDDEN_RIM)
    fade = np.tile(1 - blur_circular(_turned_share(pose, _HALF_PROFILE) * is_hidden, 1.0), (RINGS, 1))
    fade[FACE_RIM + len(_SKULL_RINGS) - 1 :, is_cut] = 0
    return fade


def _turned_share(pose: np.ndarray, start: float) -> np.ndarray:
    """Return 0 for a head that is turned aside by up to `start` degrees, and 1 from ten degrees more on."""
    side = rotation_matrix(pose[:3])[2, 0]  # of the subject's left in depth
    return smoothstep((np.degrees(np.abs(np.arcsin(np.clip(side, -1, 1)))) - start) / 10)


def _back_fade(rays: _Rays) -> np.ndarray:
    """Opacity (A,) of the back by ray: there is hair above and beside, none below the ears."""
    return 1 - smoothstep((_degrees_from_up(rays) - 82) / 18)


def mirror_surface(
    surface: HeadSurface,
    pose: np.ndarray,
    oval: np.ndarray,
    alpha: np.ndarray,
    to_crop: np.ndarray,
) -> HeadSurface:
    """Return the other half of a head that the photo hides: the mirror image of the half that it shows.

    Args:
        surface: The surroundings of the face in the photo.
        pose: (6,) pose of the photo's head.
        oval: (K, 3) rim of the face in the head's frame; it starts at its top, on the axis of symmetry.
        alpha: (H, W) float32 alpha of the person in the photo.
        to_crop: (2, 3) transform of the photo's pixels to the crop.
    """
    count = RINGS * ANGLES
    rotation = rotation_matrix(pose[:3])
    head = surface.head[:count] * np.array([-1.0, 1.0, 1.0])
    anchor = camera.project(head @ rotation.T + pose[3:])[0]
    side = float(rotation[2, 0])  # of the subject's left in depth: positive where the photo shows that side
    is_near = smoothstep(np.sign(side) * surface.head[:count, 0] / 0.25)
    height, width = alpha.shape
    columns, rows = np.clip(transform_points(invert(to_crop), anchor).astype(int), 0, [width - 1, height - 1]).T
    grown = cv2.dilate(alpha, np.ones((5, 5), np.uint8))
    is_head = (surface.weight[:count] > 0.5) & (np.arange(count) // ANGLES < FACE_RIM + len(_SKULL_RINGS))
    fade = _turned_share(pose, _SLIGHT_TURN) * is_near * grown[rows, columns] * is_head
    fade *= 1 - np.tile(surface.neck, RINGS)  # a mirrored neck would be a flap beside the jaw
    rim = (len(oval) - surface.rim) % len(oval)
    triangles = grid_triangles(RINGS, ANGLES)
    triangles = triangles[(fade[triangles] > 0).all(1)]
    return HeadSurface(
        texture=surface.texture[:count],
        anchor=anchor,
        head=head,
        weight=surface.weight[:count],
        hold=np.zeros((count, 2, 2)),
        stretch=surface.stretch[:count],
        neck=surface.neck,
        rim=rim,
        share=surface.share,
        rest_rim=rim_points(oval, rim, surface.share),
        fade=fade,
        is_opaque=np.zeros(count, bool),
        front=triangles[:0],
        back=triangles,
    )


def _back_triangles(rays: _Rays, offset: int) -> np.ndarray:
    triangles = grid_triangles(len(_BACK_ANGLES), ANGLES)
    return triangles[(rays.neck[triangles % ANGLES] < 0.5).all(1)] + offset
