"""The paper's own estimator of expression, pose and gaze (D3DFR in the bfm09 space), picture by picture."""

import numpy as np

from mimaface_cli.face.align import FACE_TEMPLATE_256, fit_similarity
from mimaface_cli.metrics import networks
from mimaface_cli.metrics.identity import five_points


class Estimator:
    """Raises WeightsError where the network is not there."""

    def __init__(self) -> None:
        self._model = networks.load("bfm09")

    def __call__(self, image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Expression (64), pose (6: angles in rad, translation) and gaze (4) of a face in a picture (H×W×3 uint8) by
        its landmarks (478×2)."""
        import torch

        from mimaface_cli.face.d3dfr import split
        from mimaface_cli.face.warp import image_tensor, warp

        crop = warp(image, fit_similarity(five_points(points) - 0.5, FACE_TEMPLATE_256), 256)
        with torch.inference_mode():
            groups = split(self._model(image_tensor(crop[None]))[0].numpy().astype(np.float64))
        return groups["expression"], np.concatenate([groups["angles"], groups["translation"]]), groups["gaze"]
