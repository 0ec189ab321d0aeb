"""Split of a BFM expression into facial regions, because the BFM coefficients have no names."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from mimaface_cli.face.bfm import Bfm09

# Indices into the 68 landmarks of the model.
_BROWS, _LIDS, _MOUTH = np.r_[17:27], np.r_[36:48], np.r_[4:13, 48:68]  # the mouth with chin and lips
EYES_AND_LIPS = MappingProxyType({"eyes": np.r_[_BROWS, _LIDS], "lips": _MOUTH})
MOUTH_EYES_BROWS = MappingProxyType({"mouth": _MOUTH, "eyes": _LIDS, "brows": _BROWS})
# Ridge relative to the mean diagonal: coefficients that move no region stay at rest.
_RIDGE = 1e-3


def expression_parts(model: Bfm09, regions: Mapping[str, np.ndarray] = EYES_AND_LIPS) -> Mapping[str, np.ndarray]:
    """Compute, for each region, the map of a change of expression to the part in that region.

    The part moves the region's landmarks like the whole change does. As far as the basis allows, it leaves the
    landmarks of the other regions at rest (least squares).

    Args:
        model: The Basel Face Model.
        regions: Indices into the 68 landmarks for each region.

    Returns:
        A (64, 64) matrix for each region.
    """
    rows = model.expression_basis.reshape(-1, 3, model.expression_basis.shape[1]).astype(np.float64)
    gram = {}
    for name, landmarks in regions.items():
        basis = rows[model.landmarks[landmarks]].reshape(-1, rows.shape[-1])
        gram[name] = basis.T @ basis
    total = np.sum(list(gram.values()), axis=0)
    total = total + _RIDGE * np.trace(total) / len(total) * np.eye(len(total))
    return {name: np.linalg.solve(total, region_gram) for name, region_gram in gram.items()}
