"""Validation figures and contact sheets in a stage's folder."""

import numpy as np

from mimaface_cli.training.validation_log import ValidationResult, discard_validations_after, write_validation
from tests.training.validated_runs import read_rows


def test_discard_validations_after_removes_later_rows_and_sheets(tmp_path):
    sheet = np.zeros((4, 4, 3), np.uint8)
    for step in (2, 4, 6):
        figures = {"psnr": float(step)} | ({"lpips": 0.5} if step > 2 else {})
        write_validation(tmp_path, ValidationResult(step, figures, sheet))
    assert read_rows(tmp_path / "validation.csv")[0] == {"step": "2", "psnr": "2", "lpips": ""}
    discard_validations_after(tmp_path, 4)
    assert [row["step"] for row in read_rows(tmp_path / "validation.csv")] == ["2", "4"]
    assert len(list((tmp_path / "validation").iterdir())) == 2
    discard_validations_after(tmp_path, 0)
    assert not read_rows(tmp_path / "validation.csv")
    assert not list((tmp_path / "validation").iterdir())
