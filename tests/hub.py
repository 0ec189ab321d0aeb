"""A local model hub with the protocol of huggingface_hub, and with its failures.

Serve a folder with `hub.add_folder`, and run the command with the variables of `hub.environment`.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = hashlib.sha1(b"the only commit").hexdigest()
_GIT_SUFFIXES = (".json", ".txt", ".md")  # stored in git itself; all other files are large files on the CDN


@dataclass(frozen=True)
class RecordedRequest:
    """One request that the hub received.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        byte_range: Range header.
        authorization: Authorization header.
        is_on_cdn: Whether it went to the host that stores large files.
    """

    method: str
    path: str
    byte_range: str | None
    authorization: str | None
    is_on_cdn: bool


@dataclass
class Hub:
    """Files, access rights and failures of the hub.

    Attributes:
        base: Address of the hub.
        cdn: Address of the host that stores large files.
        repos: Files by repository (owner/name) and path.
        plain_files: Files by URL path, outside all repositories.
        cuts: Numbers of bytes after which the next responses end.
        error_codes: HTTP codes of the next responses to GET.
        head_error_codes: HTTP codes of the next responses to HEAD.
        corrupted: Bytes sent instead of the right ones, by file path.
        bytes_per_second: Speed limit.
        gated: Repositories that answer 403 without `token`.
        private: Repositories that appear not to exist without `token`.
        token: The right token.
        reports_hashes: Whether the hub sends the files' hashes.
        requests: All requests so far.
    """

    base: str
    cdn: str
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    plain_files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    error_codes: list[int] = field(default_factory=list)
    head_error_codes: list[int] = field(default_factory=list)
    corrupted: dict[str, bytes] = field(default_factory=dict)
    bytes_per_second: int | None = None
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    token: str = "hf_right"
    reports_hashes: bool = True
    requests: list[RecordedRequest] = field(default_factory=list)

    def add_folder(self, repo: str, folder: Path) -> None:
        """Serve every file below a folder as a repository."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repos.setdefault(repo, {}).update(files)

    def environment(self, home: Path) -> dict[str, str]:
        """Return variables that direct a process to this hub alone."""
        return {
            "HF_ENDPOINT": self.base,
            "HF_HOME": str(home / "hf"),
            "HF_TOKEN": "",
            "HF_HUB_OFFLINE": "",
            "MIMAFACE_MIRROR": f"{self.base}/mirror",
            "NO_PROXY": "*",
        }

    def large_file_requests(self) -> list[RecordedRequest]:
        """Return the requests for the bytes of large files."""
        return [request for request in self.requests if request.is_on_cdn]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: Hub

    def handle_error(self, *_args: object) -> None:
        """Print nothing: in some tests the client hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server.hub
        path = unquote(self.path.partition("?")[0])
        is_on_cdn = path.startswith("/cdn/")
        authorization = self.headers.get("Authorization")
        hub.requests.append(RecordedRequest(self.command, path, self.headers.get("Range"), authorization, is_on_cdn))
        codes = hub.head_error_codes if self.command == "HEAD" else hub.error_codes
        if codes:
            return self._send_status(codes.pop(0))
        if path in hub.plain_files:
            return self._send_file(hub.plain_files[path], {})
        if is_on_cdn:
            _, _, repo, name = path.split("/", 3)
            content = hub.repos[repo.replace("--", "/")][name]
            return self._send_file(hub.corrupted.get(name, content), {})
        if path.startswith("/api/models/"):
            return self._send_model_info(path.removeprefix("/api/models/").partition("/revision/")[0])
        if "/resolve/" not in path:
            return self._send_status(404)
        owner, _, rest = path.removeprefix("/").partition("/")
        name, _, rest = rest.partition("/resolve/")
        revision, _, file = rest.partition("/")
        return self._resolve(f"{owner}/{name}", revision, file, authorization)

    def _resolve(self, repo: str, revision: str, file: str, authorization: str | None) -> None:
        hub = self.server.hub
        is_allowed = authorization == f"Bearer {hub.token}"
        if repo not in hub.repos or (repo in hub.private and not is_allowed):
            return self._send_status(404 if is_allowed else 401, {"X-Error-Code": "RepoNotFound"})
        if repo in hub.gated and not is_allowed:
            return self._send_status(403 if authorization else 401, {"X-Error-Code": "GatedRepo"})
        if revision not in ("main", COMMIT):
            return self._send_status(404, {"X-Error-Code": "RevisionNotFound"})
        headers = {"X-Repo-Commit": COMMIT}
        if file not in hub.repos[repo]:
            return self._send_status(404, headers | {"X-Error-Code": "EntryNotFound"})
        content = hub.repos[repo][file]
        if file.endswith(_GIT_SUFFIXES):
            if hub.reports_hashes:
                blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                headers["ETag"] = f'"{blob}"'
            return self._send_file(hub.corrupted.get(file, content), headers)
        headers["Location"] = f"{hub.cdn}/cdn/{repo.replace('/', '--')}/{file}"
        if hub.reports_hashes:
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            headers["X-Linked-Size"] = str(len(content))
        return self._send_status(302, headers)

    def _send_model_info(self, repo: str) -> None:
        hub = self.server.hub
        if repo not in hub.repos:
            return self._send_status(404, {"X-Error-Code": "RepoNotFound"})
        siblings = [{"rfilename": name} for name in sorted(hub.repos[repo])]
        text = json.dumps({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings})
        return self._send_file(text.encode(), {"Content-Type": "application/json"})

    def _send_status(self, code: int, headers: Mapping[str, str] = {}) -> None:
        self._send_headers(code, {"Content-Length": "0"} | dict(headers))

    def _send_file(self, content: bytes, headers: dict[str, str]) -> None:
        byte_range = self.headers.get("Range")
        start = int(byte_range.removeprefix("bytes=").rstrip("-")) if byte_range else 0
        if start and start >= len(content):
            return self._send_status(416)
        length_headers = {"Content-Length": str(len(content) - start), "Accept-Ranges": "bytes"}
        if start:
            length_headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send_headers(206 if start else 200, length_headers | headers)
        if self.command != "HEAD":
            self._send_body(content[start:])
        return None

    def _send_headers(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_body(self, body: bytes) -> None:
        hub = self.server.hub
        if hub.cuts:
            body = body[: hub.cuts.pop(0)]
            self.close_connection = True
        step = max(hub.bytes_per_second // 20, 1) if hub.bytes_per_second else max(len(body), 1)
        for offset in range(0, len(body), step):
            self.wfile.write(body[offset : offset + step])
            if hub.bytes_per_second:
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub while the block runs.

    As on the real hub, large files are on another host name.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}", f"http://localhost:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
