"""Mixed coefficients, crops and the driving render (mimaface_cli.engines.diffusion.condition_render)."""

import re
from collections.abc import Iterator

import numpy as np
import torch

from mimaface_cli.engines.diffusion.condition_render import convert_render, warp_render
from mimaface_cli.face.bfm import Camera, from_arrays
from mimaface_cli.face.bfm_render import render_face
from mimaface_cli.face.d3dfr import mix_coefficients, split_coefficients
from mimaface_cli.face.warp import images_to_tensor, warp_tensor
from tests.goldens.fixture import Check, Fixture, absolute, share_beyond
from tests.goldens.kinds.bfm import camera_of, percent


def check(fixture: Fixture) -> Iterator[Check]:
    arrays, tolerance = fixture.arrays, fixture.spec["tolerance"]
    faces = fixture.neighbor(re.search(r"([\w.-]+)\.npz", fixture.spec["bfm_model"])[1])
    model, camera = from_arrays(faces.arrays), camera_of(faces) if faces.path.exists() else Camera()
    size = arrays["src_uint8"].shape[0]

    for name, images in (("src", arrays["src_uint8"][None]), ("ref", arrays["ref_uint8"])):
        matrices = arrays[f"{name}_matrix256"].reshape(-1, 2, 3)
        crops = warp_tensor(images_to_tensor(images), matrices, camera.size)
        expected, step = _stored(arrays, f"crop256_{name}")
        yield absolute(f"crop256_{name}", crops[:, :, ::step, ::step], expected, **tolerance["crops"])

    mixed = mix_coefficients(arrays["coeff_src"], arrays["coeff_ref"])
    yield absolute("coeffBlendSrcRef", mixed, arrays["coeffBlendSrcRef"], tolerance["coeffBlendSrcRef"])
    computed: dict[str, list] = {"imRef_d3dBlendSrc256": [], "imRef_d3dBlendSrc": [], "maskTrg": []}
    landmarks = []
    for blended, driver, inverse in zip(mixed, arrays["coeff_ref"], arrays["ref_inverse"], strict=True):
        face = model.face(split_coefficients(blended))
        landmarks.append(camera.project(face.vertices[model.landmarks])[0])
        crop = convert_render(render_face(model, face, camera))
        of_driver = convert_render(render_face(model, model.face(split_coefficients(driver)), camera))
        computed["imRef_d3dBlendSrc256"].append(crop[0])
        computed["imRef_d3dBlendSrc"].append(warp_render(*crop, inverse, size)[0])
        computed["maskTrg"].append(warp_render(*of_driver, inverse, size)[1])  # the driver's own face, not the blend
    yield absolute("lmk", np.stack(landmarks), arrays["lmk"], tolerance["lmk_pixels"])
    allowed, few = tolerance["render"]["atol"], percent(tolerance["render"]["note"])
    for name, images in computed.items():
        expected, step = _stored(arrays, name)
        yield share_beyond(name, torch.stack(images)[:, :, ::step, ::step], expected, allowed, few, channel_axis=1)


def _stored(arrays: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, int]:
    """The array behind NAME[_everyNth][_float16], and N."""
    for key, values in arrays.items():
        if match := re.fullmatch(rf"{name}(?:_every(\d+)(?:nd|th))?(?:_float16)?", key):
            return values, int(match[1] or 1)
    raise KeyError(name)
