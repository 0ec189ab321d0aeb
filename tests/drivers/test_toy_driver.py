"""A new kind of driver takes one module and one registration."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from mimaface_cli.apps.animate import animate
from mimaface_cli.drivers.base import Driver, DriverInfo, DriverRequest
from mimaface_cli.drivers.registry import find_driver_kind, register_driver_kind, unregister_driver_kind
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import read_video


class YawList:
    """A JSON file with a list of yaw angles in radians."""

    def accepts(self, path: Path) -> bool:
        return path.suffix == ".yaw"

    def inspect(self, path: Path) -> DriverInfo:
        return DriverInfo(path, "yaw list", frame_count=len(json.loads(path.read_text())))

    def load(self, request: DriverRequest) -> Driver:
        angles = json.loads(request.path.read_text())
        track = MotionTrack.neutral(len(angles), request.space, Fraction(25))
        pose = track.pose.copy()
        pose[:, 1] = angles
        return Driver(replace(track, pose=pose), request.path, "yaw list").trimmed(request.trim)


@pytest.fixture
def yaw_list():
    kind = YawList()
    register_driver_kind(kind)
    yield kind
    unregister_driver_kind(kind)


def test_registered_driver_kind_drives_a_photo(yaw_list, sample, tmp_path):
    path = tmp_path / "turn.yaw"
    path.write_text("[0.0, 0.1, 0.2]")
    assert find_driver_kind(path) is yaw_list
    result = animate(sample.portrait, path, tmp_path / "out.mp4")
    assert (result.frames, result.frame_rate, result.audio) == (3, 25, "none")
    frames, _ = read_video(tmp_path / "out.mp4")
    assert (frames[0] != frames[2]).any()


def test_other_files_keep_their_kind(yaw_list, sample):
    names = {path: type(find_driver_kind(path)).__name__ for path in (sample.driver, sample.track, sample.audio)}
    assert list(names.values()) == ["MediaDriver", "TrackDriver", "SpeechDriver"]
