"""Grids of variations: axes, size and assembly."""

import numpy as np
import pytest

from mimaface_cli.apps.grid import GAP, MAX_STEPS, assemble_grid, grid_size, list_cells, parse_axes
from mimaface_cli.errors import InputError


def test_parse_axes_spaces_values_evenly():
    axes = parse_axes(("yaw=-30:30:7", "jawOpen=0:1:3"))
    np.testing.assert_allclose(axes[0].values, [-30, -20, -10, 0, 10, 20, 30])
    assert axes[0].labels[0] == "-30°"
    assert axes[1].labels == ["0", "0.5", "1"]
    assert parse_axes(()) == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("yaw=-30:30",), "Write NAME=FROM:TO:COUNT"),
        (("yaw=-30:30:0",), "whole number from 1 to 40"),
        (("yaw=-30:30:9999999999",), "whole number from 1 to 40"),
        (("yaw=-30:30:1.5",), "whole number from 1 to 40"),
        (("yaw=-30:300:2",), "300 is out of range"),
        (("yawn=0:1:2",), "Did you mean yaw"),
        (("yaw=0:1:2", "pitch=0:1:2", "roll=0:1:2"), "more than two curves"),
        (("eyeBlink=0:1:2", "eyeBlinkLeft=0:1:2"), "eyeBlink and eyeBlinkLeft are the same curve"),
    ],
)
def test_parse_axes_refuses_invalid_axes(texts, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_axes(texts)
    assert caught.value.field == "grid"


def test_list_cells_lists_cells_row_by_row():
    assert list_cells(parse_axes(("yaw=0:1:2",))) == [(0.0,), (1.0,)]
    assert list_cells(parse_axes(("yaw=0:1:2", "pitch=2:3:2"))) == [(0.0, 2.0), (1.0, 2.0), (0.0, 3.0), (1.0, 3.0)]


def test_grid_size_of_the_longest_axis_is_exact():
    width, height = grid_size(parse_axes((f"yaw=0:1:{MAX_STEPS}",)), 32)
    assert width == GAP + MAX_STEPS * (32 + GAP)
    assert height > 32 + GAP


def test_assemble_grid_places_frames_and_draws_labels():
    axes = parse_axes(("yaw=-15:15:3", "jawOpen=0:1:2"))
    frames = [np.full((64, 64, 3), 10 * k, np.uint8) for k in range(6)]
    grid = assemble_grid(iter(frames), axes, 32)
    assert grid.shape == (*grid_size(axes, 32)[::-1], 3)
    left, top = grid.shape[1] - 3 * (32 + GAP), grid.shape[0] - 2 * (32 + GAP)
    for k in range(6):
        row, column = divmod(k, 3)
        y, x = top + row * (32 + GAP), left + column * (32 + GAP)
        assert (grid[y : y + 32, x : x + 32] == 10 * k).all()
    assert grid[:top].min() < 100
    assert grid[top:, :left].min() < 200
