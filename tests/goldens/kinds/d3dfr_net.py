"""The coefficient network (mimaface_cli.face.d3dfr)."""

import re
from collections.abc import Iterator

from mimaface_cli.face.d3dfr import CoefficientNet, split_coefficients
from mimaface_cli.face.warp import images_to_tensor
from tests.goldens.fixture import Check, Fixture, relative_to_max

_SLICES = {"id": "identity", "exp": "expression", "tex": "texture", "gamma": "illumination"}


def check(fixture: Fixture) -> Iterator[Check]:
    shapes = {key: shape for key, shape, _ in fixture.spec["state_dict"]}
    units = [m.groups() for key in shapes if (m := re.fullmatch(r"backbone\.layer(\d)\.(\d+)\.conv1\.weight", key))]
    model = CoefficientNet(
        heads=tuple(shape[0] for key, shape in shapes.items() if re.fullmatch(r"fianl_layers\.\d+\.weight", key)),
        width=shapes["backbone.conv1.weight"][0],
        depths=tuple(sum(stage == str(i) for stage, _ in units) for i in (1, 2, 3, 4)),
    )
    yield fixture.fill(model)
    tolerance = fixture.spec["tolerance"]["relative_to_max"]
    output, expected = model(images_to_tensor(fixture.arrays["image_uint8"])), fixture.arrays["output"]
    yield relative_to_max("output", output, expected, tolerance)
    groups = split_coefficients(output)
    for name, (start, stop) in fixture.spec["output_slices"].items():
        if (ours := _SLICES.get(name, name)) in groups:
            yield relative_to_max(f"slice {name}", groups[ours], expected[:, start:stop], tolerance)
