"""Parts of an expression in a space whose coefficients have no names: what of it is seen in each region of a face."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from mimaface_cli.face.bfm import Bfm09

# Among the 68 landmarks of the model.
_BROWS, _LIDS, _MOUTH = np.r_[17:27], np.r_[36:48], np.r_[4:13, 48:68]  # chin and lips
EYES_AND_LIPS = MappingProxyType({"eyes": np.r_[_BROWS, _LIDS], "lips": _MOUTH})
MOUTH_EYES_BROWS = MappingProxyType({"mouth": _MOUTH, "eyes": _LIDS, "brows": _BROWS})
_SMALL = 1e-3  # of the mean curvature: keeps coefficients that no region shows at rest


def expression_parts(model: Bfm09, regions: Mapping[str, np.ndarray] = EYES_AND_LIPS) -> Mapping[str, np.ndarray]:
    """For each region, landmarks of the 68, the (64, 64) map of a change of expression to the one that moves the
    region's landmarks alike and, as far as the basis can, leaves the others' still (least squares).
    """
    rows = model.expression_basis.reshape(-1, 3, model.expression_basis.shape[1]).astype(np.float64)
    curvature = {}
    for name, which in regions.items():
        basis = rows[model.landmarks[which]].reshape(-1, rows.shape[-1])
        curvature[name] = basis.T @ basis
    total = sum(curvature.values())
    total = total + _SMALL * np.trace(total) / len(total) * np.eye(len(total))
    return {name: np.linalg.solve(total, own) for name, own in curvature.items()}
