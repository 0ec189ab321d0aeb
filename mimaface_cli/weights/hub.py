"""Model repositories on the Hugging Face hub: what a file is there, before any of it is fetched."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mimaface_cli.errors import WeightsError, brief
from mimaface_cli.weights.registry import HubFile

_TIMEOUT = 20.0  # seconds
_ATTEMPTS = 3
_PAUSE = 1.0  # seconds before the second attempt, more before the third


@dataclass(frozen=True)
class HubEntry:
    """One file of one revision. url: of that revision, on the hub or its mirror; size in bytes, None if untold.

    digest: SHA-256 (64 hex digits) or, for small files, the git blob's SHA-1 (40). headers: with the user's token.
    """

    file: HubFile
    commit: str
    url: str
    digest: str
    size: int | None
    headers: dict[str, str]

    @property
    def source(self) -> str:
        return f"{self.file.repo}@{self.commit}/{self.file.path}"


class _Absent(Exception):
    """The repository or the file is not there (or not for us)."""


def find(candidates: Sequence[HubFile]) -> HubEntry:
    """The first of these files that the hub has, at the newest revision of its main branch.

    HF_ENDPOINT names a mirror, HF_TOKEN the user's token, HF_HUB_OFFLINE forbids the network. Raises WeightsError.
    """
    reasons = []
    for file in candidates:
        try:
            return _look_up(file)
        except _Absent as absent:
            reasons.append(str(absent))
    raise WeightsError(
        f"{'; '.join(dict.fromkeys(reasons))}; or get the files another way and run: mimaface weights import FOLDER"
    )


def _look_up(file: HubFile) -> HubEntry:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # nobody asked for it
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError
    from huggingface_hub.utils import build_hf_headers, logging

    logging.set_verbosity_error()
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    url = hf_hub_url(file.repo, file.path, endpoint=endpoint)
    page = url.partition("/resolve/")[0]
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE * attempt)
        try:
            found = get_hf_file_metadata(url, timeout=_TIMEOUT, endpoint=endpoint, library_name="mimaface")
            break
        except GatedRepoError as error:
            raise _Absent(f"{page}: accept its license there, and set HF_TOKEN to your token") from error
        except EntryNotFoundError as error:
            raise _Absent(f"{page}: has no {file.path}") from error
        except RepositoryNotFoundError as error:  # the hub does not tell whether it is private
            raise _Absent(f"{page}: no such repository, or not one for you; set HF_TOKEN if it is private") from error
        except OfflineModeIsEnabled as error:
            raise WeightsError(
                f"{page}: HF_HUB_OFFLINE forbids the network; unset it, or run: mimaface weights import FOLDER"
            ) from error
        except Exception as error:  # of whichever http library the hub's client uses in its version
            code = getattr(getattr(error, "response", None), "status_code", None)
            if attempt < _ATTEMPTS - 1 and (code == 429 or (code or 0) >= 500 or "imeout" in type(error).__name__):
                continue
            raise _refused(page, code, error) from error
    if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", found.etag or "") or not found.commit_hash:
        raise WeightsError(f"{url}: the server does not tell the file's hash and revision; correct HF_ENDPOINT")
    if file.sha256 and len(found.etag) == 64 and found.etag != file.sha256:
        raise WeightsError(f"{url}: is not the released file: it has the SHA-256 {found.etag} instead of {file.sha256}")
    headers = build_hf_headers(library_name="mimaface")
    kept = {name.title(): value for name, value in headers.items() if name.lower() == "authorization"}
    url = hf_hub_url(file.repo, file.path, revision=found.commit_hash, endpoint=endpoint)
    return HubEntry(file, found.commit_hash, url, file.sha256 or found.etag, found.size, kept)


def _refused(page: str, code: int | None, error: Exception) -> WeightsError:
    if code in (401, 403):
        return WeightsError(
            f"{page}: the server answers {code}; set HF_TOKEN to a token that may read it, and accept its license there"
        )
    if code:
        return WeightsError(f"{page}: the server answers {code}; try again later, or set HF_ENDPOINT to a mirror")
    reason = brief(error)
    return WeightsError(
        f"{page}: cannot be reached ({reason}); set HF_ENDPOINT to a mirror, or run: mimaface weights import FOLDER"
    )
