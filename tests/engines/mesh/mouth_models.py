"""Networks of face parts with random weights, as files."""

from pathlib import Path

import numpy as np

from mimaface_cli.engines.mesh.face_part import FacePart
from mimaface_cli.engines.mesh.mouth_crop import MOUTH
from mimaface_cli.engines.mesh.part_network import content_version, layer_shapes

CHANNELS = (16, 32, 64, 96)


def make_arrays(
    strength: float = 1.0, seed: int = 0, channels: tuple[int, int, int, int] = CHANNELS, part: FacePart = MOUTH
) -> dict:
    """Return the arrays of a model file; strength: factor on what the network adds."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in layer_shapes(part, channels).items():
        scale = np.sqrt(2 / np.prod(shape[1:])) * (strength if name == "o" else 1)
        arrays[f"{name}.weight"] = (rng.normal(size=shape) * scale).astype(np.float32)
        arrays[f"{name}.bias"] = (rng.normal(size=shape[0]) * 0.1 * scale).astype(np.float32)
    arrays["condition_low"] = np.full(part.condition_dim, -1, np.float32)
    arrays["condition_high"] = np.full(part.condition_dim, 1, np.float32)
    arrays["version"] = np.array(content_version(arrays))
    return arrays


def write_model(
    path: Path,
    strength: float = 1.0,
    seed: int = 0,
    part: FacePart = MOUTH,
    channels: tuple[int, int, int, int] = CHANNELS,
    **changes,
) -> Path:
    """Write a model file. `changes` replaces arrays; None removes one."""
    arrays = make_arrays(strength, seed, channels, part) | changes
    if "version" not in changes:
        content = {name: array for name, array in arrays.items() if name != "version" and array is not None}
        arrays["version"] = np.array(content_version(content))
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path
