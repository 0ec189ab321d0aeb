"""`--mouth` of `animate`, `edit` and batches: learned and painted mouths, and model files."""

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.engines.mesh.engine import plan_portrait_motion
from mimaface_cli.engines.mesh.mouth_crop import MOUTH
from mimaface_cli.engines.mesh.part_network import load_network
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.renderer import render_photo
from mimaface_cli.engines.mesh.turn_correction import correct_turns
from mimaface_cli.face import face478
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.fingerprint import content_hash
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from tests.engines.mesh.mouth_models import write_model

SPOKEN = 7  # frame of the sample's track with the widest mouth
OPEN = ("--set", "jawOpen=0.5")


@pytest.fixture
def track(sample, tmp_path) -> Path:
    """The first frame of the sample's track, and the one with the widest mouth."""
    MotionTrack.load(sample.track).select_frames(slice(0, SPOKEN + 1, SPOKEN)).save(tmp_path / "two.npz")
    return tmp_path / "two.npz"


@pytest.fixture
def voice(tmp_path) -> Path:
    """A model file that changes a few gray levels."""
    return write_model(tmp_path / "anna.npz", 0.01)


def read_frames(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]


def only_line(result: subprocess.CompletedProcess) -> str:
    """Return the one line that a failed run printed."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_painted_mouth_uses_no_network(run_mimaface, sample, track, tmp_path):
    base = ("animate", sample.portrait, track, "-o", "out/", "--no-provenance", "-q", "--json")
    run = run_mimaface(*base, "--mouth", "painted", "--eyes", "painted")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["engine_settings"] == {
        "mouth": {"name": "painted", "version": ""},
        "eyes": {"name": "painted", "version": ""},
    }
    portrait = portrait_from_photo(read_image(sample.portrait).rgb, None, face478.load())
    driver = MotionTrack.load(track)
    motion = plan_portrait_motion(portrait, driver, RetargetOptions())
    motion = correct_turns(portrait, face478.load(), motion, driver)
    expected = render_photo(prepare_photo(portrait, face478.load()), face478.load(), motion)
    for frame, image in zip(read_frames(tmp_path / "out"), expected, strict=True):
        assert np.array_equal(frame, image)


def test_model_file_changes_the_mouth_and_is_reported(run_mimaface, sample, track, voice, tmp_path):
    base = ("animate", sample.portrait, track, "-q", "--json", "--motion", "absolute", "--region", "lips")
    painted = run_mimaface(*base, "-o", "painted/", "--mouth", "painted", "--no-provenance")
    assert painted.returncode == 0, painted.stderr
    run = run_mimaface(*base, "-o", "learned/", "--mouth", voice, "--no-provenance")
    assert run.returncode == 0, run.stderr
    values = json.loads(run.stdout)
    assert values["engine_settings"]["mouth"] == {"name": "anna.npz", "version": load_network(MOUTH, voice).version}
    assert not any("mouth" in note for note in values["notes"])
    pairs = zip(read_frames(tmp_path / "painted"), read_frames(tmp_path / "learned"), strict=True)
    changes = np.max([np.abs(first.astype(int) - second).max(2) for first, second in pairs], axis=0)
    rows, columns = np.nonzero(changes > 4)
    # The mouth is 33 pixels wide. The jaw moves slightly otherwise: each mouth has its own calibration.
    assert len(rows) > 300 and np.ptp(rows) < 80 and np.ptp(columns) < 110


def test_provenance_names_the_model_file(run_mimaface, sample, voice, tmp_path):
    run = run_mimaface("edit", sample.portrait, "-o", "out.png", *OPEN, "--mouth", voice, "--json", "-q")
    assert run.returncode == 0, run.stderr
    settings = json.loads(run.stdout)["engine_settings"]
    assert settings["mouth"] == {"name": "anna.npz", "version": load_network(MOUTH, voice).version}
    content = json.loads((tmp_path / "out.png.provenance.json").read_text())["content"]
    assert {"name": "anna.npz", "sha256": content_hash(voice)} in content["weights"]
    assert content["options"]["mouth"] == "anna.npz"


def test_painted_mouth_names_no_model(run_command, sample, tmp_path):
    result = run_command(
        "edit", sample.portrait, "-o", "out.png", *OPEN, "--mouth", "painted", "--eyes", "painted", "-q"
    )
    assert result.code == 0, result.err
    content = json.loads((tmp_path / "out.png.provenance.json").read_text())["content"]
    assert [entry["name"] for entry in content["weights"]] == ["face_landmarker.task", "face478.npz"]


def test_foreign_style_is_painted_with_a_note(run_command, sample, tmp_path):
    strong = write_model(tmp_path / "strong.npz", 3.0)
    result = run_command("edit", sample.portrait, "-o", "out.png", *OPEN, "--mouth", strong, "--json", "-q")
    values = json.loads(result.out)
    assert values["engine_settings"]["mouth"]["name"] == "painted"
    assert any("does not know the style" in note for note in values["notes"])


def test_edited_video_uses_the_model_file(run_command, sample, voice, tmp_path):
    arguments = ("edit", sample.driver, "--add", "jawOpen=0.4", "--no-provenance", "-q", "--json", "--duration", "0.1")
    base = tuple(word for word in arguments if word not in ("--duration", "0.1"))
    learned = run_command(*base, "-o", "learned/", "--mouth", voice)
    assert learned.code == 0, learned.err
    assert json.loads(learned.out)["engine_settings"]["mouth"]["name"] == "anna.npz"
    assert run_command(*base, "-o", "painted/", "--mouth", "painted").code == 0
    pairs = zip(read_frames(tmp_path / "learned"), read_frames(tmp_path / "painted"), strict=True)
    assert all((first != second).any() for first, second in pairs)


@pytest.mark.parametrize("command", ["animate", "edit"])
@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("missing.npz", 3, "--mouth: missing.npz: no such file"),
        ("two.npz", 5, "two.npz: not a mouth network"),
        ("text.npz", 5, "text.npz: not a mouth network"),
        ("empty.npz", 3, "--mouth: empty.npz: the file is empty"),
        ("folder.npz", 3, "--mouth: folder.npz: not a regular file"),
        ("lerned", 2, "--mouth: unknown value 'lerned'. Choose learned, painted or a model file (.npz)"),
        ("", 2, "--mouth: unknown value ''"),
    ],
)
def test_wrong_model_is_a_one_line_error(run_mimaface, sample, track, tmp_path, command, name, code, text):
    (tmp_path / "text.npz").write_text("no model")
    (tmp_path / "empty.npz").touch()
    (tmp_path / "folder.npz").mkdir()
    inputs = (sample.portrait, track) if command == "animate" else (sample.portrait, *OPEN)
    before = sorted(tmp_path.iterdir())
    run = run_mimaface(command, *inputs, "-o", "out.png" if command == "edit" else "out.mp4", f"--mouth={name}")
    assert run.returncode == code, run.stderr
    assert text in only_line(run)
    assert sorted(tmp_path.iterdir()) == before


def test_track_does_not_overwrite_the_model_file(run_command, sample, voice):
    before = voice.read_bytes()
    result = run_command("edit", sample.portrait, "-o", voice, *OPEN, "--mouth", voice, "--overwrite")
    assert result.code == 4 and "same file as an input" in result.err
    assert voice.read_bytes() == before


def test_column_of_a_job_file_names_a_model(run_mimaface, sample, track, voice, tmp_path):
    (tmp_path / "jobs").mkdir()
    voice.rename(tmp_path / "jobs" / "anna.npz")
    with (tmp_path / "jobs" / "jobs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["source", "driver", "output", "mouth"])
        table.writerow([sample.portrait, track, "learned.mp4", "anna.npz"])
        table.writerow([sample.portrait, track, "painted.mp4", "painted"])
    run = run_mimaface("batch", tmp_path / "jobs" / "jobs.csv", "--workers", "1")
    assert run.returncode == 0, run.stderr
    names = []
    for output in ("learned", "painted"):
        record = json.loads((tmp_path / "jobs" / f"{output}.mp4.provenance.json").read_text())
        names.append([entry["name"] for entry in record["content"]["weights"]])
    assert "anna.npz" in names[0] and "anna.npz" not in names[1]
