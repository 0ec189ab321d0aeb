"""Metadata of files on the Hugging Face hub, read before any file is downloaded."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimaface_cli.errors import WeightsError, brief
from mimaface_cli.weights.registry import HubFile

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_TIMEOUT = 20.0  # seconds
_ATTEMPTS = 3
_PAUSE = 1.0  # seconds before the second attempt, twice as long before the third


@dataclass(frozen=True)
class HubEntry:
    """One file at one revision of a model repository.

    Attributes:
        file: The file in the registry.
        commit: Commit hash of the revision.
        url: Address of the file at that revision, on the hub or its mirror.
        digest: SHA-256 (64 hex digits) or, for a small file, the git blob's SHA-1 (40 hex digits).
        size: Size in bytes, or None if the hub does not report it.
        headers: HTTP headers with the user's token.
    """

    file: HubFile
    commit: str
    url: str
    digest: str
    size: int | None
    headers: dict[str, str]

    @property
    def source(self) -> str:
        """The file's origin for the manifest: repository@commit/path."""
        return f"{self.file.repo}@{self.commit}/{self.file.path}"


class _AbsentError(Exception):
    """The repository or the file does not exist, or the user has no access."""


def find_hub_file(candidates: Sequence[HubFile]) -> HubEntry:
    """Return the first of several files that the hub has at the head of a repository's main branch.

    Environment variables: HF_ENDPOINT sets a mirror, HF_TOKEN the user's token, HF_HUB_OFFLINE forbids the network.

    Args:
        candidates: Files in order of preference.

    Returns:
        The file's address and hash.

    Raises:
        WeightsError: None of the files is available, the hub cannot be reached, or the hash is not the registered one.
    """
    reasons = []
    for file in candidates:
        try:
            return _look_up(file)
        except _AbsentError as absence:
            reasons.append(str(absence))
    raise WeightsError(
        f"{' '.join(dict.fromkeys(reasons))} Or get the files another way and run mimaface weights import FOLDER."
    )


def _look_up(file: HubFile) -> HubEntry:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, logging

    logging.set_verbosity_error()
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    url = hf_hub_url(file.repo, file.path, endpoint=endpoint)
    metadata = _fetch_metadata(url, file.path, endpoint)
    digest, commit = metadata.etag or "", metadata.commit_hash
    if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", digest) or not commit:
        raise WeightsError(f"{url}: the server does not report the file's hash and revision. Correct HF_ENDPOINT.")
    if file.sha256 and len(digest) == 64 and digest != file.sha256:
        raise WeightsError(
            f"{url}: is not the released file: it has the SHA-256 {digest} instead of {file.sha256}. "
            "Set HF_ENDPOINT to another mirror, or get the file another way and run mimaface weights import FOLDER."
        )
    headers = build_hf_headers(library_name="mimaface")
    token_headers = {name.title(): value for name, value in headers.items() if name.lower() == "authorization"}
    url = hf_hub_url(file.repo, file.path, revision=commit, endpoint=endpoint)
    return HubEntry(file, commit, url, file.sha256 or digest, metadata.size, token_headers)


def _fetch_metadata(url: str, path: str, endpoint: str | None) -> "HfFileMetadata":
    """Request a file's metadata, again if the hub is busy."""
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    page = url.partition("/resolve/")[0]
    attempt = 0
    while True:
        time.sleep(_PAUSE * attempt)
        attempt += 1
        try:
            return get_hf_file_metadata(url, timeout=_TIMEOUT, endpoint=endpoint, library_name="mimaface")
        except GatedRepoError as error:
            raise _AbsentError(f"{page}: access is gated. Accept its license there and set HF_TOKEN.") from error
        except EntryNotFoundError as error:
            raise _AbsentError(f"{page}: has no {path}.") from error
        except RepositoryNotFoundError as error:  # the hub gives the same answer for private repositories
            raise _AbsentError(f"{page}: no such repository, or no access. Set HF_TOKEN if it is private.") from error
        except OfflineModeIsEnabled as error:
            raise WeightsError(
                f"{page}: HF_HUB_OFFLINE forbids the network. Unset it, or run mimaface weights import FOLDER."
            ) from error
        except Exception as error:  # the type depends on the HTTP library of the installed huggingface_hub
            code = getattr(getattr(error, "response", None), "status_code", None)
            is_busy = code == 429 or (code or 0) >= 500 or "imeout" in type(error).__name__
            if attempt == _ATTEMPTS or not is_busy:
                raise _connection_error(page, code, error) from error


def _connection_error(page: str, code: int | None, error: Exception) -> WeightsError:
    if code in (401, 403):
        return WeightsError(
            f"{page}: the server returned {code}. Set HF_TOKEN to a token with access, and accept the license there."
        )
    if code:
        return WeightsError(f"{page}: the server returned {code}. Try again later, or set HF_ENDPOINT to a mirror.")
    return WeightsError(
        f"{page}: cannot be reached ({brief(error)}). "
        "Set HF_ENDPOINT to a mirror, or run mimaface weights import FOLDER."
    )
