"""The identity network's architecture and the release's crops."""

import numpy as np
import torch

from mimaface_cli.face.curricularface import CurricularFace, release_crop, release_identity_crop


def test_default_network_is_ir_101():
    with torch.device("meta"):
        network = CurricularFace()
        embedding, features = network.eval()(torch.zeros(2, 3, 112, 112))
    assert embedding.shape == (2, 512) and features.shape == (2, 25088)
    assert len(network.body) == 49
    convolutions = sum(
        isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3) for module in network.modules()
    )
    assert convolutions == 99  # the stem and two in each unit


def test_small_network_gives_different_embeddings_for_different_inputs():
    torch.manual_seed(0)
    network = CurricularFace(widths=(4, 8), depths=(1, 2), embedding=6, side=28).eval()
    embedding, features = network(torch.randn(2, 3, 112, 112))
    assert embedding.shape == (2, 6) and features.shape == (2, 8 * 28 * 28)
    assert not torch.allclose(embedding[0], embedding[1])


def test_release_crop_halves_the_released_window():
    rows, columns = np.mgrid[:256, :256].astype(np.float32)
    image = torch.from_numpy(np.stack([columns, rows, rows])[None])
    crop = release_crop(image)[0]
    # Halving 224 pixels averages pairs: the first pair is columns 16 and 17, rows 0 and 1.
    np.testing.assert_allclose(crop[0, 0].numpy(), 16.5 + 2 * np.arange(112), atol=1e-3)
    np.testing.assert_allclose(crop[1, :, 0].numpy(), 0.5 + 2 * np.arange(112), atol=1e-3)


def test_release_identity_crop_has_the_aligned_face_in_its_top_left_part():
    image = torch.zeros(1, 3, 512, 512)
    image[:, :, 128:384, 128:384] = 1  # a "face" that the matrix moves to the place of the 256 crop
    matrix = np.array([[[1.0, 0, -128], [0, 1, -128]]])
    crop = release_identity_crop(image, matrix)
    assert crop.shape == (1, 3, 112, 112)
    # 256 of 512 pixels shrink to rows and columns 0..127. The window keeps columns from 16 on, then halves.
    assert crop[0, 0, :63, :55].min() > 0.99
    assert crop[0, 0, 65:].max() < 0.01 and crop[0, 0, :, 57:].max() < 0.01
