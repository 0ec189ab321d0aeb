"""A local web server, and an environment that blocks all other network access."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import mimaface_cli.weights.checkpoint_files
from mimaface_cli.weights import matlab


@dataclass
class Web:
    """Files and failures of the server.

    Attributes:
        files: Files by URL path.
        has_ranges: Whether a Range request gets a 206 response.
        range_offset: Number of bytes by which the response to a Range request starts too late.
        has_length: Whether responses have a Content-Length.
        cuts: Numbers of bytes after which the next responses end.
        error_codes: HTTP codes of the next responses.
        gate: Responses wait for this event.
        requests: Path and Range header of every request so far.
        base: Address of the server.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    has_ranges: bool = True
    range_offset: int = 0
    has_length: bool = True
    cuts: list[int] = field(default_factory=list)
    error_codes: list[int] = field(default_factory=list)
    gate: threading.Event | None = None
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    base: str = ""


class _Server(ThreadingHTTPServer):
    web: Web

    def handle_error(self, *_args: object) -> None:
        """Print nothing: in some tests the client hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        web = self.server.web
        byte_range = self.headers.get("Range")
        web.requests.append((self.path, byte_range))
        if web.gate is not None:
            web.gate.wait(20)
        if web.error_codes:
            return self.send_error(web.error_codes.pop(0))
        if self.path not in web.files:
            return self.send_error(404)
        content = web.files[self.path]
        start = int(byte_range.removeprefix("bytes=").rstrip("-")) if byte_range and web.has_ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        start += web.range_offset if start else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if web.has_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = web.cuts.pop(0) if web.cuts else len(content)
        self.wfile.write(content[start : start + stop])
        return None

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@pytest.fixture
def web() -> Iterator[Web]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.web = Web(base=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.web
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed_port() -> str:
    """An address at which no server listens."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(autouse=True)
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: str) -> Path:
    """An empty weights folder, no proxy, no pauses, and a mirror that cannot be reached."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("MIMAFACE_MIRROR", closed_port)
    monkeypatch.setattr("mimaface_cli.weights.download._PAUSE", 0.0)
    return tmp_path / "weights"


@pytest.fixture
def cached_mat_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read MATLAB files with the same bytes once for all tests.

    Each real read starts a process that imports SciPy.
    """

    def read_mat(path: Path) -> dict:
        content = path.read_bytes()
        if content not in _arrays_by_content:
            _arrays_by_content[content] = matlab.read_mat(path)
        return _arrays_by_content[content]

    monkeypatch.setattr(mimaface_cli.weights.checkpoint_files, "read_mat", read_mat)


_arrays_by_content: dict[bytes, dict] = {}
