"""The mesh renderer on a real (public-domain) portrait, measured by the landmark model."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.head_geometry import project_head
from mimaface_cli.engines.mesh.head_surface import ANGLES, FACE_RIM, RINGS
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.face import topology
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import Coefficients, blendshape_index
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix

PORTRAIT = Path(__file__).parents[3] / "examples" / "portrait.jpg"


@pytest.fixture(scope="module")
def prepared(model):
    return prepare_photo(portrait_from_photo(read_image(PORTRAIT).rgb, None, model), model)


def render(prepared, model, turn=(0.0, 0.0, 0.0), gaze=(0.0, 0.0), lids=None, cutout=False, **expression):
    """Render a frame: head turned and gaze moved by degrees, some blendshapes set."""
    portrait = prepared.portrait
    coefficients = portrait.expression.copy()
    for name, value in expression.items():
        coefficients[blendshape_index(name)] = value
    pose = portrait.pose.copy()
    pose[:3] = euler_angles(rotation_matrix(np.radians(turn)) @ rotation_matrix(pose[:3]))
    rest_lids = measure_lid_openness(model, portrait.identity, coefficients[None])[0]
    render_frame = render_cutout if cutout else renderer.render_frame
    return render_frame(
        prepared,
        model,
        coefficients,
        pose,
        portrait.gaze + np.radians([*gaze, *gaze]),
        rest_lids if lids is None else np.array(lids),
    )


def render_cutout(prepared, model, expression, pose, gaze, lids):
    motion = MeshMotion(Coefficients(expression[None], pose[None], gaze[None]), lids[None])
    (cutout,) = renderer.render_photo(prepared, model, motion, cutout=True)
    return cutout


def detect_face(image):
    (face,) = detect_faces(image)
    return face


def test_render_frame_at_rest_reproduces_the_photo(prepared, model):
    frame = render(prepared, model).astype(float)
    photo = prepared.portrait.image.astype(float)
    assert np.abs(frame - photo).mean() < 0.6
    is_background = cv2.dilate(prepared.layers.alpha, np.ones((25, 25), np.uint8)) == 0
    assert is_background.mean() > 0.2
    assert np.array_equal(frame[is_background], photo[is_background])


def test_render_frame_never_moves_the_background(prepared, model):
    photo = prepared.portrait.image
    turned = render(prepared, model, turn=(0.0, 25.0, 0.0))
    person = render(prepared, model, turn=(0.0, 25.0, 0.0), cutout=True)[..., 3]
    is_background = (cv2.dilate(prepared.layers.alpha, np.ones((25, 25), np.uint8)) == 0) & (person == 0)
    assert is_background.mean() > 0.2
    assert np.array_equal(turned[is_background], photo[is_background])
    assert (turned != photo).any(2).mean() > 0.1


def test_cutout_shows_the_person_alone(prepared, model):
    cutout = render(prepared, model, cutout=True)
    alpha = prepared.layers.alpha
    assert cutout.shape == (*alpha.shape, 4)
    assert np.abs(cutout[..., 3] / 255 - alpha).max() < 0.02
    is_opaque = alpha == 1
    assert np.abs(cutout[..., :3].astype(int) - prepared.portrait.image)[is_opaque].mean() < 0.6


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [-14.0, 14.0])
def test_render_frame_turns_the_head_by_the_requested_angle(prepared, model, axis, degrees):
    turn = np.zeros(3)
    turn[axis] = degrees
    start, end = detect_face(prepared.portrait.image).rotation, detect_face(render(prepared, model, turn=turn)).rotation
    moved = end @ start.T
    error = moved @ rotation_matrix(np.radians(turn)).T
    assert np.degrees(np.arccos(np.clip((np.trace(error) - 1) / 2, -1, 1))) < 5.0


def project(prepared, model, turn, **expression):
    """Project the fine face (V, 2) and its surroundings (R, A, 2): head turned by degrees, some blendshapes set."""
    portrait, coefficients = prepared.portrait, np.zeros(64)
    for name, value in expression.items():
        coefficients[blendshape_index(name)] = value
    pose = portrait.pose.copy()
    pose[:3] = euler_angles(rotation_matrix(np.radians(turn)) @ rotation_matrix(pose[:3]))
    head = prepared.head + model.expression_basis @ coefficients
    xy, depth = project_head(prepared.geometry, head @ rotation_matrix(pose[:3]).T + pose[3:], pose)
    assert np.isfinite(xy).all() and np.isfinite(depth).all()
    xy = prepared.to_image(xy)
    count = len(prepared.geometry.placed)
    return xy[:count], xy[count : count + RINGS * ANGLES].reshape(RINGS, ANGLES, 2)


@pytest.mark.parametrize(
    "turn, expression",
    [((0, 0, 0), {"jawOpen": 1.0}), ((18, 0, 0), {}), ((0, -25, 10), {"mouthLeft": 1.0})],
    ids=["open jaw", "nod", "turn and tilt"],
)
def test_project_head_keeps_face_and_surroundings_joined(prepared, model, turn, expression):
    fine, front = project(prepared, model, turn, **expression)
    oval = fine[prepared.geometry.fine.rings["oval"]]
    ahead = np.roll(oval, -1, 0) - oval
    along = ((front[FACE_RIM][:, None] - oval) * ahead).sum(-1) / (ahead**2).sum(-1)
    nearest = oval + np.clip(along, 0, 1)[..., None] * ahead
    assert np.linalg.norm(front[FACE_RIM][:, None] - nearest, axis=-1).min(1).max() < 0.2  # pixels


def test_project_head_moves_the_surroundings_only_with_the_head(prepared, model):
    count, texture = len(prepared.geometry.placed), prepared.geometry.texture
    surroundings = texture[count : count + RINGS * ANGLES].reshape(RINGS, ANGLES, 2)
    fine, front = project(prepared, model, (0, 0, 0))
    assert np.allclose(fine, texture[:count], atol=1e-6)
    assert np.allclose(front, surroundings, atol=1e-6)
    fine, front = project(prepared, model, (0, 20, 0))
    assert np.allclose(front[-1], surroundings[-1], atol=1e-6)
    nose = fine[topology.NOSE_TIP] - texture[topology.NOSE_TIP]
    assert nose[0] > 5  # to the subject's left, the image's right


def test_render_frame_closes_each_lid_on_its_side(prepared, model):
    left, right = blendshape_index("eyeBlinkLeft"), blendshape_index("eyeBlinkRight")
    closed = detect_face(render(prepared, model, lids=(0.0, 0.0))).scores
    rest = detect_face(prepared.portrait.image).scores
    assert closed[left] > rest[left] + 0.25 and closed[right] > rest[right] + 0.25
    wink = detect_face(render(prepared, model, lids=(0.0, 1.0))).scores
    assert wink[left] > wink[right] + 0.15


def test_render_frame_turns_the_gaze_to_the_requested_side(prepared, model):
    inward, outward = blendshape_index("eyeLookInRight"), blendshape_index("eyeLookOutLeft")
    to_left, to_right = (detect_face(render(prepared, model, gaze=(yaw, 0.0))).scores for yaw in (22.0, -22.0))
    assert to_left[outward] > to_right[outward] + 0.2
    assert to_left[inward] > to_right[inward] + 0.2


def test_render_frame_of_an_open_mouth_has_a_dark_inside(prepared, model):
    frame = render(prepared, model, jawOpen=0.7, mouthSmileLeft=0.2, mouthSmileRight=0.2)
    face = detect_face(frame)
    assert face.points[14, 1] - face.points[13, 1] > 0.05 * face.size
    middle = ((face.points[13] + face.points[14]) / 2).astype(int)
    patch = frame[middle[1] - 2 : middle[1] + 3, middle[0] - 6 : middle[0] + 7]
    assert patch.mean() < 90


def test_render_photo_equals_single_frames(prepared, model):
    portrait, count = prepared.portrait, 5
    pose = np.repeat(portrait.pose[None], count, 0)
    pose[:, 1] += np.linspace(-0.2, 0.2, count)
    coefficients = Coefficients(
        np.repeat(portrait.expression[None], count, 0), pose, np.repeat(portrait.gaze[None], count, 0)
    )
    motion = MeshMotion(coefficients, np.ones((count, 2)))
    together = list(renderer.render_photo(prepared, model, motion))
    alone = [
        renderer.render_frame(prepared, model, portrait.expression, pose[k], portrait.gaze, motion.lids[k])
        for k in range(count)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
