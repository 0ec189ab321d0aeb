"""face478: the embedded morphable model of MediaPipe's 478 landmarks, built by `mimaface_cli.builders.face478`.

V = mean + A·identity(80) + B·expression(64); albedo = albedo_mean + C·texture(80). The first 52 columns of B have the
names of MediaPipe's blendshape scores. The other 12 are the principal components of the residual.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, IDENTITY_DIM, TEXTURE_DIM
from mimaface_cli.weights.model_file import read_model_file

VERTICES = 478

_SHAPES = {
    "mean": (VERTICES, 3),
    "identity_basis": (VERTICES, 3, IDENTITY_DIM),
    "expression_basis": (VERTICES, 3, EXPRESSION_DIM),
    "albedo_mean": (VERTICES, 3),
    "texture_basis": (VERTICES, 3, TEXTURE_DIM),
    "noise": (VERTICES,),
    "score_bias": (len(BLENDSHAPES),),
    "score_identity": (len(BLENDSHAPES), IDENTITY_DIM),
    "score_expression": (len(BLENDSHAPES), EXPRESSION_DIM),
    "score_error": (len(BLENDSHAPES), len(BLENDSHAPES)),
}
_TRIANGLE_FIELDS = ("face", "eyes", "mouth")


@dataclass(frozen=True)
class Face478:
    """The face478 model. The face spans about ±1 units; x to the subject's left, y up, z to the camera.

    Attributes:
        mean: (478, 3) neutral mean face.
        identity_basis: (478, 3, 80), one standard deviation per column.
        expression_basis: (478, 3, 64). Named columns are for score 1; the others are one standard deviation.
        albedo_mean: (478, 3) in 0..255.
        texture_basis: (478, 3, 80), one standard deviation per column.
        face: (T, 3) triangles of the skin.
        eyes: (T, 3) triangles of the eye openings.
        mouth: (T, 3) triangles of the mouth opening.
        noise: (478,) residual of each landmark in pixels of the crop.
        score_bias: (52,) constant term of the score logits, see `mimaface_cli.face.blendshape_scores`.
        score_identity: (52, 80) change of the score logits with identity.
        score_expression: (52, 64) change of the score logits with expression.
        score_error: (52, 52) covariance of the landmark model's scores minus the true coefficients.
        version: Version of the build, derived from its content.
    """

    mean: np.ndarray
    identity_basis: np.ndarray
    expression_basis: np.ndarray
    albedo_mean: np.ndarray
    texture_basis: np.ndarray
    face: np.ndarray
    eyes: np.ndarray
    mouth: np.ndarray
    noise: np.ndarray
    score_bias: np.ndarray
    score_identity: np.ndarray
    score_expression: np.ndarray
    score_error: np.ndarray
    version: str

    def shape(self, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Return the unposed vertices (478, 3) for identity (80,) and expression (64,) coefficients."""
        return self.mean + self.identity_basis @ identity + self.expression_basis @ expression

    def albedo(self, texture: np.ndarray) -> np.ndarray:
        """Return the unlit vertex colors (478, 3), RGB about 0..255, for texture coefficients (80,)."""
        return self.albedo_mean + self.texture_basis @ texture

    @property
    def triangles(self) -> np.ndarray:
        """All triangles (T, 3): skin, eye openings, mouth opening."""
        return np.concatenate([self.face, self.eyes, self.mouth])


def load(path: Path | None = None) -> Face478:
    """Load the model.

    Args:
        path: The model file, by default the one that ships with the package.

    Raises:
        WeightsError: When the file is missing or damaged.
    """
    if path is None:
        from mimaface_cli.weights.locate import locate

        path = locate("face478")
    return _load(Path(path))


@lru_cache(maxsize=2)
def _load(path: Path) -> Face478:
    return read_model_file(path, "a face478 model", _build)


def _build(file: dict[str, np.ndarray]) -> Face478 | None:
    arrays = {name: file[name].astype(np.float64) for name in _SHAPES}
    triangles = {name: file[name].astype(np.int32) for name in _TRIANGLE_FIELDS}
    return Face478(**arrays, **triangles, version=str(file["version"])) if _is_valid(arrays, triangles) else None


def _is_valid(arrays: dict[str, np.ndarray], triangles: dict[str, np.ndarray]) -> bool:
    for name, shape in _SHAPES.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            return False
    for corners in triangles.values():
        if corners.ndim != 2 or corners.shape[1] != 3:
            return False
        if corners.min(initial=0) < 0 or corners.max(initial=0) >= VERTICES:
            return False
    return bool(np.linalg.eigvalsh(arrays["score_error"])[0] > 0)
