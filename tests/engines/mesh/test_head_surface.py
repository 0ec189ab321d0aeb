"""The surroundings of the face: outline, shape of the head, motion of hair and shoulders."""

import cv2
import numpy as np
import pytest

from mimaface_cli.engines.mesh.head_axes import build_head_axes, find_shoulders
from mimaface_cli.engines.mesh.head_surface import ANGLES, FACE_RIM, RINGS, build_head_surface, mirror_surface
from mimaface_cli.face import camera, topology
from mimaface_cli.face.rasterizer import rasterize
from mimaface_cli.motion.rotation import rotation_matrix

SIZE = 256
TO_CROP = np.array([[1.0, 0, 0], [0, 1.0, 0]])


def draw_person(center: np.ndarray, head_radii: tuple[float, float], shoulders: float) -> np.ndarray:
    """Draw a person: an ellipse for the head, a neck, and everything below a line for the shoulders."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    head = ((columns - center[0]) / head_radii[0]) ** 2 + ((rows - center[1]) / head_radii[1]) ** 2 < 1
    neck = (np.abs(columns - center[0]) < 0.6 * head_radii[0]) & (rows > center[1])
    return (head | neck | (rows > shoulders)).astype(np.float32)


def build(model, pose, head_scale=1.3, shoulders=235.0, alpha=None):
    """Build the surface of the mean face at a pose; return it with the oval in crop pixels and the alpha."""
    placed = camera.apply_pose(model.mean, pose)
    oval = camera.project(placed[topology.OVAL])[0]
    if alpha is None:
        alpha = draw_person(oval.mean(0), tuple(head_scale * np.ptp(oval, axis=0) / 2), shoulders)
    rim = placed[topology.OVAL]
    surface = build_head_surface(oval, rim, np.ones(len(rim)), model.mean, pose, alpha, TO_CROP)
    return surface, oval, alpha


FRONTAL = np.array([0.0, 0.0, 0.0, 0.0, 0.1, -2.0])
TURNED = np.array([0.05, 0.6, 0.05, 0.0, 0.1, -2.0])


@pytest.mark.parametrize("pose", [FRONTAL, TURNED], ids=["frontal", "turned"])
def test_front_at_rest_projects_onto_its_texture(model, pose):
    surface, _, _ = build(model, pose)
    placed = camera.apply_pose(surface.head, pose)
    count = RINGS * ANGLES
    assert np.allclose(camera.project(placed)[0][:count], surface.texture[:count], atol=1e-6)
    assert np.allclose(camera.project(placed)[0], surface.anchor, atol=1e-6)


@pytest.mark.parametrize("head_scale", [1.15, 1.3, 1.5])
def test_outline_follows_the_person(model, head_scale):
    surface, oval, _ = build(model, FRONTAL, head_scale)
    texture = surface.texture[: RINGS * ANGLES].reshape(RINGS, ANGLES, 2)
    up = np.flatnonzero(texture[-1, :, 1] < oval[:, 1].min())
    depth = surface.head[: RINGS * ANGLES, 2].reshape(RINGS, ANGLES)
    outline = np.abs(depth[:, up] - depth[-1, up]).argmin(0)  # the first ring in the plane of the outline
    radii = head_scale * np.ptp(oval, axis=0) / 2
    reach = texture[outline, up] - oval.mean(0)
    assert np.abs(np.linalg.norm(reach / radii, axis=1) - 1).max() < 0.12


def test_crown_lies_behind_the_forehead_and_the_ears_near_the_rim(model):
    surface, _, _ = build(model, FRONTAL)
    depth = surface.head[: RINGS * ANGLES, 2].reshape(RINGS, ANGLES)
    drop = depth[FACE_RIM] - depth[-1]
    up = int(surface.texture[: RINGS * ANGLES, 1].reshape(RINGS, ANGLES)[-1].argmin())
    side = int(surface.texture[: RINGS * ANGLES, 0].reshape(RINGS, ANGLES)[-1].argmin())
    assert drop[up] > 0.3 > drop[side] > 0  # model units, a tenth of a meter


def test_weight_is_full_for_the_head_and_zero_for_the_shoulders(model):
    surface, oval, _ = build(model, FRONTAL)
    weight = surface.weight[: RINGS * ANGLES]
    texture = surface.texture[: RINGS * ANGLES]
    assert weight.min() >= 0 and weight.max() <= 1
    is_hair = (texture[:, 1] < oval[:, 1].mean()) & (
        np.linalg.norm(texture - oval.mean(0), axis=1) < 1.4 * np.ptp(oval[:, 0]) / 2
    )
    assert is_hair.any() and np.allclose(weight[is_hair], 1)
    is_low = texture[:, 1] > oval[:, 1].max() + 0.62 * np.ptp(oval[:, 1])
    assert is_low.any() and np.allclose(weight[is_low], 0)


def test_find_shoulders_returns_where_the_person_becomes_wider(model):
    _, oval, _ = build(model, FRONTAL)
    axes = build_head_axes(oval, FRONTAL)
    for level in (0.05, 0.25):
        row = oval[:, 1].max() + level * np.ptp(oval[:, 1])
        alpha = draw_person(oval.mean(0), tuple(1.2 * np.ptp(oval, axis=0) / 2), row)
        assert np.allclose(find_shoulders(axes, alpha, TO_CROP), level, atol=0.05)


def test_surface_does_not_tear_where_the_person_is_everywhere_or_nowhere(model):
    for alpha in (np.ones((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), np.float32)):
        surface, _, _ = build(model, FRONTAL, alpha=alpha)
        assert all(np.isfinite(array).all() for array in (surface.head, surface.anchor, surface.weight))
        outermost = surface.weight[: RINGS * ANGLES].reshape(RINGS, ANGLES)[-1]
        assert np.allclose(outermost, 0)


def test_place_follows_the_rim_when_the_jaw_drops(model):
    surface, _, _ = build(model, FRONTAL)
    rotation, translation = rotation_matrix(FRONTAL[:3]), FRONTAL[3:]
    placed = camera.apply_pose(model.mean, FRONTAL)[topology.OVAL]
    lowered = placed + np.array([0, -0.1, 0]) * (placed[:, 1:2] < placed[:, 1].mean())
    at_rest, moved = (surface.place(oval, rotation, translation) for oval in (placed, lowered))
    shift = (moved - at_rest)[: RINGS * ANGLES, 1].reshape(RINGS, ANGLES)
    assert np.allclose(shift[FACE_RIM].min(), -0.1, atol=1e-6) and np.allclose(shift[FACE_RIM].max(), 0, atol=1e-6)
    assert (np.diff(np.abs(shift[FACE_RIM:]), axis=0) <= 1e-9).all() and np.allclose(shift[-1], 0)


def test_mirrored_half_appears_only_where_the_head_is_turned(model):
    for pose, is_turned in ((FRONTAL, False), (TURNED, True)):
        surface, _, alpha = build(model, pose)
        mirrored = mirror_surface(surface, pose, model.mean[topology.OVAL], np.ones_like(alpha), TO_CROP)
        assert bool(len(mirrored.back)) == is_turned
        if is_turned:
            used = np.unique(mirrored.back)
            near = np.sign(rotation_matrix(pose[:3])[2, 0])
            assert (near * mirrored.head[used, 0] < 0).all()  # all on the side that the photo hides
            assert (near * surface.head[used, 0] > 0).all()


def test_neck_stays_at_the_border_that_cuts_it(model):
    pose = FRONTAL + np.array([0, 0, 0, 0, -0.3, 0])  # the chin is near the lower border
    surface, oval, _ = build(model, pose, shoulders=400.0)
    assert 5 < SIZE - oval[:, 1].max() < 40
    count = RINGS * ANGLES
    at_border = np.abs(surface.texture[:count, 1] - SIZE) < 3
    below = at_border & (np.abs(surface.texture[:count, 0] - oval[:, 0].mean()) < 20)
    assert below.any() and surface.hold[:count][below, 1, 1].min() > 0.8 * surface.weight[:count][below].min()
    assert not surface.hold[:count][surface.texture[:count, 1] < oval[:, 1].mean()].any()
    free, _, _ = build(model, FRONTAL)
    assert not free.hold[: RINGS * ANGLES][free.weight[: RINGS * ANGLES] > 0.9].max() > 0.1


@pytest.mark.parametrize("photo_pose", [FRONTAL, TURNED], ids=["frontal", "turned"])
@pytest.mark.parametrize(
    "turn", [(0.6, 0, 0), (-0.6, 0, 0), (0, 0.7, 0), (0, -0.7, 0), (0.5, 0.5, 0), (-0.5, -0.5, 0.3)]
)
def test_no_gap_opens_between_face_and_surroundings(model, photo_pose, turn):
    surface, _, _ = build(model, photo_pose)
    turned = rotation_matrix(np.array(turn)) @ rotation_matrix(photo_pose[:3])
    face = model.mean @ turned.T + photo_pose[3:]
    placed = surface.place(face[topology.OVAL], turned, photo_pose[3:])[: RINGS * ANGLES]
    vertices = np.concatenate([face, placed])
    head = surface.front[(surface.front < RINGS * ANGLES).all(1)] + len(face)
    triangles = np.concatenate([model.triangles, head]).astype(np.int32)
    xy, depth = camera.project(vertices)
    index, _, _ = rasterize(2 * xy, depth, triangles, 2 * SIZE, 2 * SIZE)
    empty = cv2.copyMakeBorder((index < 0).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(empty, None, (0, 0), 0)  # what remains is enclosed
    assert empty.sum() <= 1, empty.sum()
