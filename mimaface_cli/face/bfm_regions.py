"""Parts of an expression in a space whose coefficients have no names: what of it is seen at the eyes, what at the
lips."""

from collections.abc import Mapping

import numpy as np

from mimaface_cli.face.bfm import Bfm09

# Among the 68 landmarks of the model.
_EYES = np.r_[17:27, 36:48]  # brows and eyelids
_LIPS = np.r_[4:13, 48:68]  # chin and lips
_SMALL = 1e-3  # of the mean curvature: keeps coefficients that neither region shows at rest


def expression_parts(model: Bfm09) -> Mapping[str, np.ndarray]:
    """For the regions eyes and lips, the (64, 64) map of a change of expression to the one that moves the region's
    landmarks alike and, as far as the basis can, leaves the other's still (least squares)."""
    rows = model.expression_basis.reshape(-1, 3, model.expression_basis.shape[1]).astype(np.float64)
    curvature = {}
    for name, which in (("eyes", _EYES), ("lips", _LIPS)):
        basis = rows[model.landmarks[which]].reshape(-1, rows.shape[-1])
        curvature[name] = basis.T @ basis
    both = sum(curvature.values())
    both = both + _SMALL * np.trace(both) / len(both) * np.eye(len(both))
    return {name: np.linalg.solve(both, own) for name, own in curvature.items()}
