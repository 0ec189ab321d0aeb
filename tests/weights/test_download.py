"""Downloads are complete and correct or absent, and resume where they stopped."""

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
from mimaface_cli.weights.download import download_file

CONTENT = random.Random(1).randbytes(700_001)  # not a multiple of any buffer
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "deep" / "model.bin"


@pytest.fixture
def url(web) -> str:
    web.files["/model.bin"] = CONTENT
    return f"{web.base}/model.bin"


def partial_file(target: Path) -> Path:
    return target.with_name("model.bin.part")


def list_folder(target: Path) -> list[str]:
    """List the visible files in the target's folder."""
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_download_file_writes_the_whole_file_and_reports_progress(url, target, size):
    steps = []
    path = download_file(url, target, sha256=SHA256, size=size, progress=lambda *step: steps.append(step))
    assert path == target
    assert target.read_bytes() == CONTENT and list_folder(target) == ["model.bin"]
    assert steps[-1] == (len(CONTENT), len(CONTENT)) and len(steps) > 1
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_download_file_reports_no_total_if_the_server_sends_none(web, url, target):
    web.has_length = False
    steps = []
    download_file(url, target, sha256=SHA256, progress=lambda *step: steps.append(step))
    assert target.read_bytes() == CONTENT and steps[-1] == (len(CONTENT), None)


def test_download_file_checks_an_existing_file_without_replacing_it(web, url, target):
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    download_file(url, target, sha256=SHA256)
    target.write_bytes(b"mine")
    with pytest.raises(WeightsError, match=r"model\.bin: is not the released file\. Remove it"):
        download_file(url, target, sha256=SHA256)
    assert web.requests == [] and target.read_bytes() == b"mine"


def test_download_file_resumes_a_broken_transfer(web, url, target):
    web.cuts = [300_000, 100]
    download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [byte_range for _, byte_range in web.requests] == [None, "bytes=300000-", "bytes=300100-"]


def test_download_file_starts_over_if_the_server_has_no_ranges(web, url, target):
    web.cuts, web.has_ranges = [300_000], False
    download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT and len(web.requests) == 2


def test_download_file_does_not_append_a_range_that_it_did_not_request(web, url, target):
    web.cuts, web.range_offset = [300_000], 1
    download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [byte_range for _, byte_range in web.requests] == [None, "bytes=300000-", None]


def test_download_file_gives_up_after_four_interruptions_and_resumes_on_the_next_call(web, url, target):
    web.cuts = [1000] * 4
    with pytest.raises(
        WeightsError, match=r"interrupted 4 times \(received 4000 of 700001 bytes\)\. Run the command again to resume"
    ):
        download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert list_folder(target) == ["model.bin.part"] and partial_file(target).read_bytes() == CONTENT[:4000]
    download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert web.requests[-1][1] == "bytes=4000-" and list_folder(target) == ["model.bin"]


def test_download_file_keeps_the_received_part_after_ctrl_c(web, url, target):
    def interrupt(done: int, total: int | None) -> None:
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_file(url, target, sha256=SHA256, size=len(CONTENT), progress=interrupt)
    assert not target.exists() and 500_000 < partial_file(target).stat().st_size < len(CONTENT)
    download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT and web.requests[-1][1] is not None


@pytest.mark.parametrize("size", [len(CONTENT), None])
@pytest.mark.parametrize("part", [b"\0" * 1000, b"\0" * len(CONTENT), b"\0" * (len(CONTENT) + 5), b""])
def test_download_file_starts_over_from_a_wrong_partial_file(web, url, target, part, size):
    target.parent.mkdir(parents=True)
    partial_file(target).write_bytes(part)
    download_file(url, target, sha256=SHA256, size=size)
    assert target.read_bytes() == CONTENT and list_folder(target) == ["model.bin"]
    assert web.requests[-1] == ("/model.bin", None)


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_download_file_uses_a_complete_partial_file(web, url, target, size):
    target.parent.mkdir(parents=True)
    partial_file(target).write_bytes(CONTENT)
    download_file(url, target, sha256=SHA256, size=size)
    assert target.read_bytes() == CONTENT and list_folder(target) == ["model.bin"]
    assert web.requests == ([] if size else [("/model.bin", f"bytes={len(CONTENT)}-")])


