"""Fetching: whole and right, or not at all; what came is not fetched twice."""

import hashlib
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights import download
from mimaface_cli.weights.download import fetch

CONTENT = random.Random(1).randbytes(700_001)  # not a multiple of any buffer
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "deep" / "model.bin"


@pytest.fixture
def url(web) -> str:
    web.files["/model.bin"] = CONTENT
    return f"{web.base}/model.bin"


def part(target: Path) -> Path:
    return target.with_name("model.bin.part")


def left(target: Path) -> list[str]:
    """The visible files beside the target."""
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_file_arrives_whole_and_its_progress_is_told(url, target, size):
    steps = []
    assert fetch(url, target, sha256=SHA256, size=size, progress=lambda *step: steps.append(step)) == target
    assert target.read_bytes() == CONTENT and left(target) == ["model.bin"]
    assert steps[-1] == (len(CONTENT), len(CONTENT)) and len(steps) > 1
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_without_a_length_the_total_is_unknown(web, url, target):
    web.length = False
    steps = []
    fetch(url, target, sha256=SHA256, progress=lambda *step: steps.append(step))
    assert target.read_bytes() == CONTENT and steps[-1] == (len(CONTENT), None)


def test_a_file_that_is_there_is_checked_and_not_fetched(web, url, target):
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    fetch(url, target, sha256=SHA256)
    target.write_bytes(b"mine")
    with pytest.raises(WeightsError, match=r"model\.bin: is not the released file; remove it"):
        fetch(url, target, sha256=SHA256)
    assert web.asked == [] and target.read_bytes() == b"mine"


def test_a_broken_transfer_goes_on_by_itself(web, url, target):
    web.cuts = [300_000, 100]
    fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [asked for _, asked in web.asked] == [None, "bytes=300000-", "bytes=300100-"]


def test_a_server_without_ranges_starts_anew(web, url, target):
    web.cuts, web.ranges = [300_000], False
    fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT and len(web.asked) == 2


def test_another_part_than_the_one_asked_for_is_not_appended(web, url, target):
    web.cuts, web.shift = [300_000], 1
    fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [asked for _, asked in web.asked] == [None, "bytes=300000-", None]


def test_a_transfer_that_breaks_again_and_again_is_given_up_and_kept(web, url, target):
    web.cuts = [1000] * 4
    with pytest.raises(WeightsError, match=r"broke off 4 times \(4000 of 700001 bytes came\); run again to go on"):
        fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert left(target) == ["model.bin.part"] and part(target).read_bytes() == CONTENT[:4000]
    fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT and web.asked[-1][1] == "bytes=4000-" and left(target) == ["model.bin"]


def test_ctrl_c_keeps_what_came(web, url, target):
    def interrupt(done: int, total: int | None) -> None:
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(url, target, sha256=SHA256, size=len(CONTENT), progress=interrupt)
    assert not target.exists() and 500_000 < part(target).stat().st_size < len(CONTENT)
    fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT and web.asked[-1][1] is not None


@pytest.mark.parametrize("size", [len(CONTENT), None])
@pytest.mark.parametrize("kept", [b"\0" * 1000, b"\0" * len(CONTENT), b"\0" * (len(CONTENT) + 5), b""])
def test_a_wrong_beginning_costs_one_more_transfer(web, url, target, kept, size):
    target.parent.mkdir(parents=True)
    part(target).write_bytes(kept)
    fetch(url, target, sha256=SHA256, size=size)
    assert target.read_bytes() == CONTENT and left(target) == ["model.bin"] and web.asked[-1] == ("/model.bin", None)


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_part_that_is_whole_is_used(web, url, target, size):
    target.parent.mkdir(parents=True)
    part(target).write_bytes(CONTENT)
    fetch(url, target, sha256=SHA256, size=size)
    assert target.read_bytes() == CONTENT and left(target) == ["model.bin"]
    assert web.asked == ([] if size else [("/model.bin", f"bytes={len(CONTENT)}-")])


