"""The rule that generates a fixture's weights: every parameter follows from its name, shape and a seed string.

Key K of shape S under seed string SEED gets standard normal noise (float64, then cast to float32) from
numpy.random.RandomState(crc32(SEED + K)). Its kind determines the value from the noise n, in float32:
running_mean 0.1 n; running_var 0.1 |n| + 0.9; norm_weight 1 + 0.1 n; prelu 0.25 + 0.05 n; vector 0.05 n;
matrix n / sqrt(prod(S[1:])); counter 0; keep: as constructed.
"""

import zlib

import numpy as np
import torch
from torch import nn

_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._BatchNorm)
_BY_NAME = {
    "running_var": "running_var",
    "running_mean": "running_mean",
    "num_batches_tracked": "counter",
    "pe": "keep",
}
# Other names of the kinds in fixtures.
ALIASES = {"tensor": "matrix", "num_batches_tracked": "counter"}


def noise(name: str, shape: tuple[int, ...], seed_string: str) -> np.ndarray:
    """Sample the standard normal float32 noise of a name."""
    generator = np.random.RandomState(zlib.crc32((seed_string + name).encode()))
    return np.asarray(generator.standard_normal(shape)).astype(np.float32)


def value(key: str, shape: tuple[int, ...], kind: str, seed_string: str) -> np.ndarray | None:
    """Compute one entry of a state dict; None for the kind `keep`. Raises KeyError for an unknown kind."""
    kind, f = ALIASES.get(kind, kind), np.float32
    if kind == "keep":
        return None
    if kind == "counter":
        return np.zeros(shape, np.int64)
    n = noise(key, shape, seed_string)
    return {
        "running_mean": lambda: n * f(0.1),
        "running_var": lambda: np.abs(n) * f(0.1) + f(0.9),
        "norm_weight": lambda: f(1) + f(0.1) * n,
        "prelu": lambda: f(0.25) + f(0.05) * n,
        "vector": lambda: f(0.05) * n,
        "matrix": lambda: n * f(1 / np.sqrt(np.prod(shape[1:], dtype=np.int64))),
    }[kind]()


def classify(module: nn.Module) -> dict[str, tuple[tuple[int, ...], str]]:
    """Classify a module's state dict: {key: (shape, kind)}."""
    norms = {name for name, part in module.named_modules() if isinstance(part, _NORMS)}
    prelus = {name for name, part in module.named_modules() if isinstance(part, nn.PReLU)}
    kinds = {}
    for key, tensor in module.state_dict().items():
        owner, _, leaf = key.rpartition(".")
        if leaf in _BY_NAME:
            kind = _BY_NAME[leaf]
        elif tensor.dim() > 1:
            kind = "matrix"
        elif leaf == "weight" and owner in norms:
            kind = "norm_weight"
        else:
            kind = "prelu" if leaf == "weight" and owner in prelus else "vector"
        kinds[key] = (tuple(tensor.shape), kind)
    return kinds


@torch.no_grad()
def fill(module: nn.Module, seed_string: str) -> None:
    """Set every entry of a module's state dict by the rule."""
    state = module.state_dict()
    for key, (shape, kind) in classify(module).items():
        entry = value(key, shape, kind, seed_string)
        if entry is not None:
            state[key].copy_(torch.from_numpy(np.asarray(entry)))
