"""The stored fixtures pass, and the runner detects wrong numbers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.goldens.__main__ import find_fixtures, main, run
from tests.goldens.fixture import absolute, relative_to_max, share_beyond

DATA = Path(__file__).with_name("data")


@pytest.mark.parametrize("path", find_fixtures(DATA), ids=lambda path: path.stem)
def test_stored_fixture_passes(path):
    failed = [check for check in run(path) if not check.passed]
    assert not failed


def _copy(name: str, folder: Path) -> Path:
    for path in DATA.glob(f"{name}.*"):
        shutil.copy(path, folder)
    return folder / f"{name}.json"


@pytest.mark.parametrize(
    ("name", "array", "amount"),
    [
        ("align", "affine256_inverse", 1e-4),
        ("align", "warped_uint8", 2),
        ("bfm", "normals", 1e-3),
        ("bfm", "zbuf_rows_96_160", 1e-3),
        ("d3dfr_net", "output", 1e-3),
        ("reenact_inputs", "coeffBlendSrcRef", 1e-3),
        ("unet3d", "a_mid_block_output", 1e-2),
        ("unet3d", "b_output", 1e-2),
    ],
)
def test_run_fails_for_a_wrong_number(tmp_path, name, array, amount):
    path = _copy(name, tmp_path)
    if name == "reenact_inputs":
        _copy("bfm", tmp_path)
    with np.load(path.with_suffix(".npz")) as file:
        arrays = dict(file)
    arrays[array].flat[arrays[array].argmax()] -= np.asarray(amount).astype(arrays[array].dtype)
    np.savez(path.with_suffix(".npz"), **arrays)
    failed = [check.name for check in run(path) if not check.passed]
    assert failed and all(name.split()[0] in (array, "slice") for name in failed)


def test_run_fails_for_a_missing_key(tmp_path):
    path = _copy("unet3d", tmp_path)
    spec = json.loads(path.read_text())
    spec["state_dict"] = [row for row in spec["state_dict"] if row[0] != "conv_in.bias"]
    path.write_text(json.dumps(spec))
    assert [check.name for check in run(path) if not check.passed] == ["state_dict keys"]


def test_comparisons_fail_for_nan_and_other_shapes():
    wrong = [np.full((2, 3), np.nan), np.zeros((3, 2))]
    for actual in wrong:
        for check in (
            absolute("", actual, np.zeros((2, 3)), 1),
            relative_to_max("", actual, np.ones((2, 3)), 1),
            share_beyond("", actual, np.zeros((2, 3)), 1, 0.5),
        ):
            assert not check.passed


def test_command_line_counts_failures(tmp_path, capsys):
    (tmp_path / "inner").mkdir()
    _copy("align", tmp_path / "inner")
    assert main([str(tmp_path)]) == 0
    assert "1 of 1 fixtures pass" in capsys.readouterr().out
    (tmp_path / "novel.json").write_text("{}")
    (tmp_path / "align_broken.json").write_text("{")
    assert main([str(tmp_path), "-v"]) == 1
    out = capsys.readouterr().out
    assert "no checker for this kind" in out and "FileNotFoundError" in out and "1 of 3 fixtures pass" in out
    assert main([str(tmp_path / "none")]) == 1
