"""Content credentials (C2PA): a signed manifest of how a file was generated, through the package c2pa-python.

The signature is the last change to a file. Every input is an ingredient together with its credentials; c2pa also keeps
invalid credentials, marked as invalid.
"""

import importlib.util
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mimaface_cli.errors import InputError, OutputError, WeightsError, brief
from mimaface_cli.files import is_image_folder
from mimaface_cli.provenance.record import FORMAT, GENERATED, SOURCE_TYPES, Record

_MEDIA_TYPES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff",
    ".tiff": "image/tiff", ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".avi": "video/avi",
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".flac": "audio/flac", ".avif": "image/avif",
}  # fmt: skip
_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_STORE_START = b"jumdc2pa"  # first bytes of a manifest store
_UNTRUSTED = "signingCredential.untrusted"
_RECORD_LABEL = "org.mimaface.record"


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs content credentials, checked by `load_certificate`.

    Attributes:
        chain: PEM certificates, the signing one first.
        key: PEM private key.
        algorithm: Name of the signature algorithm in C2PA.
        name: Subject of the signing certificate.
    """

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str
    name: str


def load_certificate(chain: Path, key: Path) -> Certificate:
    """Load a certificate and check that it can sign.

    Args:
        chain: PEM file with the certificates, the signing one first.
        key: PEM file with the private key, without a password.

    Raises:
        InputError: For files that are missing, unreadable, not a pair or not suitable for signing.
        WeightsError: Where c2pa-python is not installed.
    """
    if not is_available():
        raise WeightsError('signing needs c2pa-python. Run pip install "mimaface[c2pa]".', field="certificate")
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    chain_bytes, key_bytes = _read_pem(chain, "certificate"), _read_pem(key, "private_key")
    try:
        certificate = x509.load_pem_x509_certificates(chain_bytes)[0]
    except ValueError as error:
        raise InputError(f"{chain} contains no PEM certificate. Name another file.", field="certificate") from error
    try:
        private_key = serialization.load_pem_private_key(key_bytes, None)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{key} contains no PEM key, or one with a password. Name a key without a password.", field="private_key"
        ) from error
    if private_key.public_key() != certificate.public_key():
        raise InputError(f"{key} is not the key of {chain}. Name the two files of one pair.", field="private_key")
    algorithm = _find_algorithm(private_key)
    if algorithm is None:
        raise InputError(
            f"{key} has a type of key that C2PA does not support. Use a P-256, P-384, P-521, Ed25519 or RSA key.",
            field="private_key",
        )
    signer = Certificate(chain_bytes, key_bytes, algorithm, certificate.subject.rfc4514_string())
    if problem := _find_signing_problem(signer):
        raise InputError(
            f"{chain} cannot sign content credentials ({problem}). Use another certificate.", field="certificate"
        )
    return signer


def _read_pem(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}). Name a PEM file.", field=option
        ) from error


def _find_algorithm(private_key: object) -> str | None:
    """Return C2PA's name for the algorithm of a key, or None if C2PA does not support it."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        return _ALGORITHMS.get(private_key.curve.name)
    if isinstance(private_key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    return "ps256" if isinstance(private_key, rsa.RSAPrivateKey) else None


def _find_signing_problem(certificate: Certificate) -> str | None:
    """Sign a small image; return why the certificate cannot sign (its dates, its purpose), or None."""
    import c2pa
    from PIL import Image

    source, target = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(source, "JPEG")
    source.seek(0)
    try:
        _sign(
            certificate, _define_manifest("mimaface", "0", SOURCE_TYPES + GENERATED), {}, "image/jpeg", source, target
        )
    except c2pa.C2paError as error:
        return brief(error)
    return None


def is_available() -> bool:
    """Return whether c2pa-python is installed."""
    return importlib.util.find_spec("c2pa") is not None


def can_sign(path: Path) -> bool:
    """Return whether a file of that name can contain credentials."""
    return path.suffix.lower() in _MEDIA_TYPES and "%" not in path.name


def sign(path: Path, certificate: Certificate, record: Record, inputs: Mapping[str, Path]) -> None:
    """Sign a finished file in place.

    Args:
        path: The file.
        certificate: The certificate.
        record: The file's record, which becomes part of the signed statement.
        inputs: Input files by their role.

    Raises:
        OutputError: Where c2pa cannot sign the file, which then stays unchanged.
    """
    import c2pa

    signed = path.with_name(f"{path.name}.signed{path.suffix}")
    definition = _define_manifest(record.content["generator"]["name"], record.version, record.source_type)
    statement = {"format": FORMAT, "identifier": record.name} | record.content
    definition["assertions"].append({"label": _RECORD_LABEL, "data": statement})
    try:
        with path.open("rb") as source, signed.open("w+b") as target:
            _sign(certificate, definition, inputs, _MEDIA_TYPES[path.suffix.lower()], source, target)
        os.replace(signed, path)
    except c2pa.C2paError as error:
        raise OutputError(f"{path.name}: cannot be signed ({brief(error)}). Check `certificate`.") from error
    finally:
        signed.unlink(missing_ok=True)


def _define_manifest(name: str, version: str, source_type: str) -> dict[str, Any]:
    """Return the smallest definition of a manifest: the program that created the file."""
    program = {"name": name, "version": version}
    action = {"action": "c2pa.created", "digitalSourceType": source_type, "softwareAgent": program}
    actions = {"label": "c2pa.actions.v2", "data": {"actions": [action]}}
    return {"claim_generator_info": [program], "assertions": [actions]}


def _sign(
    certificate: Certificate,
    definition: Mapping[str, Any],
    inputs: Mapping[str, Path],
    media_type: str,
    source: IO[bytes],
    target: IO[bytes],
) -> None:
    import c2pa

    info = c2pa.C2paSignerInfo(certificate.algorithm, certificate.chain, certificate.key, None)
    with (
        c2pa.Signer.from_info(info) as signer,
        _open_context() as context,
        c2pa.Builder(definition, context=context) as builder,
    ):
        for role, path in inputs.items():
            _add_ingredient(builder, role, path)
        builder.sign(signer, media_type, source, target)


def _add_ingredient(builder: Any, role: str, path: Path) -> None:
    import c2pa

    media_type = _MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None or is_image_folder(path):
        return  # tracks and folders: the record identifies them by their hashes
    ingredient = {"title": path.name, "relationship": "inputTo", "metadata": {"org.mimaface.part": role}}
    try:
        with path.open("rb") as file:
            builder.add_ingredient(ingredient, media_type, file)
    except c2pa.C2paError as error:
        raise OutputError(f"{path.name}: cannot be added as an ingredient ({brief(error)}). Re-encode it.") from error


def read_credentials(path: Path) -> dict[str, Any] | None:
    """Return the content credentials of a file.

    Returns:
        state ("valid", "trusted", "invalid" or "unreadable"), signer, generator, record (of mimaface only),
        ingredients and faults. None if the file has no credentials or c2pa-python is not installed.
    """
    media_type = _MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None or is_image_folder(path) or not is_available():
        return None
    import c2pa

    try:
        with (
            _open_context() as context,
            path.open("rb") as file,
            c2pa.Reader(media_type, file, context=context) as reader,
        ):
            store, state = json.loads(reader.json()), reader.get_validation_state()
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, ValueError) as error:
        # Files without credentials can fail in many ways; only unreadable credentials are reported.
        return {"state": "unreadable", "faults": [brief(error)]} if _contains_store(path) else None
    try:
        return _summarize_store(store, str(state).lower())
    except (AttributeError, TypeError, KeyError) as error:  # correctly signed, but not in C2PA's format
        return {"state": "unreadable", "faults": [brief(error)]}


