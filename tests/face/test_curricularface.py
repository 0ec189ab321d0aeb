"""The identity network's shape and the release's crops."""

import numpy as np
import torch

from mimaface_cli.face.curricularface import CurricularFace, release_crop, release_identity_crop


def test_the_full_network_is_ir_101():
    with torch.device("meta"):
        model = CurricularFace()
        embedding, features = model.eval()(torch.zeros(2, 3, 112, 112))
    assert embedding.shape == (2, 512) and features.shape == (2, 25088)
    assert len(model.body) == 49
    convolutions = sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in model.modules())
    assert convolutions == 99  # the stem and two in each unit


def test_a_small_network_separates_inputs():
    torch.manual_seed(0)
    model = CurricularFace(widths=(4, 8), depths=(1, 2), embedding=6, side=28).eval()
    embedding, features = model(torch.randn(2, 3, 112, 112))
    assert embedding.shape == (2, 6) and features.shape == (2, 8 * 28 * 28)
    assert not torch.allclose(embedding[0], embedding[1])


def test_the_crop_is_the_released_window():
    rows, columns = np.mgrid[:256, :256].astype(np.float32)
    picture = torch.from_numpy(np.stack([columns, rows, rows])[None])
    crop = release_crop(picture)[0]
    # Halving 224 pixels averages pairs: the first is columns 16, 17 and rows 0, 1.
    np.testing.assert_allclose(crop[0, 0].numpy(), 16.5 + 2 * np.arange(112), atol=1e-3)
    np.testing.assert_allclose(crop[1, :, 0].numpy(), 0.5 + 2 * np.arange(112), atol=1e-3)


def test_an_aligned_face_lands_in_the_corner_of_the_full_canvas():
    picture = torch.zeros(1, 3, 512, 512)
    picture[:, :, 128:384, 128:384] = 1  # a "face" that the matrix moves to the 256 crop's place
    matrix = np.array([[[1.0, 0, -128], [0, 1, -128]]])
    crop = release_identity_crop(picture, matrix)
    assert crop.shape == (1, 3, 112, 112)
    # 256 of 512 shrink to rows and columns 0..127, of which the window keeps columns from 16 on, then halves.
    assert crop[0, 0, :63, :55].min() > 0.99
    assert crop[0, 0, 65:].max() < 0.01 and crop[0, 0, :, 57:].max() < 0.01
