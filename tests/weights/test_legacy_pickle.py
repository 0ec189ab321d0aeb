"""Files of the legacy format: the same content as from torch.load, mapped, and never executed."""

import os
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.checkpoint_files import _load_file
from mimaface_cli.weights.legacy_pickle import load_legacy_pickle


def save(content: object, path: Path) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_content_is_that_of_torch_load(tmp_path):
    torch.manual_seed(0)
    shared = torch.randn(40)
    state = {
        "float": torch.randn(3, 5),
        "half": torch.randn(7).half(),
        "bfloat16": torch.randn(7).bfloat16(),
        "integer": torch.arange(5),
        "flag": torch.tensor([True, False]),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "transposed": torch.randn(4, 6).T,
        "first part": shared[:10],
        "second part": shared[10:].view(5, 6),
        "parameter": nn.Parameter(torch.randn(2)),
    }
    path = save({"epoch": 3, "state_dict": state, "shapes": [1, (2, 3)]}, tmp_path / "x.pth")
    loaded = load_legacy_pickle(path)
    assert loaded["epoch"] == 3 and loaded["state_dict"].keys() == state.keys()
    for key, value in torch.load(path, weights_only=True)["state_dict"].items():
        tensor = loaded["state_dict"][key]
        assert tensor.dtype == value.dtype and torch.equal(tensor, value), key


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_file_is_mapped_not_read(tmp_path):
    def anonymous_bytes() -> int:
        return 1024 * int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])

    path = save({"weight": torch.ones(64 << 18)}, tmp_path / "x.pth")
    before = anonymous_bytes()
    weight = load_legacy_pickle(path)["weight"]
    assert weight.sum() == len(weight) and anonymous_bytes() - before < 16 << 20
    weight[0] = 5
    assert load_legacy_pickle(path)["weight"][0] == 1


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: save({"x": Attack()}, path), r"is not a plain weights file \(it would run posix\.mkdir\)"),
        (lambda path: os.truncate(save({"x": torch.ones(9)}, path), path.stat().st_size - 1), "cut short"),
        (lambda path: os.truncate(save({"x": torch.ones(9)}, path), 100), "damaged|cannot be read"),
        (lambda path: path.write_bytes(b"\x80\x02]."), "another format|damaged"),
        (lambda path: path.write_bytes(b""), "damaged|cannot be read"),
        (lambda path: path.write_bytes(b"no pickle at all"), "damaged|cannot be read"),
    ],
    ids=["code", "a byte is missing", "half", "other pickle", "empty", "text"],
)
def test_other_files_are_a_one_line_error(tmp_path, monkeypatch, write, reason):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pth"
    write(path)
    with pytest.raises(WeightsError, match=reason) as caught:
        _load_file(path)
    assert "\n" not in str(caught.value) and not (tmp_path / "attacked").exists()
