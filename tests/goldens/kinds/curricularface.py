"""The identity network and the release's crops of it (mimaface_cli.face.curricularface)."""

from collections.abc import Iterator
from itertools import groupby

from mimaface_cli.face.curricularface import CurricularFace, release_crop, release_identity_crop
from mimaface_cli.face.warp import images_to_tensor, warp_tensor
from tests.goldens.fixture import Check, Fixture, absolute, relative_to_max


def check(fixture: Fixture) -> Iterator[Check]:
    arrays, tolerance = fixture.arrays, fixture.spec["tolerance"]
    shapes = {key: shape for key, shape, _ in fixture.spec["state_dict"]}
    widths = [shape[0] for key, shape in shapes.items() if key.endswith("res_layer.3.weight")]
    stages = [(width, len(list(units))) for width, units in groupby(widths)]
    embedding, features = shapes["output_layer.3.weight"]
    model = CurricularFace(
        widths=tuple(width for width, _ in stages),
        depths=tuple(depth for _, depth in stages),
        embedding=embedding,
        side=round((features / widths[-1]) ** 0.5),
    )
    yield fixture.fill(model)

    def compare(faces, embedding: str | None, features: str | None) -> Iterator[Check]:
        for name, computed in zip((embedding, features), model(faces), strict=True):
            if name in arrays:
                yield relative_to_max(name, computed, arrays[name], tolerance["relative_to_max"])

    yield from compare(images_to_tensor(arrays["image112_uint8"]), "embedding", "deep_features")
    for origin in [origin for origin in ("256", "S") if f"crop112_from_{origin}" in arrays]:
        crop = release_crop(images_to_tensor(arrays[f"image{origin}_uint8"]))
        yield absolute(f"crop from {origin}", crop, arrays[f"crop112_from_{origin}"], **tolerance["crops_and_warp"])
        yield from compare(crop, f"embedding_from_{origin}", f"deep_from_{origin}")

    images, matrices = images_to_tensor(arrays["imageS_uint8"]), arrays["warp_matrix"]
    warped = warp_tensor(images, matrices, images.shape[-1])[:, :, ::4, ::4]
    yield absolute("warped", warped, arrays["warped_S_every4th_pixel"], **tolerance["crops_and_warp"])
    crop = release_identity_crop(images, matrices)
    yield absolute("identity crop", crop, arrays["crop112_identity_path"], **tolerance["crops_and_warp"])
    yield from compare(crop, None, "id25088_identity_path")
