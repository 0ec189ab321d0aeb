"""Response of a portrait to turns: inversion, smoothness, implausible and missing measurements."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.turn_response import TurnResponse

UNIT = np.eye(3)


def make_response() -> TurnResponse:
    """Return the response of a head whose yaw is measured too small, differently by direction, and with a nod."""
    columns = np.repeat(np.diag([0.9, 0.8, 1.0])[:, None], 2, axis=1)
    columns[1, 0], columns[1, 1] = [0.0, 0.75, 0.0], [0.2, 0.9, 0.05]
    return TurnResponse.fit(columns)


def test_planned_turn_is_measured_as_the_track_expects():
    turns = np.radians(np.random.default_rng(0).uniform(-35, 35, (200, 3)))
    response = make_response()
    measured = response.apply(response.plan(turns))
    assert np.abs(measured - turns / [0.95, 1.1, 1.0]).max() < np.radians(0.5)
    assert (response.plan(np.zeros((1, 3))) == 0).all()


def test_nominal_response_does_not_change_turns():
    turns = np.radians([[10.0, -20.0, 5.0], [-3.0, 30.0, -8.0]])
    assert np.allclose(TurnResponse.nominal().plan(turns), turns)


def test_planned_turns_change_without_a_kink():
    yaw = np.radians(np.linspace(-30, 30, 3001))
    planned = make_response().plan(yaw[:, None] * UNIT[1])
    speed = np.diff(planned, axis=0) / np.diff(yaw)[:, None]
    assert speed[:, 1].min() > 0.8
    assert np.abs(np.diff(speed, axis=0)).max() < 0.01


@pytest.mark.parametrize("value", [-3.0, 0.0, 0.1, 9.0])
def test_implausible_measurements_are_limited(value):
    columns = TurnResponse.fit(np.full((3, 2, 3), value)).columns
    diagonal = np.array([columns[axis, :, axis] for axis in range(3)])
    assert diagonal.min() >= 0.7 and diagonal.max() <= 1.05
    planned = TurnResponse(columns).plan(np.radians([[10.0, 20.0, 5.0]]))
    assert np.abs(planned).max() < np.radians(50)


def test_missing_direction_mirrors_the_other_one():
    columns = np.full((3, 2, 3), np.nan)
    columns[1, 1] = [0.1, 0.8, 0.02]
    filled = TurnResponse.fit(columns).columns
    assert np.allclose(filled[1, 0], [-0.1, 0.8, -0.02])
    assert np.allclose(filled[0, 0], [0.85, 0, 0])
