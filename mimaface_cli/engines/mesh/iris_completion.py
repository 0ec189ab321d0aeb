"""Completion of an iris where the lids hide it in the photo."""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import LUMA, feather_mask
from mimaface_cli.motion.easing import smoothstep

_PROFILE_BINS = 15  # bins of 0.1 iris radii in the radial color profile of an iris
_RIM, _MIDDLE = slice(7, _PROFILE_BINS), slice(3, 7)  # bins from the rim of an iris on, and of the ring inside it
# Radii at which the edge of an iris is looked for, where it is assumed if none is visible, and its half width.
_EDGE_RADII, _USUAL_EDGE, _EDGE_WIDTH = np.arange(0.85, 1.3, 0.05), 1.05, 0.08
_LEAST_EDGE_PIXELS = 4  # at a radius
_CONTINUATION = 0.3  # iris radii: deviation of the blur that continues the light on the visible part
_MAX_CONTINUATION = 60.0  # levels


def complete_iris(patch: np.ndarray, visible: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    """Complete an iris where lids hide it: by its mirror image where visible, else by the color at that radius.

    Args:
        patch: (H, W, 3) float32 colors.
        visible: (H, W) bool mask of the visible iris.
        center: (2,) center of the iris in patch pixels.
        radius: Radius of the iris in pixels.

    Returns:
        (H, W, 3) float32 colors.
    """
    height, width = visible.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(columns + 0.5 - center[0], rows + 0.5 - center[1]) / radius
    bins = np.clip((distance * 10).astype(int), 0, _PROFILE_BINS - 1)
    profile, middles = _radial_profile(patch, visible, bins), 0.1 * np.arange(_PROFILE_BINS) + 0.05
    filled: np.ndarray = np.stack([np.interp(distance, middles, channel) for channel in profile.T], -1)
    for flip_x, flip_y in ((False, True), (True, False), (True, True)):
        map_x = (2 * center[0] - columns - 1 if flip_x else columns).astype(np.float32)
        map_y = (2 * center[1] - rows - 1 if flip_y else rows).astype(np.float32)
        mirrored = cv2.remap(patch, map_x, map_y, cv2.INTER_LINEAR)
        mirror_visible = cv2.remap(visible.astype(np.float32), map_x, map_y, cv2.INTER_LINEAR) > 0.99
        share = (feather_mask(mirror_visible, 0.12 * radius) * 0.6)[..., None]
        filled = filled * (1 - share) + mirrored * share
    filled += _continue_light(patch - filled, visible, _CONTINUATION * radius)
    photo = feather_mask(visible, 0.2 * radius)[..., None]
    return (filled * (1 - photo) + patch * photo).astype(np.float32)


def draw_iris(luma: np.ndarray, visible: np.ndarray, distance: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Draw the disk of an iris, whose radius is measured where the iris meets the sclera.

    Args:
        luma: (H, W) luma.
        visible: (H, W) bool mask of the opening.
        distance: (H, W) distance from the iris's center, in the radius of its landmarks.
        level: (H, W) luma of the sclera.

    Returns:
        (H, W) alpha.
    """
    darkness = 1 - luma / np.maximum(level, 1)
    rim = darkness[visible & (distance > 0.6) & (distance < 0.85)]
    edge = _USUAL_EDGE
    if len(rim) >= _LEAST_EDGE_PIXELS:
        for radius in _EDGE_RADII:
            band = darkness[visible & (np.abs(distance - radius) < 0.05)]
            if len(band) >= _LEAST_EDGE_PIXELS and np.median(band) < 0.5 * np.median(rim):
                edge = float(radius)
                break
    return np.asarray(smoothstep((edge + _EDGE_WIDTH - distance) / (2 * _EDGE_WIDTH)), np.float32)


def _continue_light(difference: np.ndarray, visible: np.ndarray, deviation: float) -> np.ndarray:
    """Continue the difference (H, W, 3) between the visible and the completed iris beyond the visible pixels.

    Otherwise the completion would start with an edge: the visible part lies in the light and in the lids' shadow.
    """
    weight = visible.astype(np.float32)
    sums = cv2.GaussianBlur(np.dstack([difference * weight[..., None], weight]).astype(np.float32), (0, 0), deviation)
    mean = sums[..., :3] / np.maximum(sums[..., 3:], 1e-4)
    share = np.clip(3 * sums[..., 3:], 0, 1)
    return share * np.clip(mean, -_MAX_CONTINUATION, _MAX_CONTINUATION)


def _radial_profile(patch: np.ndarray, visible: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Median color of the visible iris at each radius, (_PROFILE_BINS, 3) float32, interpolated where hidden."""
    profile = np.zeros((_PROFILE_BINS, 3), np.float32)
    known = np.zeros(_PROFILE_BINS, bool)
    for k in range(_PROFILE_BINS):
        band = visible & (bins == k)
        if band.sum() >= 3:
            profile[k], known[k] = np.median(patch[band], axis=0), True
    if not known.any():  # eyes closed in the photo: a dark brown iris with a lighter rim
        tone = np.median(patch.reshape(-1, 3), axis=0) * 0.35
        profile[:] = tone
        profile[:4] = tone * 0.3
        return profile
    index = np.arange(_PROFILE_BINS)
    for channel in range(3):
        profile[:, channel] = np.interp(index, index[known], profile[known, channel])
    # The rim of an iris is not lighter than its middle: lighter pixels there are sclera.
    luma = profile @ LUMA
    level = float(np.median(luma[_MIDDLE]))
    profile[_RIM] *= np.minimum(level / np.maximum(luma[_RIM], 1.0), 1.0)[:, None]
    return profile