def test_a_wrong_file_is_refused_once_and_not_kept(web, url, target):
    web.files["/model.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(WeightsError, match=f"model.bin: is not the released file: .* instead of {SHA256}"):
        fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert left(target) == [] and len(web.asked) == 1


def test_a_file_that_is_too_long_is_stopped(web, url, target):
    steps = []
    with pytest.raises(WeightsError, match="longer than 500000 bytes"):
        fetch(url, target, sha256=SHA256, size=500_000, progress=lambda *step: steps.append(step))
    assert left(target) == [] and steps and max(steps)[0] <= 500_000


def test_a_file_that_is_too_short_is_not_taken(web, url, target):
    web.files["/model.bin"] = CONTENT[:-1]
    with pytest.raises(WeightsError, match="broke off 4 times"):
        fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert not target.exists()


def test_what_the_server_refuses_is_said_at_once(web, target):
    with pytest.raises(WeightsError, match="/absent: the server answers 404 Not Found"):
        fetch(f"{web.base}/absent", target, sha256=SHA256)
    assert len(web.asked) == 1 and left(target) == []


def test_a_refused_range_that_nobody_asked_for(web, url, target):
    web.codes = [416]
    with pytest.raises(WeightsError, match="the server answers 416"):
        fetch(url, target, sha256=SHA256)


def test_a_busy_server_is_asked_again(web, url, target):
    web.codes = [503, 429]
    fetch(url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT and len(web.asked) == 3
    target.unlink()
    web.codes = [500] * 4
    with pytest.raises(WeightsError, match=r"broke off 4 times \(the server answers 500"):
        fetch(url, target, sha256=SHA256)


def test_nobody_there_is_said_at_once(closed_port, target, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 30.0)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"/model\.bin: cannot be reached \(Connection refused\)"):
        fetch(f"{closed_port}/model.bin", target, sha256=SHA256)
    assert time.monotonic() - start < 5


def test_a_silent_server_is_left(web, url, target, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", 0.2)
    web.gate = threading.Event()
    try:
        with pytest.raises(WeightsError, match=r"cannot be reached \(timed out\)"):
            fetch(url, target, sha256=SHA256)
    finally:
        web.gate.set()


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "model.bin", "", "http://[bad/x", "http:///x"]
)
def test_other_addresses_are_refused(address, target):
    with pytest.raises(WeightsError, match="is not an http or https address|cannot be reached"):
        fetch(address, target, sha256=SHA256)
    assert not target.exists()


def test_a_full_disk_is_seen_before_anything_is_written(url, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=100_000))
    with pytest.raises(WeightsError, match="weights/deep: 1 MB are needed and 0 MB free; free some space or set"):
        fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert left(target) == []


def test_only_what_is_missing_needs_space(web, url, target, monkeypatch):
    target.parent.mkdir(parents=True)
    part(target).write_bytes(CONTENT[:-100_000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=100_000))
    fetch(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT


def test_a_place_that_cannot_be_written(url, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match=r"model\.bin: cannot be written \(.*set MIMAFACE_WEIGHTS_DIR"):
        fetch(url, tmp_path / "file" / "model.bin", sha256=SHA256)


def test_a_disk_that_fills_up_midway(url, target):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    target.parent.mkdir(parents=True)
    part(target).symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"model\.bin: cannot be written \(No space left on device\); free"):
        fetch(url, target, sha256=SHA256)
    assert not target.exists()


def test_two_runs_fetch_a_file_once(web, url, target):
    web.gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(fetch, url, target, sha256=SHA256, size=len(CONTENT)) for _ in range(2)]
        time.sleep(0.2)  # both are under way: one at the server, one waiting for the other
        web.gate.set()
        assert [run.result(20) for run in runs] == [target, target]
    assert len(web.asked) == 1 and target.read_bytes() == CONTENT


def test_the_proxy_of_the_environment_is_used(web, target, monkeypatch):
    address = "http://weights.invalid/model.bin"
    web.files[address] = CONTENT
    monkeypatch.setenv("http_proxy", web.base)
    fetch(address, target, sha256=SHA256)
    assert web.asked == [(address, None)] and target.read_bytes() == CONTENT
