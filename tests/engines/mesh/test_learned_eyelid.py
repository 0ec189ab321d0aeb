"""Learned eyelids in rendered frames: where and when the network's correction appears."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.engines.mesh.eyelid_crop import EYELID, eyelid_crop_matrix
from mimaface_cli.engines.mesh.face_networks import FaceNetworks
from mimaface_cli.engines.mesh.layers import opaque_layers
from mimaface_cli.engines.mesh.learned_eyelid import weigh_closing
from mimaface_cli.engines.mesh.part_network import load_network
from mimaface_cli.engines.mesh.prepared_portrait import (
    PAINTED_EYES_NOTE,
    prepare_photo,
    prepare_portrait,
    prepare_still_head,
    select_known_networks,
)
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from tests.conftest import ROOT
from tests.engines.mesh.mouth_models import write_model
from tests.engines.mesh.test_learned_mouth import draw_with_ink

SHIPPED = ROOT / "weights" / "eyelid478.npz"


@pytest.fixture(scope="module")
def portrait(model):
    """The example, with eyes about 45 pixels wide."""
    photo = portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, model)
    corner = 256 - 2 * photo.points.mean(0)
    return zoom(photo, 2.0, (corner[0], corner[1]), 512)


def load_eyes(path):
    return FaceNetworks(eyes=load_network(EYELID, path))


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A network that adds few gray levels, and one that adds many."""
    folder = tmp_path_factory.mktemp("models")
    strengths = enumerate((0.01, 0.5))
    return [load_eyes(write_model(folder / f"{k}.npz", strength, part=EYELID)) for k, strength in strengths]


@pytest.fixture(scope="module")
def pair(portrait, model, networks):
    """The portrait prepared with painted and with learned eyelids."""
    return prepare_still_head(portrait, model), prepare_still_head(portrait, model, networks[1])


def zoom(portrait, scale, shift=(0, 0), size=256):
    return portrait.warped(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), size, size)


def render(prepared, model, lids=(1.0, 1.0), turn=0.0, gaze=0.0):
    portrait = prepared.portrait
    pose = portrait.pose.copy()
    pose[1] += turn
    return render_frame(prepared, model, portrait.expression, pose, portrait.gaze + gaze, np.array(lids)).astype(int)


def difference(pair, model, **motion):
    painted, learned = (render(one, model, **motion) for one in pair)
    return np.abs(painted - learned)


@pytest.mark.parametrize("motion", [{}, {"turn": 0.25}, {"gaze": 0.2}, {"lids": (0.75, 0.75)}, {"lids": (1.3, 1.3)}])
def test_open_eyes_do_not_change(pair, model, motion):
    assert not difference(pair, model, **motion).any()


def test_correction_appears_smoothly_as_the_lids_close(pair, model):
    changes = np.array([difference(pair, model, lids=(lid, lid)).mean() for lid in np.linspace(0.8, 0, 33)])
    assert changes[0] == 0 and changes[-1] > 0.1
    assert np.abs(np.diff(changes)).max() < 0.25 * changes.max()


def test_each_eye_closes_alone_and_its_correction_stays_in_the_crop(pair, model):
    prepared = pair[1]
    for k, side in enumerate(("left", "right")):
        changed = difference(pair, model, lids=np.where(np.arange(2) == k, 0.0, 1.0)).max(2)
        eye = prepared.eyelids[side]
        matrix = eyelid_crop_matrix(side, eye.ball, prepared.portrait.pose, prepared.to_image)
        rows, columns = np.nonzero(changed > 0.05 * changed.max())
        places = (np.stack([columns, rows], 1) + 0.5) @ matrix[:, :2].T + matrix[:, 2]
        assert len(places) > 200
        assert (places > 0).all() and (places < EYELID.size).all()
        near = (places < 2).any(1) | (places > np.array(EYELID.size) - 2).any(1)
        assert changed[rows, columns][near].max(initial=0) < 0.2 * changed.max()


