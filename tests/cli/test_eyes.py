"""`--eyes` of `animate`, `edit` and batches: learned and painted eyelids, and model files."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.engines.mesh.eyelid_crop import EYELID
from mimaface_cli.engines.mesh.part_network import load_network
from mimaface_cli.fingerprint import content_hash
from mimaface_cli.motion.track import MotionTrack
from tests.engines.mesh.mouth_models import write_model

CLOSED = ("--set", "eyeBlink=1", "--mouth", "painted")


@pytest.fixture
def lids(tmp_path):
    """A model file that changes a few gray levels."""
    return write_model(tmp_path / "anna.npz", 0.01, part=EYELID)


def test_model_file_changes_closed_eyes_and_is_reported(run_command, sample, lids, tmp_path):
    base = ("edit", sample.portrait, *CLOSED, "--json", "-q")
    run = run_command(*base, "-o", "learned.png", "--eyes", lids)
    assert run.code == 0, run.err
    settings = json.loads(run.out)["engine_settings"]
    assert settings["eyes"] == {"name": "anna.npz", "version": load_network(EYELID, lids).version}
    assert settings["mouth"]["name"] == "painted"
    content = json.loads((tmp_path / "learned.png.provenance.json").read_text())["content"]
    assert content["weights"][-1] == {"name": "anna.npz", "sha256": content_hash(lids)}
    assert content["options"]["eyes"] == "anna.npz"


def test_model_file_changes_nothing_but_the_closed_eyes(run_command, sample, lids, tmp_path):
    base = ("edit", sample.portrait, *CLOSED, "--json", "-q", "--no-provenance")
    assert run_command(*base, "-o", "learned.png", "--eyes", lids).code == 0
    run = run_command(*base, "-o", "painted.png", "--eyes", "painted")
    assert json.loads(run.out)["engine_settings"]["eyes"] == {"name": "painted", "version": ""}
    learned, painted = (np.asarray(Image.open(tmp_path / name)) for name in ("learned.png", "painted.png"))
    rows = np.flatnonzero((learned != painted).any((1, 2)))
    assert len(rows) > 3 and np.ptp(rows) < 40


@pytest.mark.parametrize("command", ["animate", "edit"])
@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("missing.npz", 3, "--eyes: missing.npz: no such file"),
        ("mouth.npz", 5, "mouth.npz: not an eyelid network"),
        ("lerned", 2, "--eyes: unknown value 'lerned'. Choose learned, painted or a model file (.npz)"),
    ],
)
def test_wrong_model_is_a_one_line_error(run_mimaface, sample, tmp_path, command, name, code, text):
    write_model(tmp_path / "mouth.npz")
    MotionTrack.load(sample.track).select_frames(slice(0, 2)).save(tmp_path / "two.npz")
    inputs = (sample.portrait, "two.npz") if command == "animate" else (sample.portrait, *CLOSED)
    run = run_mimaface(command, *inputs, "-o", "out.png" if command == "edit" else "out.mp4", f"--eyes={name}")
    assert run.returncode == code, run.stderr
    (line,) = run.stderr.splitlines()
    assert text in line


def test_error_of_a_damaged_model_says_how_to_continue_without_it(run_command, sample, tmp_path):
    (tmp_path / "text.npz").write_text("no model")
    result = run_command("edit", sample.portrait, "-o", "out.png", *CLOSED, "--eyes", "text.npz")
    assert result.code == 5 and "--eyes painted" in result.err


def test_column_of_a_job_file_names_a_model(run_mimaface, sample, lids, tmp_path):
    MotionTrack.load(sample.track).select_frames(slice(0, 2)).save(tmp_path / "two.npz")
    with (tmp_path / "jobs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["source", "driver", "output", "eyes"])
        table.writerow([sample.portrait, "two.npz", "out.mp4", "anna.npz"])
    run = run_mimaface("batch", "jobs.csv", "--workers", "1")
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "out.mp4.provenance.json").read_text())
    assert "anna.npz" in [entry["name"] for entry in record["content"]["weights"]]
