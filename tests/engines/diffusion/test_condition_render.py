"""The driving render, warped into the square image."""

import numpy as np
import pytest
import torch

from mimaface_cli.engines.diffusion.condition_render import convert_render, render_condition, warp_render
from mimaface_cli.face import bfm
from mimaface_cli.face.bfm_render import Render
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT


@pytest.fixture
def model() -> bfm.Bfm09:
    """Return a gray square plate of one unit that faces the camera."""
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], np.float32)
    zeros = {name: np.zeros((12, n), np.float32) for name, n in (("idBase", 80), ("exBase", 64), ("texBase", 80))}
    faces = {"tri": np.array([[1, 2, 3], [1, 3, 4]]), "point_buf": np.array([[1, 2], [1, 3], [1, 2], [2, 3]])}
    means = {"meanshape": corners.reshape(1, -1), "meantex": np.full((1, 12), 60, np.float32)}
    return bfm.from_arrays({**zeros, **faces, **means, "keypoints": np.array([[1]])})


def test_convert_render_scales_to_minus_one_to_one():
    rgb = np.zeros((4, 4, 3), np.float32)
    rgb[1, 2] = [255, 127.5, 0]
    mask = rgb.any(-1)
    image, alpha = convert_render(Render(rgb, mask, mask - 1, rgb[..., 0]))
    assert image[:, 1, 2].tolist() == [1, 0, -1] and (image[:, 0] == -1).all()
    assert alpha.shape == (1, 4, 4) and alpha.sum() == 1


def test_warp_render_darkens_the_rim_twice():
    rgb, mask = torch.full((3, 8, 8), -1.0), torch.zeros(1, 8, 8)
    rgb[:, :, 4:], mask[:, :, 4:] = 1.0, 1.0
    half_a_pixel = np.array([[1.0, 0, 0.5], [0, 1, 0]])
    image, alpha = warp_render(rgb, mask, half_a_pixel, 8)
    assert alpha[0, 3].tolist() == pytest.approx([0, 0, 0, 0, 0.5, 1, 1, 1], abs=1e-5)
    # The warped color there is 0, halfway from black to white, and the mask darkens it once more.
    assert image[0, 3].tolist() == pytest.approx([-1, -1, -1, -1, -0.5, 1, 1, 1], abs=1e-5)


def test_render_condition_places_the_face_by_the_matrix(model):
    inverse = np.array([[1.5, 0, 40], [0, 1.5, 20]])
    image = render_condition(model, np.zeros(COEFFICIENT_COUNT, np.float32), inverse, 512)
    assert image.shape == (3, 512, 512)
    rows, columns = np.nonzero((image[0] > -0.99).numpy())
    half = 1160 * 0.5 / 10  # pixels of the crop, around its center at 128 (127.5 with pixel centers at integers)
    for pixels, offset in ((columns, 40), (rows, 20)):
        assert pixels.min() == pytest.approx(1.5 * (127.5 - half) + offset, abs=2)
        assert pixels.max() == pytest.approx(1.5 * (127.5 + half) + offset, abs=2)
    shade = 60 * 0.8 * np.pi / np.sqrt(4 * np.pi)
    middle = image[:, 20 + 191, 40 + 191]
    assert middle.tolist() == pytest.approx([shade / 255 * 2 - 1] * 3, abs=1e-3)
