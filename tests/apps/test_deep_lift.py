"""Transfer of rendered frames to sources with more than 8 bits per channel."""

import cv2
import numpy as np
import pytest

from mimaface_cli.apps.deep_lift import lift_frame
from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import BRIGHTNESS, COLOR, DeepFrame

SPACES = [ColorSpace(), ColorSpace(9, 16, 9), ColorSpace(9, 18, 9)]
SIDE = 96


def smooth_frame(space: ColorSpace, low=0.3, high=0.5) -> DeepFrame:
    """Return a slope, on which steps of 8 bits would be visible."""
    slope = np.linspace(low, high, SIDE)[None, :, None] * np.ones((SIDE, 1, 3))
    return DeepFrame(np.rint(slope * 65535).astype(np.uint16), space)


def in_10_bits(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(float) / 65535 * 1023


@pytest.mark.parametrize("space", SPACES)
def test_untouched_pixels_are_exact(space):
    noise = np.random.default_rng(1).integers(0, 65536, (SIDE, SIDE, 3)).astype(np.uint16)
    original = DeepFrame(noise, space)
    rendered = original.preview.copy()
    rendered[30:50, 30:50] = 90
    lifted = lift_frame(rendered, rendered, original.preview, original)
    is_touched = (rendered != original.preview).any(axis=2)
    np.testing.assert_array_equal(lifted.pixels[~is_touched], noise[~is_touched])
    np.testing.assert_array_equal(lifted.changed, np.where(is_touched, COLOR, 0))


@pytest.mark.parametrize("space", SPACES)
def test_rendered_color_is_that_of_the_preview(space):
    original = smooth_frame(space)
    rendered = original.preview.copy()
    rendered[20:70, 20:70] = 230
    lifted = lift_frame(rendered, rendered, original.preview, original)
    assert abs(space.preview(lifted.pixels[30:60, 30:60]).astype(int) - 230).max() <= 1


@pytest.mark.parametrize("space", SPACES)
def test_border_and_inside_of_a_moved_slope_have_no_steps(space):
    original = smooth_frame(space)
    preview = original.preview
    shift = np.float32([[1, 0, 5], [0, 1, 0]])
    moved = cv2.warpAffine(preview, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    matte = cv2.GaussianBlur(np.pad(np.ones((40, 40), np.float32), (SIDE - 40) // 2), (0, 0), 6)[..., None]
    rendered = np.rint(preview + matte * (moved.astype(float) - preview)).astype(np.uint8)
    lifted = lift_frame(rendered, rendered, preview, original)
    exact = cv2.warpAffine(original.pixels, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    truth = original.pixels + matte * (exact.astype(float) - original.pixels)
    plain = space.restore(rendered.astype(np.float32))
    error, plain_error = (abs(in_10_bits(pixels) - in_10_bits(truth)) for pixels in (lifted.pixels, plain))
    assert error.mean() < 0.5 * plain_error.mean()
    assert error.max() < 2.5 * max(1.0, plain_error.max() / 2)


def test_clipped_highlight_does_not_shine_through_what_covers_it():
    space = ColorSpace(9, 16, 9)
    original = smooth_frame(space)
    original.pixels[40:50, 40:50] = 65535
    rendered = original.preview.copy()
    rendered[35:55, 35:55] = 100
    lifted = lift_frame(rendered, rendered, original.preview, original)
    assert abs(space.preview(lifted.pixels[38:52, 38:52]).astype(int) - 100).max() <= 1


@pytest.mark.parametrize("space", SPACES)
def test_watermark_changes_brightness_by_as_many_levels_of_the_preview(space):
    original = smooth_frame(space)
    rendered = original.preview
    marked = rendered.copy()
    marked[::2, ::3] += 1
    lifted = lift_frame(rendered, marked, rendered, original)
    is_marked = (marked != rendered).any(axis=2)
    np.testing.assert_array_equal(lifted.changed, np.where(is_marked, BRIGHTNESS, 0))
    np.testing.assert_array_equal(lifted.pixels[~is_marked], original.pixels[~is_marked])
    step = space.preview(lifted.pixels[is_marked]).astype(int) - rendered[is_marked]
    assert step.mean() == pytest.approx(1, abs=0.1)


def test_alpha_is_lifted_too():
    pixels = np.dstack([smooth_frame(ColorSpace()).pixels, np.full((SIDE, SIDE), 40_000, np.uint16)])
    original = DeepFrame(pixels, ColorSpace())
    preview = np.dstack([original.preview, original.preview_alpha])
    rendered = preview.copy()
    rendered[10:60, 10:60, 3] = 255
    lifted = lift_frame(rendered, rendered, preview, original)
    assert (lifted.pixels[20:50, 20:50, 3] > 65535 - 200).all()
    np.testing.assert_array_equal(lifted.pixels[70:, 70:], pixels[70:, 70:])
