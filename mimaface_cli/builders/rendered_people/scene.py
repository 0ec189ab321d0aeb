"""Pictures of rendered people: the head with its eyes and teeth under a light, before a background."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.builders.rendered_people.appearance import Person, folded, to_map
from mimaface_cli.builders.rendered_people.head import grow
from mimaface_cli.engines.mesh.contact import separate_lips
from mimaface_cli.face import camera, topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.gaze import IRIS_DISTANCE, eyeball_centers, gaze_direction
from mimaface_cli.face.head_mesh import RIM, SUPERSAMPLING, head_mesh, project_vertices, vertex_light
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.face.shading import AMBIENT, sh_basis
from mimaface_cli.motion.rotation import rotation_matrix

IRIS_RADIUS = 0.062  # model units, a little more than life
_TEETH = np.array([226, 220, 206], np.float32)
_CAVITY, _TONGUE = np.array([52, 18, 20], np.float32), np.array([150, 66, 66], np.float32)
_EYES = ((topology.LEFT_EYE, topology.LEFT_IRIS), (topology.RIGHT_EYE, topology.RIGHT_IRIS))


@dataclass(frozen=True)
class Scene:
    """illumination: 27 coefficients, fixed to the room, not to the head; backdrop: h×w×3 float32, stretched over the
    picture.
    """

    illumination: np.ndarray
    backdrop: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """picture: S×S×3 uint8 RGB; points: 478×2 landmarks in its pixels."""

    picture: np.ndarray
    points: np.ndarray


def make_scene(seed: int) -> Scene:
    """Light and background of that seed."""
    rng = np.random.default_rng((20_478, seed))
    light = np.zeros((3, 9))
    tint = rng.uniform(0.94, 1.06, 3)
    way = rng.normal(size=3)
    way[2] = abs(way[2]) + 0.3
    way /= np.linalg.norm(way)
    side, strength = rng.uniform(0.03, 0.17), rng.uniform(-0.18, 0.10)
    light[:, 0] = AMBIENT * (tint - 1) + strength
    light[:, 1:4] = side * np.array([-way[1], way[2], -way[0]]) * tint[:, None]
    light[:, 4:] = rng.normal(0, 0.01, 5)
    base, other = rng.uniform(15, 240, (2, 3))
    backdrop = np.empty((24, 24, 3), np.float32)
    blend = rng.uniform(0, 1, (4, 4)).astype(np.float32)
    blend = cv2.resize(blend, (24, 24), interpolation=cv2.INTER_CUBIC)[..., None]
    backdrop[:] = base + blend * (other - base)
    for _ in range(rng.integers(0, 5)):  # shelves, windows, pictures
        top, left = rng.integers(0, 20, 2)
        high, wide = rng.integers(2, 12, 2)
        backdrop[top : top + high, left : left + wide] = rng.uniform(10, 245, 3)
    return Scene(light.ravel(), backdrop.clip(0, 255))


def crop_of(size: int) -> np.ndarray:
    """The affine 2×3 from a picture's pixels to the aligned 256 crop: rendered pictures show just that crop."""
    return np.eye(2, 3) * (camera.CROP_SIZE / size)


