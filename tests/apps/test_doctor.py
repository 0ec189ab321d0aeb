"""The report of doctor."""

import importlib

from mimaface_cli.apps import doctor


def test_doctor_reports_a_package_that_cannot_be_loaded(monkeypatch):
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