def test_head_that_turns_far_keeps_the_painted_lids(pair, model):
    away = -np.sign(pair[0].portrait.pose[1]) or 1.0
    assert difference(pair, model, lids=(0, 0), turn=away * 0.3).any()
    assert not difference(pair, model, lids=(0, 0), turn=away * 0.7).any()


def test_photo_with_closed_eyes_keeps_them():
    assert weigh_closing(0.0, 0.1) == 1
    assert weigh_closing(0.0, 0.02) == 0
    assert weigh_closing(0.1, 0.1) == weigh_closing(0.07, 0.1) == 0
    assert 0 < weigh_closing(0.04, 0.1) < 1


def test_gray_photo_stays_gray(portrait, model, networks):
    gray = portrait.image.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
    prepared = prepare_still_head(replace(portrait, image=gray), model, networks[1])
    frame = render(prepared, model, lids=(0, 0))
    assert np.ptp(frame, axis=2).max() <= 1
    assert np.abs(frame - render(replace(prepared, eyelids={}), model, lids=(0, 0))).max() > 10


def test_small_eyes_are_painted_alone(portrait, model, networks):
    changes = []
    for scale in (0.2, 0.6):
        small = zoom(portrait, scale)
        both = prepare_still_head(small, model), prepare_still_head(small, model, networks[1])
        changes.append(difference(both, model, lids=(0, 0)).max())
    assert changes[0] == 0 and changes[1] > 1


def test_covered_eye_has_no_network(portrait, model, networks):
    covered = replace(opaque_layers(portrait), covered=np.array([False, True, False]))
    assert list(prepare_portrait(portrait, model, covered, networks[0]).eyelids) == ["right"]


def test_eyes_at_the_border_of_the_image(portrait, model, networks):
    eye = portrait.points[33]
    cut = zoom(portrait, 1.0, tuple(-eye), 300)
    assert render(prepare_still_head(cut, model, networks[1]), model, lids=(0, 0)).shape == cut.image.shape


def test_note_for_an_image_in_a_foreign_style(portrait, model, networks):
    small = zoom(portrait, 0.5)
    known, foreign = (prepare_photo(small, model, networks=network) for network in networks)
    assert known.networks == networks[0] and PAINTED_EYES_NOTE not in known.layers.notes
    assert foreign.networks.eyes is None and foreign.layers.notes.count(PAINTED_EYES_NOTE) == 1
    assert not difference((prepare_photo(small, model), foreign), model, lids=(0, 0)).any()


@pytest.mark.filterwarnings("error")
def test_huge_weights_neither_crash_nor_warn(portrait, model, tmp_path):
    path = write_model(tmp_path / "huge.npz", 1e30, part=EYELID)
    prepared = prepare_still_head(portrait, model, load_eyes(path))
    assert select_known_networks(prepared)[0].eyes is None
    assert render(prepared, model, lids=(0, 0)).shape == portrait.image.shape


@pytest.mark.skipif(not SHIPPED.exists(), reason="the eyelid network is not there yet")
def test_shipped_network_knows_photos_alone_and_removes_the_hard_line(portrait, model):
    prepared = prepare_still_head(portrait, model, FaceNetworks(eyes=load_network(EYELID)))
    assert select_known_networks(prepared)[0].eyes is not None
    drawing = prepare_still_head(replace(portrait, image=draw_with_ink(portrait.image)), model, prepared.networks)
    assert select_known_networks(drawing)[0].eyes is None
    painted, learned = (render(one, model, lids=(0, 0)).mean(2) for one in (replace(prepared, eyelids={}), prepared))
    matrix = eyelid_crop_matrix("left", prepared.eyelids["left"].ball, portrait.pose, prepared.to_image)
    x, y = np.linalg.solve(matrix[:, :2], np.array(EYELID.size) / 2 - matrix[:, 2]).astype(int)
    steps = [np.abs(np.diff(frame[y - 15 : y + 20, x - 10 : x + 10], axis=0)).max() for frame in (painted, learned)]
    assert steps[1] < 0.8 * steps[0]
