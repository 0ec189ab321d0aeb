"""Identity embeddings of faces.

Papers compute CSIM with CurricularFace; dlib is a substitute.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.face.alignment import FACE_TEMPLATE_256, fit_similarity

if TYPE_CHECKING:
    from torch import nn

_RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
_LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
_NOSE_AND_MOUTH = (4, 61, 291)  # tip of the nose, corners of the mouth
# dlib's five landmarks: corners of the eyes, the outer one first, the subject's left eye first; below the nose.
_DLIB_LANDMARKS = (263, 362, 33, 133, 2)
_DLIB_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_DLIB_SIDE, _DLIB_MARGIN = 150, 0.25


def cosine_similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Return the cosine similarity, -1 to 1, of two vectors."""
    return float(np.clip(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12), -1, 1))


def alignment_points(points: np.ndarray) -> np.ndarray:
    """Return the five points (5, 2) by which face recognition aligns faces.

    Args:
        points: (478, 2) landmarks in pixels.

    Returns:
        Eyes (left in the image first), tip of the nose, corners of the mouth. An eye is the mean of its outline, which
        gaze does not move.
    """
    right_eye, left_eye = points[list(_RIGHT_EYE)].mean(0), points[list(_LEFT_EYE)].mean(0)
    return np.stack([right_eye, left_eye, *points[list(_NOSE_AND_MOUTH)]])


class CurricularEmbedder:
    """CurricularFace on faces that are aligned as in its training (112×112).

    Raises WeightsError.
    """

    def __init__(self) -> None:
        self._model: nn.Module = pretrained.load_network("csim")

    def __call__(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return the embedding (512) of the face with landmarks (478, 2) in an H×W×3 uint8 image."""
        import torch

        from mimaface_cli.face.curricularface import release_crop
        from mimaface_cli.face.warp import images_to_tensor, warp_image

        crop = warp_image(image, fit_similarity(alignment_points(points) - 0.5, FACE_TEMPLATE_256), 256)
        with torch.inference_mode():
            return self._model(release_crop(images_to_tensor(crop[None])))[0][0].numpy()


class DlibEmbedder:
    """The ResNet of dlib, from the packages dlib-bin and face-recognition-models.

    It is not ArcFace: its distances must not be compared with those of papers.
    """

    def __init__(self) -> None:
        self._dlib, self._model = _load_dlib()

    def __call__(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return the embedding (128) of the face with landmarks (478, 2) in an H×W×3 uint8 image."""
        dlib = self._dlib
        low, high = points.min(0), points.max(0)
        box = dlib.rectangle(*(int(value) for value in (*low, *high)))
        landmarks = [dlib.point(*(round(float(value)) for value in points[k])) for k in _DLIB_LANDMARKS]
        shape = dlib.full_object_detection(box, landmarks)
        chip = dlib.get_face_chip(np.ascontiguousarray(image), shape, _DLIB_SIDE, _DLIB_MARGIN)
        return np.array(self._model.compute_face_descriptor(chip))


@lru_cache(maxsize=1)
def _load_dlib() -> tuple[Any, Any]:
    """Return the dlib module and its recognition model."""
    if problem := missing_dlib():
        raise WeightsError(problem)
    import dlib

    return dlib, dlib.face_recognition_model_v1(str(_dlib_file()))


def missing_dlib() -> str | None:
    """Return why dlib cannot run and the command that installs it, or None if it can."""
    if _dlib_file() is None or importlib.util.find_spec("dlib") is None:
        return 'needs dlib; run pip install "mimaface[metrics]"'
    return None


def _dlib_file() -> Path | None:
    # The package is not imported, because it needs modules that newer versions of Python do not have.
    spec = importlib.util.find_spec("face_recognition_models")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        path = Path(folder, _DLIB_FILE)
        if path.is_file():
            return path
    return None