def draw(
    model: Face478, person: Person, scene: Scene, expression: np.ndarray, pose: np.ndarray, gaze: np.ndarray, size: int
) -> Drawn:
    """One frame of a person under expression 64, pose 6 and gaze 4."""
    mesh, fine = head_mesh(model), size * SUPERSAMPLING
    face = separate_lips(model.shape(person.identity, expression))
    vertices, behind = grow(person, face)
    placed, xy, depth = project_vertices(vertices, pose, fine)
    light = vertex_light(placed, mesh, scene.illumination)
    frame = cv2.resize(scene.backdrop, (fine, fine), interpolation=cv2.INTER_LINEAR)
    _body(frame, person, placed, xy, scene)

    index, weights, _ = rasterize(xy, depth, mesh.triangles, fine, fine)
    albedo = np.zeros((len(vertices), 3))
    albedo[478:], albedo[topology.OVAL] = behind, behind[:RIM]
    texel = np.concatenate([to_map(model.mean), np.zeros((len(behind), 2))]) - 0.5
    there = interpolate(index, weights, mesh.triangles, np.concatenate([light, albedo, texel, vertices[:, 1:2]], 1))
    skin = cv2.remap(folded(person, expression), there[..., 6:8], None, cv2.INTER_LINEAR)
    front = (index >= 0) & (index < mesh.skin)
    color = np.where(front[..., None], skin, there[..., 3:6]) * there[..., :3]
    for (ring, _), ball, look in zip(_EYES, eyeball_centers(face), (gaze[:2], gaze[2:])):
        _eye(color, index, (mesh.skin, mesh.eyes), there[..., :3], xy[ring], ball, look, pose, person, fine)
    _mouth(color, (index >= mesh.eyes) & (index < mesh.mouth), there[..., 8], face, there[..., :3])
    seen = index >= 0
    frame[seen] = color[seen]
    if person.glasses is not None:
        _glasses(frame, face, pose, person, fine)
    picture = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
    points = xy[:478] / SUPERSAMPLING
    for (_, iris), ball, look in zip(_EYES, eyeball_centers(face), (gaze[:2], gaze[2:])):
        points[iris] += _iris_place(ball, look, pose, size) - points[iris[0]]
    return Drawn(np.clip(picture + 0.5, 0, 255).astype(np.uint8), points)


def _iris_place(ball: np.ndarray, look: np.ndarray, pose: np.ndarray, size: int) -> np.ndarray:
    point = ball + IRIS_DISTANCE * gaze_direction(*look)
    return camera.project(camera.apply_pose(point[None], pose), size)[0][0]


def _eye(
    color: np.ndarray,
    index: np.ndarray,
    between: tuple[int, int],
    light: np.ndarray,
    ring: np.ndarray,
    ball: np.ndarray,
    look: np.ndarray,
    pose: np.ndarray,
    person: Person,
    size: int,
) -> None:
    """Paint one eyeball into its opening. ring: K×2 lids in pixels."""
    low = np.clip(np.floor(ring.min(0)).astype(int) - 1, 0, size)
    high = np.clip(np.ceil(ring.max(0)).astype(int) + 1, 0, size)
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    open_here = (index[box] >= between[0]) & (index[box] < between[1])
    if not open_here.any():
        return
    center = _iris_place(ball, look, pose, size)
    turn = rotation_matrix(pose[:3]) @ gaze_direction(*look)
    radius = IRIS_RADIUS * camera.FOCAL_PER_SIZE * size / camera.CAMERA_DISTANCE
    rows, columns = np.mgrid[box].astype(np.float32)
    away = np.stack([columns + 0.5 - center[0], rows + 0.5 - center[1]], -1)
    flat = max(float(turn[2]), 0.35)  # an iris seen from the side is an ellipse
    axis = np.array([turn[0], -turn[1]]) / max(float(np.hypot(turn[0], turn[1])), 1e-6)
    along = away @ axis
    distance = np.sqrt(np.maximum((away**2).sum(-1) - along**2, 0) + (along / flat) ** 2) / radius
    white = np.array([236, 232, 228], np.float32)
    disc = np.clip((1 - distance) * radius + 0.5, 0, 1)[..., None]
    pupil = np.clip((0.45 - distance) * radius + 0.5, 0, 1)[..., None]
    paint = white + disc * (person.iris - white)
    paint = paint + pupil * (12 - paint)
    height = np.clip((rows + 0.5 - ring[:, 1].min()) / max(float(np.ptp(ring[:, 1])), 1.0), 0, 1)[..., None]
    paint = paint * (0.62 + 0.38 * np.clip(height * 2, 0, 1)) * np.clip(light[box], 0.3, 1.4)
    color[box] = np.where(open_here[..., None], paint, color[box])