def _summarize_store(store: Mapping[str, Any], state: str) -> dict[str, Any]:
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    generators = active.get("claim_generator_info") or [{}]
    assertions = active.get("assertions", [])
    records = [assertion.get("data") for assertion in assertions if assertion.get("label") == _RECORD_LABEL]
    return {
        "state": state,
        "signer": (active.get("signature_info") or {}).get("common_name"),
        "generator": generators[0].get("name"),
        "record": records[0] if records and isinstance(records[0], dict) else None,
        "ingredients": [_summarize_ingredient(entry) for entry in active.get("ingredients", ())],
        "faults": _fault_codes(store.get("validation_status") or ()),
    }


def _summarize_ingredient(entry: Mapping[str, Any]) -> dict[str, Any]:
    results = (entry.get("validation_results") or {}).get("activeManifest") or {}
    return {
        "title": entry.get("title"),
        "credentials": "active_manifest" in entry,
        "faults": _fault_codes(results.get("failure", ())),
    }


def _fault_codes(entries: Any) -> list[str]:
    """Return the codes of validation errors, without the one for a signer that is not on a trust list."""
    return [str(entry["code"]) for entry in entries if entry.get("code") != _UNTRUSTED]


def read_input_credentials(inputs: Mapping[str, Path], is_signing: bool) -> tuple[dict[str, Any], list[str]]:
    """Return the credentials of input files.

    Args:
        inputs: Input files by their role.
        is_signing: Whether the result will be signed.

    Returns:
        State, signer, generator and faults by role, for the inputs that have credentials, and notes for the user.
    """
    summaries, notes = {}, []
    for role, path in inputs.items():
        summary = read_credentials(path)
        if summary is None:
            continue
        summaries[role] = {key: summary.get(key) for key in ("state", "signer", "generator", "faults")}
        if summary["state"] in ("invalid", "unreadable"):
            faults = ", ".join(summary["faults"]) or summary["state"]
            consequence = "kept with the result as broken" if is_signing else "stated in the record"
            problem = f"its content credentials are broken ({faults})"
            notes.append(f"warning: {path.name}: {problem}; {consequence}")
        elif not is_signing:
            signer = summary["signer"]
            notes.append(
                f"{path.name}: has content credentials by {signer}; the record names them, but only a signed result "
                "(`certificate`) can keep them"
            )
    return summaries, notes


def _open_context() -> Any:
    """Return a c2pa context that creates no thumbnails and opens no network connection."""
    import c2pa

    return c2pa.Context.from_dict(
        {"builder": {"thumbnail": {"enabled": False}}, "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    )


def _contains_store(path: Path) -> bool:
    """Return whether a file contains the first bytes of a manifest store."""
    overlap = b""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if _STORE_START in overlap + block:
                return True
            overlap = block[-len(_STORE_START) :]
    return False
