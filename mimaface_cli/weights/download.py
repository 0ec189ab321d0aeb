"""Fetching a file over http: streamed, resumed where it broke off, and in place only once its hash is right."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock

from mimaface_cli import __version__
from mimaface_cli.errors import WeightsError

_TIMEOUT = 30.0  # seconds without a byte
_ATTEMPTS = 4
_PAUSE = 1.0  # seconds before the second attempt, more before the later ones
_CHUNK = 256 * 1024
_MUCH = 32 << 20  # bytes: an attempt that brought so many does not count

Progress = Callable[[int, int | None], None]


class _Interrupted(Exception):
    """The transfer broke off; another attempt may go on from there."""


@dataclass(frozen=True)
class _File:
    """What is fetched: digest is a SHA-256 (64 hex digits) or a git blob's SHA-1 (40)."""

    url: str
    digest: str
    size: int | None
    headers: Mapping[str, str]
    progress: Progress


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, but shows a token only to the host it is for."""

    def redirect_request(self, request, *args):
        following = super().redirect_request(request, *args)
        if following is not None and urlsplit(following.full_url).netloc != urlsplit(request.full_url).netloc:
            following.remove_header("Authorization")
        return following


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    git_sha1: str | None = None,
    size: int | None = None,
    headers: Mapping[str, str] = {},
    progress: Progress | None = None,
) -> Path:
    """Bring `url` (http or https) to `target` and return it; what is there already is checked and never replaced.

    One of sha256 and git_sha1 (of a git blob) is needed; headers go to the url's own host only. What has come lies in
    `<target>.part` until it is whole, also after Ctrl-C, and a later call goes on from there.
    Runs that want the same file wait for each other. progress: bytes so far and in all (None: unknown). The proxies of
    the environment are used. Raises WeightsError.
    """
    digest = sha256 or git_sha1
    if not digest:
        raise ValueError(f"{url}: what is fetched is known by its hash")
    if not url.startswith(("https://", "http://")):
        raise WeightsError(f"{url}: is not an http or https address; correct MIMAFACE_MIRROR")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _fetch(_File(url, digest, size, headers, progress or (lambda done, total: None)), target)
            elif _digest(target, digest) != digest:
                raise WeightsError(f"{target}: is not the released file; remove it or put the right one there")
    except OSError as error:  # what the network raises is turned into WeightsError further in
        raise WeightsError(
            f"{target}: cannot be written ({error.strerror or error}); free some space or set MIMAFACE_WEIGHTS_DIR"
        ) from error
    return target


def _fetch(file: _File, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    reason: object = None
    attempt = 0
    while attempt < _ATTEMPTS:
        time.sleep(_PAUSE * attempt)
        resumed = _size(part)
        try:
            _receive(file, part)
        except _Interrupted as interruption:
            reason = interruption
            attempt = 1 if _size(part) - resumed >= _MUCH else attempt + 1
            continue
        digest = _digest(part, file.digest)
        if digest == file.digest:
            os.replace(part, target)
            return
        part.unlink()
        reason = f"what came has the hash {digest} instead of {file.digest}"
        if not resumed:
            raise WeightsError(f"{file.url}: is not the released file: {reason}")
        # Otherwise the beginning was left by something else, or the server's file has changed since: all of it anew.
        attempt += 1
    raise WeightsError(f"{file.url}: broke off {_ATTEMPTS} times ({reason}); run again to go on from there")


def _receive(file: _File, part: Path) -> None:
    """Bring `part` to its full length. Raises _Interrupted, WeightsError, or OSError where the disk refuses."""
    url, size = file.url, file.size
    begun = done = _size(part)
    if size is not None and done >= size:
        part.touch()  # an empty file is whole before it is there
        return
    headers = {"User-Agent": f"mimaface/{__version__}", **file.headers} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        response = build_opener(_Redirects).open(Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and done:  # nothing beyond what is here: its hash will tell
            return
        if error.code == 429 or error.code >= 500:
            raise _Interrupted(f"the server answers {error.code} {error.reason}") from error
        raise WeightsError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        if begun and not isinstance(error, ValueError):  # it was there before
            raise _Interrupted(f"cannot be reached ({_reason(error)})") from error
        raise WeightsError(f"{url}: cannot be reached ({_reason(error)})") from error
    with response:
        if response.status != 206:
            done = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            part.unlink(missing_ok=True)
            raise _Interrupted("the server answers with another part of the file")
        length = response.headers.get("Content-Length", "")
        known = length.isdecimal() and len(length) < 20
        total = size if size is not None else done + int(length) if known else None
        if total is not None:
            _check_space(part, total - done)
        with part.open("ab" if done else "wb") as stream:
            for chunk in _chunks(response):
                stream.write(chunk)
                done += len(chunk)
                if size is not None and done > size:
                    break
                file.progress(done, total)
    if size is not None and done > size:
        part.unlink()
        raise WeightsError(f"{url}: is not the released file: it is longer than {size} bytes")
    if total is not None and done < total:
        raise _Interrupted(f"{done} of {total} bytes came")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _digest(path: Path, like: str) -> str:
    """The file's hash of the same kind, in hex."""
    with path.open("rb") as file:
        if len(like) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        # usedforsecurity: git's identity of a file, on systems that otherwise refuse SHA-1.
        blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            blob.update(chunk)
        return blob.hexdigest()


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, HTTPException) as error:
            raise _Interrupted(_reason(error)) from error
        if not chunk:
            return
        yield chunk


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise WeightsError(
            f"{part.parent}: {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB free; "
            "free some space or set MIMAFACE_WEIGHTS_DIR to another disk"
        )


def _reason(error: BaseException) -> str:
    """The system's own words, on one line."""
    cause = getattr(error, "reason", error)
    return " ".join(str(getattr(cause, "strerror", None) or cause).split()) or type(cause).__name__