def test_download_file_refuses_a_wrong_file_at_once_and_removes_it(web, url, target):
    web.files["/model.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(WeightsError, match=rf"model\.bin: is not the released file: .* instead of {SHA256}"):
        download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert list_folder(target) == [] and len(web.requests) == 1


def test_download_file_stops_if_the_file_is_too_long(web, url, target):
    steps = []
    with pytest.raises(WeightsError, match="longer than 500000 bytes"):
        download_file(url, target, sha256=SHA256, size=500_000, progress=lambda *step: steps.append(step))
    assert list_folder(target) == [] and steps and max(steps)[0] <= 500_000


def test_download_file_refuses_a_file_that_is_too_short(web, url, target):
    web.files["/model.bin"] = CONTENT[:-1]
    with pytest.raises(WeightsError, match="interrupted 4 times"):
        download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert not target.exists()


def test_download_file_does_not_repeat_a_refused_request(web, target):
    with pytest.raises(WeightsError, match="/absent: the server returned 404 Not Found"):
        download_file(f"{web.base}/absent", target, sha256=SHA256)
    assert len(web.requests) == 1 and list_folder(target) == []


def test_download_file_refuses_a_range_error_without_a_range_request(web, url, target):
    web.error_codes = [416]
    with pytest.raises(WeightsError, match="the server returned 416"):
        download_file(url, target, sha256=SHA256)


def test_download_file_tries_a_busy_server_up_to_four_times(web, url, target):
    web.error_codes = [503, 429]
    download_file(url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT and len(web.requests) == 3
    target.unlink()
    web.error_codes = [500] * 4
    with pytest.raises(WeightsError, match=r"interrupted 4 times \(the server returned 500"):
        download_file(url, target, sha256=SHA256)


def test_download_file_reports_an_unreachable_server_without_waiting(closed_port, target, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 30.0)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"/model\.bin: cannot be reached \(Connection refused\)"):
        download_file(f"{closed_port}/model.bin", target, sha256=SHA256)
    assert time.monotonic() - start < 5


def test_download_file_times_out_if_the_server_sends_nothing(web, url, target, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", 0.2)
    web.gate = threading.Event()
    try:
        with pytest.raises(WeightsError, match=r"cannot be reached \(timed out\)"):
            download_file(url, target, sha256=SHA256)
    finally:
        web.gate.set()


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "model.bin", "", "http://[bad/x", "http:///x"]
)
def test_download_file_refuses_addresses_that_are_not_http(address, target):
    with pytest.raises(WeightsError, match=r"is not an http or https address|cannot be reached"):
        download_file(address, target, sha256=SHA256)
    assert not target.exists()


def test_download_file_checks_the_space_before_writing(url, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=100_000))
    with pytest.raises(
        WeightsError, match=r"weights/deep: the download needs 1 MB and 0 MB are free\. Free some space or set"
    ):
        download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert list_folder(target) == []


def test_download_file_needs_space_for_the_missing_part_only(url, target, monkeypatch):
    target.parent.mkdir(parents=True)
    partial_file(target).write_bytes(CONTENT[:-100_000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=100_000))
    download_file(url, target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT


def test_download_file_reports_a_folder_that_cannot_be_written(url, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match=r"model\.bin: cannot be written \(.*set MIMAFACE_WEIGHTS_DIR"):
        download_file(url, tmp_path / "file" / "model.bin", sha256=SHA256)


def test_download_file_reports_a_disk_that_fills_up_midway(url, target):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    target.parent.mkdir(parents=True)
    partial_file(target).symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"model\.bin: cannot be written \(No space left on device\)\. Free"):
        download_file(url, target, sha256=SHA256)
    assert not target.exists()


def test_download_file_runs_once_for_two_concurrent_calls(web, url, target):
    web.gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(download_file, url, target, sha256=SHA256, size=len(CONTENT)) for _ in range(2)]
        time.sleep(0.2)  # one call is at the server, the other one waits for the lock
        web.gate.set()
        assert [run.result(20) for run in runs] == [target, target]
    assert len(web.requests) == 1 and target.read_bytes() == CONTENT


def test_download_file_uses_the_environments_proxy(web, target, monkeypatch):
    address = "http://weights.invalid/model.bin"
    web.files[address] = CONTENT
    monkeypatch.setenv("http_proxy", web.base)
    download_file(address, target, sha256=SHA256)
    assert web.requests == [(address, None)] and target.read_bytes() == CONTENT
