"""Appearance of rendered people."""

import numpy as np

from mimaface_cli.builders.rendered_people.appearance import make_person
from tests.builders.rendered_people.frames import render_still


def test_people_differ_more_than_one_person_in_two_poses(model):
    turned = np.array([0, 0.1, 0, 0, 0, 0.0])
    people = [make_person(model, seed) for seed in range(8)]
    frontal = [render_still(model, person).image.astype(float) for person in people]
    rotated = [render_still(model, person, pose=turned).image.astype(float) for person in people]
    face = np.s_[20:46, 20:44]
    same = [np.abs(a[face] - b[face]).mean() for a, b in zip(frontal, rotated, strict=True)]
    other = [np.abs(frontal[i][face] - rotated[j][face]).mean() for i in range(8) for j in range(8) if i != j]
    assert np.mean(same) < 0.6 * np.mean(other)
