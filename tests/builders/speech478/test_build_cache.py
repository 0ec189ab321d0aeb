"""Cache of a build."""

import numpy as np

from mimaface_cli.builders.speech478.build_cache import get_or_compute, hash_parts


def test_arrays_are_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"a": np.arange(3)}

    path = tmp_path / "cache" / "arrays.npz"
    for _ in range(2):
        assert np.array_equal(get_or_compute(path, compute)["a"], np.arange(3))
    assert len(calls) == 1 and [file.name for file in path.parent.iterdir()] == ["arrays.npz"]


def test_hash_depends_on_arrays_and_texts():
    keys = {hash_parts(np.zeros(3), "a"), hash_parts(np.ones(3), "a"), hash_parts(np.zeros(3), "b"), hash_parts("a")}
    assert len(keys) == 4 and hash_parts(np.zeros(3), "a") in keys
