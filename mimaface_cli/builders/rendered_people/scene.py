"""Frames of rendered people: the head with eyes and teeth under a light, in front of a background."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.builders.rendered_people.appearance import Person, render_skin, to_texture_pixels
from mimaface_cli.builders.rendered_people.head import build_head
from mimaface_cli.engines.mesh.contact import separate_lips
from mimaface_cli.face import camera, topology
from mimaface_cli.face.face478 import VERTICES, Face478
from mimaface_cli.face.gaze import IRIS_DISTANCE, eyeball_centers, gaze_direction
from mimaface_cli.face.head_mesh import RIM, SUPERSAMPLING, HeadMesh, build_head_mesh, project_vertices, vertex_light
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.face.shading import AMBIENT, sh_basis
from mimaface_cli.motion.rotation import rotation_matrix

IRIS_RADIUS = 0.062  # model units, slightly larger than a real iris
_TEETH = np.array([226, 220, 206], np.float32)
_CAVITY, _TONGUE = np.array([52, 18, 20], np.float32), np.array([150, 66, 66], np.float32)
_SCLERA = np.array([236, 232, 228], np.float32)
_EYES = ((topology.LEFT_EYE, topology.LEFT_IRIS), (topology.RIGHT_EYE, topology.RIGHT_IRIS))
_BACKDROP_SIZE = 24  # pixels of a side before it is stretched


@dataclass(frozen=True)
class Scene:
    """Light and background of a clip.

    Attributes:
        illumination: 27 spherical-harmonic coefficients. The light is fixed to the room, not to the head.
        backdrop: h×w×3 float32, RGB 0..255, stretched over the frame.
    """

    illumination: np.ndarray
    backdrop: np.ndarray


@dataclass(frozen=True)
class RenderedFrame:
    """One frame of a rendered person.

    Attributes:
        image: S×S×3 uint8 RGB.
        points: 478×2 landmarks in pixels of the image.
    """

    image: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class _Rasterized:
    """The head mesh in supersampled pixels.

    Attributes:
        mesh: The head's triangles.
        index: F×F triangle of each pixel, -1 for the background.
        light: F×F×3 shading of each pixel.
        face: 478×3 unposed face vertices with the lips separated.
        pose: Head pose (6).
    """

    mesh: HeadMesh
    index: np.ndarray
    light: np.ndarray
    face: np.ndarray
    pose: np.ndarray


def make_scene(seed: int) -> Scene:
    """Return the light and background of a seed."""
    rng = np.random.default_rng((20_478, seed))
    light = np.zeros((3, 9))
    tint = rng.uniform(0.94, 1.06, 3)
    direction = rng.normal(size=3)
    direction[2] = abs(direction[2]) + 0.3
    direction /= np.linalg.norm(direction)
    side, strength = rng.uniform(0.03, 0.17), rng.uniform(-0.18, 0.10)
    light[:, 0] = AMBIENT * (tint - 1) + strength
    light[:, 1:4] = side * np.array([-direction[1], direction[2], -direction[0]]) * tint[:, None]
    light[:, 4:] = rng.normal(0, 0.01, 5)
    return Scene(light.ravel(), _make_backdrop(rng))


def _make_backdrop(rng: np.random.Generator) -> np.ndarray:
    """Blend two colors smoothly and put rectangles (shelves, windows, paintings) over them."""
    size = _BACKDROP_SIZE
    base, other = rng.uniform(15, 240, (2, 3))
    backdrop = np.empty((size, size, 3), np.float32)
    blend = cv2.resize(rng.uniform(0, 1, (4, 4)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    backdrop[:] = base + blend[..., None] * (other - base)
    for _ in range(rng.integers(0, 5)):
        top, left = rng.integers(0, 20, 2)
        height, width = rng.integers(2, 12, 2)
        backdrop[top : top + height, left : left + width] = rng.uniform(10, 245, 3)
    return backdrop.clip(0, 255)


def make_crop_transform(size: int) -> np.ndarray:
    """Return the affine 2×3 from pixels of a rendered frame to the aligned 256 crop.

    Rendered frames show exactly that crop.
    """
    return np.eye(2, 3) * (camera.CROP_SIZE / size)


def render_person(
    model: Face478, person: Person, scene: Scene, expression: np.ndarray, pose: np.ndarray, gaze: np.ndarray, size: int
) -> RenderedFrame:
    """Render one frame of a person.

    Args:
        model: The morphable model.
        person: Appearance.
        scene: Light and background.
        expression: 64 coefficients.
        pose: Rotation (rad) and translation (model units) of the head, 6.
        gaze: Yaw and pitch of the left and the right eye (rad), 4.
        size: Width and height of the frame in pixels.
    """
    mesh, fine_size = build_head_mesh(model), size * SUPERSAMPLING
    face = separate_lips(model.shape(person.identity, expression))
    vertices, outer_albedo = build_head(person, face)
    posed, xy, depth = project_vertices(vertices, pose, fine_size)
    light = vertex_light(posed, mesh, scene.illumination)
    frame = cv2.resize(scene.backdrop, (fine_size, fine_size), interpolation=cv2.INTER_LINEAR)
    _draw_body(frame, person, xy, scene)

    index, weights, _ = rasterize(xy, depth, mesh.triangles, fine_size, fine_size)
    albedo = np.zeros((len(vertices), 3))
    albedo[VERTICES:], albedo[topology.OVAL] = outer_albedo, outer_albedo[:RIM]
    texel = np.concatenate([to_texture_pixels(model.mean), np.zeros((len(outer_albedo), 2))]) - 0.5
    attributes = np.concatenate([light, albedo, texel, vertices[:, 1:2]], 1)
    pixels = interpolate(index, weights, mesh.triangles, attributes)
    head = _Rasterized(mesh, index, pixels[..., :3], face, pose)
    skin = sample_image(render_skin(person, expression), pixels[..., 6:8])
    is_skin = (index >= 0) & (index < mesh.skin)
    color = np.where(is_skin[..., None], skin, pixels[..., 3:6]) * head.light
    for (lids, _), center, look in zip(_EYES, eyeball_centers(face), (gaze[:2], gaze[2:]), strict=True):
        _draw_eye(color, head, xy[lids], center, look, person.iris)
    _draw_mouth(color, head, pixels[..., 8])
    is_head = index >= 0
    frame[is_head] = color[is_head]
    if person.glasses is not None:
        _draw_glasses(frame, head, person.glasses)

    image = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
    points = xy[:VERTICES] / SUPERSAMPLING
    for (_, iris), center, look in zip(_EYES, eyeball_centers(face), (gaze[:2], gaze[2:]), strict=True):
        points[iris] += _project_iris(center, look, pose, size) - points[iris[0]]
    return RenderedFrame(np.clip(image + 0.5, 0, 255).astype(np.uint8), points)


def _project_iris(eyeball_center: np.ndarray, look: np.ndarray, pose: np.ndarray, size: int) -> np.ndarray:
    point = eyeball_center + IRIS_DISTANCE * gaze_direction(*look)
    return camera.project(camera.apply_pose(point[None], pose), size)[0][0]


def _draw_eye(
    color: np.ndarray, head: _Rasterized, lids: np.ndarray, eyeball: np.ndarray, look: np.ndarray, iris: np.ndarray
) -> None:
    """Paint one eyeball into its opening.

    Args:
        color: F×F×3, changed in place.
        head: The rasterized head.
        lids: K×2 points of the lids in pixels.
        eyeball: Center of the eyeball in model units, 3.
        look: Yaw and pitch of the eye (rad).
        iris: RGB 0..255.
    """
    size = len(color)
    low = np.clip(np.floor(lids.min(0)).astype(int) - 1, 0, size)
    high = np.clip(np.ceil(lids.max(0)).astype(int) + 1, 0, size)
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    is_opening = (head.index[box] >= head.mesh.skin) & (head.index[box] < head.mesh.eyes)
    if not is_opening.any():
        return
    center = _project_iris(eyeball, look, head.pose, size)
    direction = rotation_matrix(head.pose[:3]) @ gaze_direction(*look)
    radius = IRIS_RADIUS * camera.FOCAL_PER_SIZE * size / camera.CAMERA_DISTANCE
    rows, columns = np.mgrid[box].astype(np.float32)
    offset = np.stack([columns + 0.5 - center[0], rows + 0.5 - center[1]], -1)
    foreshortening = max(float(direction[2]), 0.35)  # an iris that is visible from the side is an ellipse
    axis = np.array([direction[0], -direction[1]]) / max(float(np.hypot(direction[0], direction[1])), 1e-6)
    along = offset @ axis
    across = np.maximum((offset**2).sum(-1) - along**2, 0)
    distance = np.sqrt(across + (along / foreshortening) ** 2) / radius
    disc = np.clip((1 - distance) * radius + 0.5, 0, 1)[..., None]
    pupil = np.clip((0.45 - distance) * radius + 0.5, 0, 1)[..., None]
    paint = _SCLERA + disc * (iris - _SCLERA)
    paint = paint + pupil * (12 - paint)
    # The upper lid shades the upper half.
    height = np.clip((rows + 0.5 - lids[:, 1].min()) / max(float(np.ptp(lids[:, 1])), 1.0), 0, 1)[..., None]
    paint = paint * (0.62 + 0.38 * np.clip(height * 2, 0, 1)) * np.clip(head.light[box], 0.3, 1.4)
    color[box] = np.where(is_opening[..., None], paint, color[box])


def _draw_mouth(color: np.ndarray, head: _Rasterized, y: np.ndarray) -> None:
    """Paint upper teeth fixed to the skull, lower teeth and tongue that move with the jaw, and a dark cavity.

    Args:
        color: F×F×3, changed in place.
        head: The rasterized head.
        y: F×F height of each pixel in the unposed head, model units.
    """
    inside = (head.index >= head.mesh.eyes) & (head.index < head.mesh.mouth)
    if not inside.any():
        return
    upper, lower = head.face[topology.UPPER_LIP, 1], head.face[topology.LOWER_LIP, 1]
    gap = max(upper - lower, 1e-3)
    top = np.clip((y[inside] - (upper - min(0.045, 0.6 * gap))) / 0.012, 0, 1)[:, None]
    bottom = np.clip(((lower + min(0.05, 0.35 * gap)) - y[inside]) / 0.02, 0, 1)[:, None]
    paint = _CAVITY + bottom * (_TONGUE - _CAVITY)
    paint = paint + top * (_TEETH - paint)
    color[inside] = paint * np.clip(head.light[inside], 0.25, 1.2)


def _draw_body(frame: np.ndarray, person: Person, xy: np.ndarray, scene: Scene) -> None:
    """Draw long hair behind the head and neck and shoulders below it: flat shapes that follow the head."""
    size = len(frame)
    light = np.clip(sh_basis(np.array([[0, 0, 1.0]])) @ _add_ambient(scene).T, 0.1, 1.6)[0]
    chin, nose = xy[topology.CHIN], xy[topology.NOSE_TIP]
    left, right = xy[topology.OVAL].min(0)[0], xy[topology.OVAL].max(0)[0]
    width, middle = right - left, (left + right) / 2
    base = size * 1.06
    if person.hair_length:
        hair_end = chin[1] + person.hair_length * 0.45 * size
        hair_top = nose[1] - 0.4 * width
        hair = [
            (left - 0.1 * width, hair_top),
            (left - 0.16 * width, hair_end),
            (right + 0.16 * width, hair_end),
            (right + 0.1 * width, hair_top),
        ]
        _fill_polygon(frame, hair, person.hair * light * 0.85)
    shoulder = chin[1] + 0.34 * width
    torso = 0.6 * middle + 0.4 * size / 2  # shoulders follow less than the head
    body = [
        (torso - 1.25 * width, base),
        (torso - 0.95 * width, shoulder + 0.12 * width),
        (torso - 0.3 * width, shoulder - 0.1 * width),
        (torso + 0.3 * width, shoulder - 0.1 * width),
        (torso + 0.95 * width, shoulder + 0.12 * width),
        (torso + 1.25 * width, base),
    ]
    _fill_polygon(frame, body, person.cloth * light)
    neck = [
        (middle - 0.27 * width, chin[1] - 0.35 * width),
        (torso - 0.3 * width, shoulder),
        (torso, shoulder + 0.12 * width),
        (torso + 0.3 * width, shoulder),
        (middle + 0.27 * width, chin[1] - 0.35 * width),
    ]
    _fill_polygon(frame, neck, person.tone * light * 0.62)


def _add_ambient(scene: Scene) -> np.ndarray:
    light = scene.illumination.reshape(3, -1).copy()
    light[:, 0] += AMBIENT
    return light


def _fill_polygon(frame: np.ndarray, corners: list[tuple[float, float]], color: np.ndarray) -> None:
    points = np.round(np.array(corners) * 16).astype(np.int32)
    cv2.fillPoly(frame, [points], tuple(float(v) for v in color), cv2.LINE_8, 4)


def _draw_glasses(frame: np.ndarray, head: _Rasterized, rgb: np.ndarray) -> None:
    """Draw a rim around each eye and a bridge between them, in front of the face."""
    size = len(frame)
    angle = np.linspace(0, 2 * np.pi, 20)
    color = tuple(float(v) for v in rgb)
    thickness = max(1, size // 64)
    bridge = []
    for lids, _ in _EYES:
        middle = head.face[lids].mean(0) + np.array([0, -0.02, 0.12])
        rim = middle + np.stack([0.2 * np.cos(angle), 0.15 * np.sin(angle), np.zeros(20)], -1)
        xy = camera.project(camera.apply_pose(rim, head.pose), size)[0]
        cv2.polylines(frame, [np.round(xy * 16).astype(np.int32)], True, color, thickness, cv2.LINE_8, 4)
        bridge.append(middle + np.array([-0.2 * np.sign(middle[0]), 0.02, 0]))
    xy = camera.project(camera.apply_pose(np.array(bridge), head.pose), size)[0]
    cv2.polylines(frame, [np.round(xy * 16).astype(np.int32)], False, color, thickness, cv2.LINE_8, 4)
