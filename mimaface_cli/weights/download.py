"""Resumable HTTP download of one file. The file gets its final name only after its hash is verified."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock

from mimaface_cli import __version__
from mimaface_cli.errors import WeightsError

_TIMEOUT = 30.0  # seconds without data
_ATTEMPTS = 4
_PAUSE = 1.0  # seconds before the second attempt, longer before later ones
_CHUNK_BYTES = 256 * 1024
_PROGRESS_BYTES = 32 << 20  # an attempt that received this much does not count as failed

ByteCallback = Callable[[int, int | None], None]
"""Called with the number of bytes received and the total, which is None if it is unknown."""


class _InterruptedError(Exception):
    """The transfer was interrupted. Another attempt may resume it."""


@dataclass(frozen=True)
class _Request:
    """A file to download.

    Attributes:
        url: Address.
        digest: SHA-256 (64 hex digits) or SHA-1 of the git blob (40 hex digits).
        size: Size in bytes, or None if unknown.
        headers: HTTP headers for the host of the address.
        progress: Called for every chunk.
    """

    url: str
    digest: str
    size: int | None
    headers: Mapping[str, str]
    progress: ByteCallback


class _TokenSafeRedirects(HTTPRedirectHandler):
    """Redirect handler that sends a token only to the host that it belongs to."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        redirected = super().redirect_request(req, fp, code, msg, headers, newurl)
        if redirected is not None and urlsplit(redirected.full_url).netloc != urlsplit(req.full_url).netloc:
            redirected.remove_header("Authorization")
        return redirected


def download_file(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    git_sha1: str | None = None,
    size: int | None = None,
    headers: Mapping[str, str] | None = None,
    progress: ByteCallback | None = None,
) -> Path:
    """Download a file, or check the existing file, which is never replaced.

    The partial file is `<target>.part`. It remains after an interruption, including Ctrl-C, and the next call resumes
    it. Processes that download the same file wait for each other. The proxies of the environment are used.

    Args:
        url: HTTP or HTTPS address.
        target: Path of the downloaded file.
        sha256: SHA-256 of the file (hex). Either this or `git_sha1` is required.
        git_sha1: SHA-1 of the file as a git blob (hex).
        size: Size in bytes, or None if unknown.
        headers: HTTP headers, sent only to the host of the address.
        progress: Called for every chunk.

    Returns:
        `target`.

    Raises:
        WeightsError: The file cannot be downloaded or written, or is not the expected one.
    """
    digest = sha256 or git_sha1
    if not digest:
        raise ValueError(f"{url}: a download needs a hash")
    if not url.startswith(("https://", "http://")):
        raise WeightsError(f"{url}: is not an http or https address. Correct MIMAFACE_MIRROR.")
    request = _Request(url, digest, size, headers or {}, progress or (lambda done, total: None))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _download(request, target)
            elif _compute_digest(target, digest) != digest:
                raise WeightsError(
                    f"{target}: is not the released file. Remove it, or replace it with the released file."
                )
    except OSError as error:  # only disk errors: network errors are already converted to WeightsError
        raise WeightsError(
            f"{target}: cannot be written ({error.strerror or error}). Free some space or set MIMAFACE_WEIGHTS_DIR."
        ) from error
    return target


def _download(request: _Request, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    reason: object = None
    attempt = 0
    while attempt < _ATTEMPTS:
        time.sleep(_PAUSE * attempt)
        start = _partial_size(part)
        try:
            _receive(request, part)
        except _InterruptedError as interruption:
            reason = interruption
            attempt = 1 if _partial_size(part) - start >= _PROGRESS_BYTES else attempt + 1
            continue
        digest = _compute_digest(part, request.digest)
        if digest == request.digest:
            os.replace(part, target)
            return
        part.unlink()
        reason = f"the downloaded file has the hash {digest} instead of {request.digest}"
        if not start:
            raise WeightsError(
                f"{request.url}: is not the released file: {reason}. Set MIMAFACE_MIRROR or HF_ENDPOINT to another "
                "server."
            )
        # The partial file came from another source, or the server's file has changed: start over.
        attempt += 1
    raise WeightsError(
        f"{request.url}: the download was interrupted {_ATTEMPTS} times ({reason}). Run the command again to resume."
    )


def _receive(request: _Request, part: Path) -> None:
    """Complete the partial file.

    Raises:
        _InterruptedError: The transfer was interrupted.
        WeightsError: The server refuses the request, or the file is not the expected one.
        OSError: The file cannot be written.
    """
    start = _partial_size(part)
    if request.size is not None and start >= request.size:
        part.touch()  # a file of 0 bytes is complete without a request
        return
    response = _open(request, start)
    if response is None:
        return
    with response:
        if response.status != 206:
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _InterruptedError("the server sent another range than the requested one")
        total = _total_size(request, response, start)
        if total is not None:
            _check_space(part, total - start)
        received = _write_body(request, response, part, start, total)
    if request.size is not None and received > request.size:
        part.unlink()
        raise WeightsError(
            f"{request.url}: is not the released file: it is longer than {request.size} bytes. Set MIMAFACE_MIRROR or "
            "HF_ENDPOINT to another server."
        )
    if total is not None and received < total:
        raise _InterruptedError(f"received {received} of {total} bytes")


def _open(request: _Request, start: int) -> HTTPResponse | None:
    """Request the file from byte `start` on; return None if the server has no bytes beyond it."""
    url = request.url
    headers = {"User-Agent": f"mimaface/{__version__}", **request.headers}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        return build_opener(_TokenSafeRedirects).open(Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # the partial file may be complete; the caller checks its hash
            return None
        if error.code == 429 or error.code >= 500:
            raise _InterruptedError(f"the server returned {error.code} {error.reason}") from error
        raise WeightsError(
            f"{url}: the server returned {error.code} {error.reason}. Try again later, or set MIMAFACE_MIRROR."
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        if start and not isinstance(error, ValueError):  # the server was reachable before
            raise _InterruptedError(f"cannot be reached ({_describe(error)})") from error
        raise WeightsError(
            f"{url}: cannot be reached ({_describe(error)}). Check the network, or set MIMAFACE_MIRROR."
        ) from error


def _total_size(request: _Request, response: HTTPResponse, start: int) -> int | None:
    if request.size is not None:
        return request.size
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() and len(length) < 20 else None


def _write_body(request: _Request, response: HTTPResponse, part: Path, start: int, total: int | None) -> int:
    """Append the response to the partial file, up to its size, and return the new size."""
    received = start
    with part.open("ab" if start else "wb") as stream:
        for chunk in _read_chunks(response):
            stream.write(chunk)
            received += len(chunk)
            if request.size is not None and received > request.size:
                break
            request.progress(received, total)
    return received


def _read_chunks(response: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise _InterruptedError(_describe(error)) from error
        if not chunk:
            return
        yield chunk


def _partial_size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _compute_digest(path: Path, reference_digest: str) -> str:
    """Compute the file's hash (hex) with the algorithm of a reference hash."""
    with path.open("rb") as file:
        if len(reference_digest) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        # Git identifies a file by its SHA-1. Some systems refuse SHA-1 unless it is declared as not for security.
        blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
            blob.update(chunk)
        return blob.hexdigest()


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise WeightsError(
            f"{part.parent}: the download needs {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free. "
            "Free some space or set MIMAFACE_WEIGHTS_DIR to another disk."
        )


def _describe(error: BaseException) -> str:
    """Return the system's error message on one line."""
    cause = getattr(error, "reason", error)
    return " ".join(str(getattr(cause, "strerror", None) or cause).split()) or type(cause).__name__
