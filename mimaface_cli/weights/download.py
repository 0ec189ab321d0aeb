"""Fetching a file over http: streamed, resumed where it broke off, and in place only once its hash is right."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, build_opener

from filelock import FileLock

from mimaface_cli import __version__
from mimaface_cli.errors import WeightsError

_TIMEOUT = 30.0  # seconds without a byte
_ATTEMPTS = 4
_PAUSE = 1.0  # seconds before the second attempt, more before the later ones
_CHUNK = 256 * 1024


class _Interrupted(Exception):
    """The transfer broke off; another attempt may go on from there."""


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str,
    size: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Bring `url` (http or https) to `target` and return it; what is there already is checked and never replaced.

    What has come lies in `<target>.part` until it is whole, also after Ctrl-C, and a later call goes on from there.
    Runs that want the same file wait for each other. progress: bytes so far and in all (None: unknown). The proxies of
    the environment are used. Raises WeightsError.
    """
    if not url.startswith(("https://", "http://")):
        raise WeightsError(f"{url}: is not an http or https address; correct MIMAFACE_MIRROR")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _fetch(url, target, sha256, size, progress or (lambda done, total: None))
            elif _digest(target) != sha256:
                raise WeightsError(f"{target}: is not the released file; remove it or put the right one there")
    except OSError as error:  # what the network raises is turned into WeightsError further in
        raise WeightsError(
            f"{target}: cannot be written ({error.strerror or error}); free some space or set MIMAFACE_WEIGHTS_DIR"
        ) from error
    return target


def _fetch(url: str, target: Path, sha256: str, size: int | None, progress: Callable[[int, int | None], None]) -> None:
    part = target.with_name(f"{target.name}.part")
    reason: object = None
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE * attempt)
        resumed = part.exists()
        try:
            _receive(url, part, size, progress)
        except _Interrupted as interruption:
            reason = interruption
            continue
        digest = _digest(part)
        if digest == sha256:
            os.replace(part, target)
            return
        part.unlink()
        reason = f"what came has the SHA-256 {digest} instead of {sha256}"
        if not resumed:
            raise WeightsError(f"{url}: is not the released file: {reason}")
        # Otherwise the beginning was left by something else, or the server's file has changed since: all of it anew.
    raise WeightsError(f"{url}: broke off {_ATTEMPTS} times ({reason}); run again to go on from there")


def _receive(url: str, part: Path, size: int | None, progress: Callable[[int, int | None], None]) -> None:
    """Bring `part` to its full length. Raises _Interrupted, WeightsError, or OSError where the disk refuses."""
    done = part.stat().st_size if part.exists() else 0
    if size is not None and done >= size:
        return
    headers = {"User-Agent": f"mimaface/{__version__}"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        response = build_opener().open(Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and done:  # nothing beyond what is here: its hash will tell
            return
        if error.code == 429 or error.code >= 500:
            raise _Interrupted(f"the server answers {error.code} {error.reason}") from error
        raise WeightsError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
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
        with part.open("ab" if done else "wb") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                done += len(chunk)
                if size is not None and done > size:
                    break
                progress(done, total)
    if size is not None and done > size:
        part.unlink()
        raise WeightsError(f"{url}: is not the released file: it is longer than {size} bytes")
    if total is not None and done < total:
        raise _Interrupted(f"{done} of {total} bytes came")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
