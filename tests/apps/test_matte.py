"""The matte: opaque where the result changed, transparent elsewhere, and sufficient for compositing the result."""

import numpy as np

from mimaface_cli.apps.matte import compute_matte


def test_compute_matte_is_opaque_on_changes_soft_around_them_and_0_elsewhere():
    original = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    result = original.copy()
    result[100:140, 150:200] ^= 64
    matte = compute_matte(result, original)
    assert matte.dtype == np.uint8 and matte.shape == (240, 320)
    assert (matte[100:140, 150:200] == 255).all() and matte[:80].max() == 0 and matte[:, :130].max() == 0
    rim = matte[120, 130:150].astype(int)
    assert (np.diff(rim) >= 0).all() and len(np.unique(rim)) > 3  # a soft edge
    share = matte[..., None] / 255
    assert np.array_equal(np.round(result * share + original * (1 - share)).astype(np.uint8), result)


def test_compute_matte_is_0_without_changes():
    image = np.full((64, 64, 3), 90, np.uint8)
    assert compute_matte(image + np.uint8(2), image).max() == 0
    assert compute_matte(np.dstack((image, image[..., 0])), image).max() == 0  # a fourth channel does not count
