"""Layers of a photo: person, background, cache."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mimaface_cli.cache import FIGURE_FOLDER, Cache
from mimaface_cli.engines.mesh import layers as layers_module
from mimaface_cli.engines.mesh.layers import (
    CUT_HEAD_NOTE,
    PhotoLayers,
    build_photo_layers,
    is_head_cut,
    opaque_layers,
    separate_layers,
)
from mimaface_cli.face.matting import PersonMatte
from mimaface_cli.face.portrait import Portrait, portrait_from_photo
from mimaface_cli.media.image import read_image
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def portrait(model) -> Portrait:
    photo = portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, model)
    return photo.warped(np.array([[0.5, 0, 0], [0, 0.5, 0]]), 256, 256)


@pytest.fixture(scope="module")
def layers(portrait, model) -> PhotoLayers:
    return build_photo_layers(portrait, model)


def test_background_equals_the_photo_where_there_is_no_person(portrait, layers):
    is_background = cv2.dilate(layers.alpha, np.ones((13, 13), np.uint8)) == 0
    assert is_background.mean() > 0.2
    assert np.array_equal(layers.background[is_background], portrait.image[is_background])


def test_background_behind_the_face_is_filled(portrait, layers):
    left, top = portrait.points.min(0).astype(int)
    right, bottom = portrait.points.max(0).astype(int)
    face = np.s_[top + 10 : bottom - 10, left + 10 : right - 10]
    assert layers.alpha[face].min() == 1 and layers.moving_alpha[face].min() == 255
    assert np.abs(layers.background[face].astype(int) - portrait.image[face]).mean() > 20
    assert layers.still_alpha[face].max() == 0


def test_still_and_moving_parts_make_up_the_person(layers):
    still, moving = layers.still_alpha / 255, layers.moving_alpha / 255
    assert np.allclose(still + (1 - still) * moving, layers.alpha, atol=1 / 255)
    assert still[-1].max() == 1  # the shoulders


def test_separate_layers_continues_a_transparent_background(portrait, model, layers):
    alpha = np.where(layers.alpha > 0.5, 255, 0).astype(np.uint8)
    transparent = replace(portrait, alpha=alpha)
    matte = PersonMatte(alpha / np.float32(255), portrait.image, portrait.image)
    result = separate_layers(transparent, model, matte)
    assert result.background_alpha is not None
    top = int(portrait.points[:, 1].min())
    assert result.background_alpha[: top + 5].mean() < 10  # nothing is left of the head


def test_layers_are_loaded_from_the_cache(portrait, model, layers, tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    first = build_photo_layers(portrait, model, cache)
    monkeypatch.setattr(layers_module, "segment_person", None)
    second = build_photo_layers(portrait, model, cache)
    for name in ("alpha", "moving_alpha", "foreground", "background", "still_alpha"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
        assert np.array_equal(getattr(first, name), getattr(layers, name)), name
    assert first.notes == second.notes and second.background_alpha is None
    changed = replace(portrait, image=255 - portrait.image)
    with pytest.raises(TypeError):
        build_photo_layers(changed, model, cache)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:1000],
        lambda content: content.replace(b"still_alpha", b"stale_alpha"),
    ],
    ids=["empty", "cut", "renamed"],
)
def test_damaged_layers_in_the_cache_are_built_again(portrait, model, layers, tmp_path, monkeypatch, damage):
    monkeypatch.setattr(layers_module, "_build_layers", lambda portrait, model: layers)
    cache = Cache(tmp_path)
    build_photo_layers(portrait, model, cache)
    (stored,) = (tmp_path / FIGURE_FOLDER).iterdir()
    whole = stored.read_bytes()
    stored.write_bytes(damage(whole))
    assert build_photo_layers(portrait, model, cache) is layers
    assert stored.read_bytes() == whole


def test_opaque_layers_are_all_person(portrait):
    layers = opaque_layers(portrait)
    assert layers.alpha.min() == 1 and layers.moving_alpha.min() == 255
    assert layers.background is portrait.image


def test_head_that_the_border_cuts_is_reported(portrait, layers, model):
    assert CUT_HEAD_NOTE not in layers.notes
    top = int(portrait.points[:, 1].min())
    cut = replace(portrait, image=portrait.image[top:], points=portrait.points - [0, top], alpha=None)
    assert build_photo_layers(cut, model).notes.count(CUT_HEAD_NOTE) == 1
    left, right = portrait.points[:, 0].min(), portrait.points[:, 0].max()
    middle = int((left + right) / 2)
    assert is_head_cut(layers.alpha[:, :middle], portrait.points)
    assert is_head_cut(layers.alpha[:, middle:], portrait.points - [middle, 0])