def _mouth(color: np.ndarray, inside: np.ndarray, y: np.ndarray, face: np.ndarray, light: np.ndarray) -> None:
    """Teeth that hang from the skull, teeth and tongue that the jaw carries, darkness between. y: height in the head."""
    if not inside.any():
        return
    upper, lower = face[topology.UPPER_LIP, 1], face[topology.LOWER_LIP, 1]
    gap = max(upper - lower, 1e-3)
    top = np.clip((y[inside] - (upper - min(0.045, 0.6 * gap))) / 0.012, 0, 1)[:, None]
    bottom = np.clip(((lower + min(0.05, 0.35 * gap)) - y[inside]) / 0.02, 0, 1)[:, None]
    paint = _CAVITY + bottom * (_TONGUE - _CAVITY)
    paint = paint + top * (_TEETH - paint)
    color[inside] = paint * np.clip(light[inside], 0.25, 1.2)


def _body(frame: np.ndarray, person: Person, placed: np.ndarray, xy: np.ndarray, scene: Scene) -> None:
    """Long hair behind, shoulders and neck below: flat shapes, moved along with the head."""
    size = len(frame)
    light = np.clip(sh_basis(np.array([[0, 0, 1.0]])) @ _with_ambient(scene).T, 0.1, 1.6)[0]
    chin, nose = xy[topology.CHIN], xy[topology.NOSE_TIP]
    left, right = xy[topology.OVAL].min(0)[0], xy[topology.OVAL].max(0)[0]
    wide, middle = right - left, (left + right) / 2
    base = size * 1.06
    if person.long:
        fall = chin[1] + person.long * 0.45 * size
        hair = [(left - 0.1 * wide, nose[1] - 0.4 * wide), (left - 0.16 * wide, fall), (right + 0.16 * wide, fall)]
        _fill(frame, [*hair, (right + 0.1 * wide, nose[1] - 0.4 * wide)], person.hair * light * 0.85)
    shoulder = chin[1] + 0.34 * wide
    middle_still = 0.6 * middle + 0.4 * size / 2  # shoulders follow less than the head
    body = [(middle_still - 1.25 * wide, base), (middle_still - 0.95 * wide, shoulder + 0.12 * wide)]
    body += [(middle_still - 0.3 * wide, shoulder - 0.1 * wide), (middle_still + 0.3 * wide, shoulder - 0.1 * wide)]
    body += [(middle_still + 0.95 * wide, shoulder + 0.12 * wide), (middle_still + 1.25 * wide, base)]
    _fill(frame, body, person.cloth * light)
    neck = [(middle - 0.27 * wide, chin[1] - 0.35 * wide), (middle_still - 0.3 * wide, shoulder)]
    neck += [(middle_still, shoulder + 0.12 * wide), (middle_still + 0.3 * wide, shoulder)]
    _fill(frame, [*neck, (middle + 0.27 * wide, chin[1] - 0.35 * wide)], person.tone * light * 0.62)


def _with_ambient(scene: Scene) -> np.ndarray:
    light = scene.illumination.reshape(3, -1).copy()
    light[:, 0] += AMBIENT
    return light


def _fill(frame: np.ndarray, corners: list[tuple[float, float]], color: np.ndarray) -> None:
    points = np.round(np.array(corners) * 16).astype(np.int32)
    cv2.fillPoly(frame, [points], tuple(float(v) for v in color), cv2.LINE_8, 4)


def _glasses(frame: np.ndarray, face: np.ndarray, pose: np.ndarray, person: Person, size: int) -> None:
    """Rims around both eyes and a bridge, in front of the face."""
    turn = np.linspace(0, 2 * np.pi, 20)
    color = tuple(float(v) for v in person.glasses)
    inner = []
    for ring, _ in _EYES:
        middle = face[ring].mean(0) + [0, -0.02, 0.12]
        rim = middle + np.stack([0.2 * np.cos(turn), 0.15 * np.sin(turn), np.zeros(20)], -1)
        xy = camera.project(camera.apply_pose(rim, pose), size)[0]
        cv2.polylines(frame, [np.round(xy * 16).astype(np.int32)], True, color, max(1, size // 64), cv2.LINE_8, 4)
        inner.append(middle + [-0.2 * np.sign(middle[0]), 0.02, 0])
    xy = camera.project(camera.apply_pose(np.array(inner), pose), size)[0]
    cv2.polylines(frame, [np.round(xy * 16).astype(np.int32)], False, color, max(1, size // 64), cv2.LINE_8, 4)
