"""Bounding boxes of masks."""

import numpy as np

Box = tuple[slice, slice]  # rows and columns


def find_mask_box(mask: np.ndarray, margin: int = 0) -> Box | None:
    """Return the bounding box of a mask, within the image.

    Args:
        mask: (H, W) bool.
        margin: Pixels by which the box is larger on all sides.

    Returns:
        Rows and columns, or None for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    height, width = mask.shape
    return (
        slice(max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin)),
    )
