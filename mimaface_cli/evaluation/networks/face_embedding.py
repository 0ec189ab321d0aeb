"""Is it the same person? CSIM as papers give it (CurricularFace), and an embedded stand-in (dlib) that they do not."""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.face.alignment import FACE_TEMPLATE_256, fit_similarity

DLIB_SAME = 0.6
"""dlib's own threshold: embeddings nearer than this count as one person."""
_RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
_LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
_DLIB_FIVE = (263, 362, 33, 133, 2)  # corners of the eyes, outer first, the subject's left eye leading; below the nose
_DLIB_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_DLIB_SIDE, _DLIB_MARGIN = 150, 0.25


class Embedder(Protocol):
    """Turns a face into a vector."""

    def __call__(self, image: np.ndarray, points: np.ndarray) -> np.ndarray: ...


def cosine_similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Of two vectors, -1..1."""
    return float(np.clip(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12), -1, 1))


def five_points(points: np.ndarray) -> np.ndarray:
    """Eyes, nose tip, mouth corners (5×2) as face recognition aligns by, from 478×2 landmarks: left in the picture
    first. Eyes are the means of their rings, which gaze does not move.
    """
    return np.stack([points[list(_RIGHT_EYE)].mean(0), points[list(_LEFT_EYE)].mean(0), *points[[4, 61, 291]]])


class CurricularEmbedder:
    """The paper's identity network on faces aligned as it was trained on (112×112). Raises WeightsError."""

    def __init__(self) -> None:
        self._model = pretrained.load_network("csim")

    def __call__(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Embedding (512) of a face in a picture (H×W×3 uint8) by its landmarks (478×2)."""
        import torch

        from mimaface_cli.face.curricularface import release_crop
        from mimaface_cli.face.warp import images_to_tensor, warp_image

        crop = warp_image(image, fit_similarity(five_points(points) - 0.5, FACE_TEMPLATE_256), 256)
        with torch.inference_mode():
            return self._model(release_crop(images_to_tensor(crop[None])))[0][0].numpy()


class DlibEmbedder:
    """dlib's ResNet (128 numbers), carried by the packages dlib-bin and face-recognition-models. It is not ArcFace: its
    figures must not be set beside those of papers.
    """

    def __init__(self) -> None:
        self._dlib, self._model = _dlib()

    def __call__(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Embedding (128) of a face in a picture (H×W×3 uint8) by its landmarks (478×2)."""
        dlib = self._dlib
        low, high = points.min(0), points.max(0)
        box = dlib.rectangle(*(int(v) for v in (*low, *high)))
        five = dlib.full_object_detection(box, [dlib.point(*(round(float(v)) for v in points[k])) for k in _DLIB_FIVE])
        chip = dlib.get_face_chip(np.ascontiguousarray(image), five, _DLIB_SIDE, _DLIB_MARGIN)
        return np.array(self._model.compute_face_descriptor(chip))


@lru_cache(maxsize=1)
def _dlib():
    import dlib

    return dlib, dlib.face_recognition_model_v1(str(_dlib_file()))


def dlib_missing() -> str | None:
    """What to say where the dlib stand-in cannot run, None where it can."""
    if _dlib_file() is None or importlib.util.find_spec("dlib") is None:
        return 'needs packages: pip install "mimaface[metrics]"'
    return None


def _dlib_file() -> Path | None:
    spec = importlib.util.find_spec("face_recognition_models")  # not imported: it needs what newer Pythons dropped
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, _DLIB_FILE)).is_file():
            return path
    return None
