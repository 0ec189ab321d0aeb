"""Features of the portrait for the diffusion engine: its square, the face's place, coefficients and appearance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPVisionModel

from mimaface_cli.engines.diffusion.clip_encoder import encode_image_tokens, input_size, preprocess_image
from mimaface_cli.engines.diffusion.device import is_out_of_memory, release_memory
from mimaface_cli.engines.diffusion.pipeline import Appearance
from mimaface_cli.face.alignment import invert
from mimaface_cli.face.curricularface import CurricularFace, release_identity_crop
from mimaface_cli.face.d3dfr import CoefficientNet, split_coefficients
from mimaface_cli.face.extract_bfm09 import AlignedFace, align_face, predict_coefficients
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.warp import images_to_tensor
from mimaface_cli.motion.coefficients import Coefficients


@dataclass(frozen=True)
class PortraitNetworks:
    """The networks that see the portrait, once.

    Attributes:
        coefficients: Predicts the coefficients.
        clip: Encodes the appearance.
        identity: Extracts ArcFace features for `ReleaseMIA`, or None.
    """

    coefficients: CoefficientNet
    clip: CLIPVisionModel
    identity: CurricularFace | None


@dataclass(frozen=True)
class PortraitFeatures:
    """Features of a portrait.

    Attributes:
        face: The aligned face: its square and crops.
        coefficients: (261,) in the order of `d3dfr.FIELDS`.
        appearance: CLIP tokens and identity features.
    """

    face: AlignedFace
    coefficients: np.ndarray
    appearance: Appearance

    @property
    def place(self) -> np.ndarray:
        """(2, 3) transform of the 256 crop to the 512 square."""
        return invert(self.face.to_crop)

    @property
    def motion(self) -> Coefficients:
        """Expression, pose and gaze, one frame."""
        groups = split_coefficients(self.coefficients.astype(np.float64)[None])
        pose = np.concatenate([groups["angles"], groups["translation"]], 1)
        return Coefficients(groups["expression"], pose, groups["gaze"])


def extract_portrait_features(
    image: np.ndarray, face: Face, networks: PortraitNetworks, device: torch.device
) -> PortraitFeatures:
    """Extract the features of a photo. The networks leave the device afterwards.

    Without memory on the device, they run on the CPU.

    Args:
        image: (H, W, 3) uint8 RGB photo.
        face: The face detected in it.
        networks: The networks.
        device: Device to run them on.
    """
    aligned = align_face(image, face)
    # Typed Any: transformers wraps `to` with a signature that takes no device.
    modules: list[Any] = [networks.coefficients, networks.clip]
    if networks.identity is not None:
        modules.append(networks.identity)
    try:
        for module in modules:
            module.to(device)
        features = _extract_features(aligned, networks)
    except RuntimeError as error:
        if device.type == "cpu" or not is_out_of_memory(error):
            raise
        features = None
    for module in modules:
        module.to("cpu")
    release_memory(device)
    return features or _extract_features(aligned, networks)


@torch.no_grad()
def _extract_features(face: AlignedFace, networks: PortraitNetworks) -> PortraitFeatures:
    """Extract the features of an aligned face with the networks where they are."""
    coefficients = predict_coefficients(networks.coefficients, [face])[0]
    pixels = preprocess_image(face.square, input_size(networks.clip))
    tokens = encode_image_tokens(networks.clip, pixels)
    identity = None if networks.identity is None else extract_identity(networks.identity, face)
    return PortraitFeatures(face, coefficients, Appearance(tokens, identity))


def extract_identity(net: CurricularFace, face: AlignedFace) -> Tensor:
    """Extract ArcFace features (1, 25088) from the release's own crop."""
    first = next(net.parameters())
    crop = release_identity_crop(images_to_tensor(face.square[None]), face.to_crop[None])
    return net(crop.to(first.device, first.dtype))[1]
