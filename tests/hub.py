"""A model hub on this machine: the protocol that huggingface_hub and `mimaface weights pull` speak, and its failures.

Serve a folder with `hub.add_folder`, and run the command with `hub.environment` in its own.
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

_SMALL = (".json", ".txt", ".md")  # kept in git itself; everything else is a large file, elsewhere
COMMIT = hashlib.sha1(b"the only commit").hexdigest()


@dataclass(frozen=True)
class Asked:
    """One request: on_cdn, where large files lie; authorization and span are its headers."""

    method: str
    path: str
    span: str | None
    authorization: str | None
    on_cdn: bool


@dataclass
class Hub:
    """What is served and how it misbehaves. repos: {owner/name: {path: bytes}}. plain: {path: bytes}, no repository.

    The next bodies end after `cuts` bytes; the next requests for bodies, or for what a file is, are answered with
    `codes` and `head_codes`. wrong: bytes sent instead of the right ones, by file path. pace: bytes a second.
    gated and private repositories open to `token` alone.
    """

    base: str
    cdn: str
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    head_codes: list[int] = field(default_factory=list)
    wrong: dict[str, bytes] = field(default_factory=dict)
    pace: int | None = None
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    token: str = "hf_right"
    hashes: bool = True  # whether the server tells them
    asked: list[Asked] = field(default_factory=list)

    def add_folder(self, repo: str, folder: Path) -> None:
        """Serve every file below a folder as a repository."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repos.setdefault(repo, {}).update(files)

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that send a process here, and keep its own settings for the hub out."""
        return {
            "HF_ENDPOINT": self.base,
            "HF_HOME": str(home / "hf"),
            "HF_TOKEN": "",
            "HF_HUB_OFFLINE": "",
            "MIMAFACE_MIRROR": f"{self.base}/mirror",
            "NO_PROXY": "*",
        }

    def bodies(self) -> list[Asked]:
        """The requests that asked for bytes of large files."""
        return [asked for asked in self.asked if asked.on_cdn]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub: Hub = self.server.hub
        path = unquote(self.path.partition("?")[0])
        on_cdn = path.startswith("/cdn/")
        authorization = self.headers.get("Authorization")
        hub.asked.append(Asked(self.command, path, self.headers.get("Range"), authorization, on_cdn))
        codes = hub.head_codes if self.command == "HEAD" else hub.codes
        if codes:
            return self._say(codes.pop(0))
        if path in hub.plain:
            return self._send(hub.plain[path], {})
        if on_cdn:
            _, _, repo, name = path.split("/", 3)
            content = hub.repos[repo.replace("--", "/")][name]
            return self._send(hub.wrong.get(name, content), {})
        if path.startswith("/api/models/"):
            return self._model(path.removeprefix("/api/models/").partition("/revision/")[0])
        if "/resolve/" not in path:
            return self._say(404)
        owner, _, rest = path.removeprefix("/").partition("/")
        name, _, rest = rest.partition("/resolve/")
        revision, _, file = rest.partition("/")
        return self._resolve(f"{owner}/{name}", revision, file, authorization)

    def _resolve(self, repo: str, revision: str, file: str, authorization: str | None) -> None:
        hub: Hub = self.server.hub
        allowed = authorization == f"Bearer {hub.token}"
        if repo not in hub.repos or (repo in hub.private and not allowed):
            return self._say(404 if allowed else 401, {"X-Error-Code": "RepoNotFound"})
        if repo in hub.gated and not allowed:
            return self._say(403 if authorization else 401, {"X-Error-Code": "GatedRepo"})
        if revision not in ("main", COMMIT):
            return self._say(404, {"X-Error-Code": "RevisionNotFound"})
        known = {"X-Repo-Commit": COMMIT}
        if file not in hub.repos[repo]:
            return self._say(404, known | {"X-Error-Code": "EntryNotFound"})
        content = hub.repos[repo][file]
        if file.endswith(_SMALL):
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return self._send(hub.wrong.get(file, content), known | ({"ETag": f'"{blob}"'} if hub.hashes else {}))
        large = {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
        place = {"Location": f"{hub.cdn}/cdn/{repo.replace('/', '--')}/{file}"}
        return self._say(302, known | place | (large if hub.hashes else {}))

    def _model(self, repo: str) -> None:
        hub: Hub = self.server.hub
        if repo not in hub.repos:
            return self._say(404, {"X-Error-Code": "RepoNotFound"})
        siblings = [{"rfilename": name} for name in sorted(hub.repos[repo])]
        text = json.dumps({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings})
        return self._send(text.encode(), {"Content-Type": "application/json"})

    def _say(self, code: int, headers: Mapping[str, str] = {}) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        hub: Hub = self.server.hub
        span = self.headers.get("Range")
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        if start and start >= len(content):
            return self._say(416)
        told = {"Content-Length": str(len(content) - start), "Accept-Ranges": "bytes"}
        if start:
            told["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if start else 200)
        for name, value in (told | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        body = content[start:]
        if hub.cuts:
            body = body[: hub.cuts.pop(0)]
            self.close_connection = True
        step = max(hub.pace // 20, 1) if hub.pace else max(len(body), 1)
        for offset in range(0, len(body), step):
            self.wfile.write(body[offset : offset + step])
            if hub.pace:
                self.wfile.flush()
                time.sleep(0.05)
        return None

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub while the block runs. Its large files lie under another host name, as in life."""
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
