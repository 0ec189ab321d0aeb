"""A web server on this machine, and an environment in which nothing else is asked."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Web:
    """What the server serves and how it misbehaves; `asked` lists (path, Range header) of every request."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True  # answer 206 to a Range
    shift: int = 0  # the part sent for a Range begins this much later
    length: bool = True  # announce Content-Length
    cuts: list[int] = field(default_factory=list)  # the next answers end after so many bytes
    codes: list[int] = field(default_factory=list)  # the next answers are these errors
    gate: threading.Event | None = None  # answers wait for it
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    base: str = ""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        web: Web = self.server.web
        asked = self.headers.get("Range")
        web.asked.append((self.path, asked))
        if web.gate is not None:
            web.gate.wait(20)
        if web.codes:
            return self.send_error(web.codes.pop(0))
        if self.path not in web.files:
            return self.send_error(404)
        content = web.files[self.path]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and web.ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        start += web.shift if start else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if web.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = web.cuts.pop(0) if web.cuts else len(content)
        self.wfile.write(content[start : start + stop])
        return None

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """A client that hangs up is what some tests are about."""


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
    """An address at which nobody listens."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: str) -> Path:
    """An empty weights folder, no proxy, no waiting; what is not told otherwise asks the port at which nobody is."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("MIMAFACE_MIRROR", closed_port)
    monkeypatch.setattr("mimaface_cli.weights.download._PAUSE", 0.0)
    return tmp_path / "weights"
