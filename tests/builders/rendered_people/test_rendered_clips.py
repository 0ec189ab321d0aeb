"""Clips of rendered people and their condition renders."""

import numpy as np

from mimaface_cli.builders.rendered_people.rendered_clips import (
    render_clip,
    render_plain_conditions,
    render_textured_conditions,
)
from tests.builders.rendered_people.frames import SIZE


def test_seed_fixes_the_person_and_the_clip(model):
    first, second = (render_clip(model, 7, 1, 3, SIZE) for _ in range(2))
    assert (first.frames == second.frames).all()
    assert first.track.meta.space == "face478"
    assert len(first.track) == 3
    other = render_clip(model, 7, 2, 3, SIZE)
    assert (other.track.identity == first.track.identity).all()
    assert not np.allclose(other.track.pose, first.track.pose)


def test_textured_condition_is_closer_to_the_truth_than_the_unmoved_source(model):
    clip = render_clip(model, 1, 0, 20, SIZE)
    textured = np.stack(list(render_textured_conditions(model, clip, 0, clip.track, SIZE))).astype(float)
    later = slice(8, 20)  # when the head has moved
    error = np.abs(textured[later] - clip.frames[later]).mean()
    assert error < 0.75 * np.abs(clip.frames[:1].astype(float) - clip.frames[later]).mean()


def test_plain_condition_renders_the_face_alone(model):
    clip = render_clip(model, 1, 0, 1, SIZE)
    plain = next(render_plain_conditions(model, clip.track, clip.track, SIZE))
    assert plain.shape == (SIZE, SIZE, 3)
    assert not plain[:3].any()
    assert plain[25:40, 25:40].any()
