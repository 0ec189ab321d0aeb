"""The report of doctor."""

import importlib

from mimaface_cli.apps import doctor
from mimaface_cli.engines.registry import create_engine
from mimaface_cli.face.landmarks import load_mediapipe


def test_doctor_reports_a_package_that_cannot_be_loaded(monkeypatch):
    load_mediapipe()  # an import that fails halfway would break the tests after this one
    import_module = importlib.import_module

    def load(name: str, package: str | None = None):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file:\nNo such file or directory")
        return import_module(name, package)

    monkeypatch.setattr(doctor.importlib, "import_module", load)
    mesh = doctor.examine()["engines"]["mesh"]
    assert not mesh["ready"]
    assert mesh["missing"][:1] == [
        "package opencv-contrib-python cannot be loaded "
        "(libGL.so.1: cannot open shared object file: No such file or directory)"
    ]


def test_doctor_warns_of_different_opencv_wheels(monkeypatch):
    versions = {"opencv-python": "5.0.0.93", "opencv-contrib-python": "5.1.0.95"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    (warning,) = doctor._opencv_warnings()
    assert "opencv-python 5.0.0.93 and opencv-contrib-python 5.1.0.95 are installed over each other" in warning
    versions["opencv-python"] = "5.1.0.95"
    assert doctor._opencv_warnings() == []


def test_doctor_warns_of_a_missing_optional_model_and_mesh_stays_ready(monkeypatch):
    find_missing_files = doctor.find_missing_files
    monkeypatch.setattr(
        doctor,
        "find_missing_files",
        lambda name: ["selfie_segmenter.tflite"] if name == "person_segmenter" else find_missing_files(name),
    )
    (warning,) = doctor._optional_weights_warnings()
    assert "Run mimaface weights pull person_segmenter" in warning
    assert create_engine("mesh").problems() == []
