"""face478: the embedded morphable model over MediaPipe's 478 landmarks, built by `mimaface_cli.builders.face478`.

V = mean + A·identity(80) + B·expression(64); albedo = mean + C·texture(80). The first 52 columns of B bear the
names of MediaPipe's blendshape scores; the other 12 are principal components of what those leave over.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from mimaface_cli.errors import WeightsError, brief
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, IDENTITY_DIM, TEXTURE_DIM

VERTICES = 478


@dataclass(frozen=True)
class Face478:
    """The built model. Units: the face spans about ±1; x to the subject's left, y up, z to the camera.

    mean 478×3 (neutral); identity_basis 478×3×80 and texture_basis 478×3×80 (one standard deviation a column);
    expression_basis 478×3×64 (named columns: score 0..1; the rest: one standard deviation); albedo_mean 478×3 in
    0..255; face, eyes, mouth: triangles T×3 of the skin, the eye openings and the mouth opening; noise: 478, the
    residual of a landmark in units of the crop's pixels; score_bias 52, score_identity 52×80, score_expression 52×64:
    what the landmark model would score (see `mimaface_cli.face.blendshape_scores`); score_error 52×52: the covariance of its scores
    less the coefficients that a face has; version: hash-like name of the build.
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
        """Identity (80) and expression (64) coefficients to unposed vertices 478×3."""
        return self.mean + self.identity_basis @ identity + self.expression_basis @ expression

    def albedo(self, texture: np.ndarray) -> np.ndarray:
        """Texture coefficients (80) to unlit vertex colors 478×3, RGB about 0..255."""
        return self.albedo_mean + self.texture_basis @ texture

    @property
    def triangles(self) -> np.ndarray:
        """All triangles: skin, eye openings, mouth opening."""
        return np.concatenate([self.face, self.eyes, self.mouth])


def load(path: Path | None = None) -> Face478:
    """The model at `path`, by default the one that ships. Raises WeightsError when it is missing or damaged."""
    if path is None:
        from mimaface_cli.weights.locate import locate

        path = locate("face478")
    return _load(Path(path))


@lru_cache(maxsize=2)
def _load(path: Path) -> Face478:
    shapes = {
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
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float64) for name in shapes}
            triangles = {name: file[name].astype(np.int32) for name in ("face", "eyes", "mouth")}
            version = str(file["version"])
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged bytes
        raise WeightsError(
            f"{path}: not a face478 model ({brief(error)}); restore it from the project's weights/"
        ) from error
    sound = all(arrays[name].shape == shape and np.isfinite(arrays[name]).all() for name, shape in shapes.items())
    for corners in triangles.values():
        sound = sound and corners.ndim == 2 and corners.shape[1] == 3
        sound = sound and corners.min(initial=0) >= 0 and corners.max(initial=0) < VERTICES
    if not sound or np.linalg.eigvalsh(arrays["score_error"])[0] <= 0:
        raise WeightsError(f"{path}: not a face478 model (wrong shapes); restore it from the project's weights/")
    return Face478(**arrays, **triangles, version=version)
