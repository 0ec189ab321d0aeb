"""What the diffusion engine knows of the photo: its square, where the face lies, coefficients and appearance."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPVisionModel

from mimaface_cli.engines.diffusion import clip_encoder
from mimaface_cli.engines.diffusion.pipeline import Appearance
from mimaface_cli.face import alignment as align
from mimaface_cli.face.curricularface import CurricularFace, release_identity_crop
from mimaface_cli.face.d3dfr import CoefficientNet, split_coefficients
from mimaface_cli.face.extract_bfm09 import AlignedFace, align_face, predict_coefficients
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.warp import images_to_tensor
from mimaface_cli.motion.coefficients import Coefficients


@dataclass(frozen=True)
class PortraitNetworks:
    """The networks that look at the source, once: coefficients, appearance, and for the released tokens identity."""

    coefficients: CoefficientNet
    clip: CLIPVisionModel
    identity: CurricularFace | None


@dataclass(frozen=True)
class PortraitFeatures:
    """face: its square and crops; coefficients: (261,) in the order of `d3dfr.FIELDS`."""

    face: AlignedFace
    coefficients: np.ndarray
    appearance: Appearance

    @property
    def place(self) -> np.ndarray:
        """(2, 3) transform of the 256 crop to the 512 square."""
        return align.invert(self.face.to_crop)

    @property
    def motion(self) -> Coefficients:
        """What of it moves, one frame."""
        groups = split_coefficients(self.coefficients.astype(np.float64)[None])
        pose = np.concatenate([groups["angles"], groups["translation"]], 1)
        return Coefficients(groups["expression"], pose, groups["gaze"])


def extract_portrait_features(
    image: np.ndarray, face: Face, readers: PortraitNetworks, device: torch.device
) -> PortraitFeatures:
    """A photo H×W×3 uint8 RGB and the face found in it. The readers leave the device again: they are done."""
    aligned = align_face(image, face)
    modules = [module for module in (readers.coefficients, readers.clip, readers.identity) if module is not None]
    for module in modules:
        module.to(device)
    with torch.inference_mode():
        coefficients = predict_coefficients(readers.coefficients, [aligned])[0]
        size = readers.clip.config.image_size
        tokens = clip_encoder.encode_image_tokens(readers.clip, clip_encoder.preprocess_image(aligned.square, size))
        identity = None if readers.identity is None else extract_identity(readers.identity, aligned)
    for module in modules:
        module.to("cpu")
    # Clones: tensors of inference mode could not enter the networks' ordinary ones.
    return PortraitFeatures(
        aligned, coefficients, Appearance(tokens.clone(), None if identity is None else identity.clone())
    )


def extract_identity(net: CurricularFace, face: AlignedFace) -> Tensor:
    """ArcFace features (1, 25088) by the release's own crop."""
    first = next(net.parameters())
    crop = release_identity_crop(images_to_tensor(face.square[None]), face.to_crop[None])
    return net(crop.to(first.device, first.dtype))[1]
