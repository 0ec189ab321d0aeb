"""Similarity transforms and the 8-bit warp (mimaface_cli.face.alignment, .warp)."""

import re
from collections.abc import Iterator

import numpy as np

from mimaface_cli.face.alignment import box_similarity, fit_similarity, invert, square_box, transform_points
from mimaface_cli.face.warp import warp_image
from tests.goldens.fixture import Check, Fixture, absolute, share_beyond


def check(fixture: Fixture) -> Iterator[Check]:
    arrays, tolerance = fixture.arrays, fixture.spec["tolerance"]
    face, box = (np.array(fixture.spec["templates"][n]) for n in ("mean_face_lm5p_256", "mean_box_lm4p_512"))
    points, expected = arrays["points5"].astype(np.float64), arrays["affine256"]
    fitted = np.stack([fit_similarity(p, face) for p in points])

    allowed = tolerance["affine256"]
    yield absolute("affine256 linear", fitted[..., :2], expected[..., :2], allowed["matrix_entries"]["linear_part"])
    yield absolute("affine256 translation", fitted[..., 2], expected[..., 2], allowed["matrix_entries"]["translation"])
    ours, theirs = (
        np.stack([transform_points(m, p) for m, p in zip(ms, points, strict=True)]) for ms in (fitted, expected)
    )
    yield absolute("affine256 mapped landmarks", ours, theirs, allowed["mapped_landmarks_pixels"])
    yield absolute(
        "affine256_from_float64_points",
        fitted,
        arrays["affine256_from_float64_points"],
        **tolerance["affine256_from_float64_points"],
    )

    allowed = tolerance["box_and_quad_transforms"]
    yield absolute("affine256_inverse", np.stack([invert(m) for m in expected]), arrays["affine256_inverse"], **allowed)
    boxes = np.stack([square_box(cloud) for cloud in arrays["landmarks_cloud"]])
    yield absolute("boxes", boxes, arrays["boxes"], **allowed)
    moved = np.stack([box_similarity(b, t) for b, t in zip(arrays["boxes"], arrays["targets"], strict=True)])
    yield absolute("box_transform", moved, arrays["box_transform"], **allowed)
    moved = np.stack([box_similarity(quad, box) for quad in arrays["quads"]])
    yield absolute("quad_transform", moved, arrays["quad_transform"], **allowed)

    levels, percent = re.match(r"at most (\d+) gr[ae]y levels? on up to ([\d.]+)%", tolerance["warped_uint8"]).groups()
    expected = arrays["warped_uint8"]
    warped = warp_image(arrays["image_uint8"], arrays["warp_matrix"], expected.shape[1::-1])
    yield absolute("warped_uint8 levels", warped, expected, float(levels))
    yield share_beyond("warped_uint8 share", warped, expected, 0, float(percent) / 100, channel_axis=-1)
