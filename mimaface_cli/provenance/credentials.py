"""Content credentials (C2PA): a signed account of what was generated from what, by c2pa-python where it is installed.

The signature is the last thing that happens to a file. Every input is an ingredient, with the credentials it came with:
broken ones too, which c2pa keeps with what is wrong with them.
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
from mimaface_cli.provenance.record import FORMAT, GENERATED, TERMS, Record

_TYPES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff",
    ".tiff": "image/tiff", ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".avi": "video/avi",
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".flac": "audio/flac", ".avif": "image/avif",
}  # fmt: skip
_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_STORE = b"jumdc2pa"  # how a store of credentials begins
_UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True)
class Certificate:
    """A chain of certificates, the signing one first, and its key; both PEM, checked by `load_certificate`."""

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str
    name: str


def load_certificate(chain: Path, key: Path) -> Certificate:
    """Read and check what signs. Raises InputError for files that are missing, unreadable, no pair or not fit to sign,
    WeightsError where c2pa-python is not installed.
    """
    if not available():
        raise WeightsError('--certificate: signing needs c2pa-python; run: pip install "mimaface[c2pa]"')
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    read = []
    for option, path in (("--certificate", chain), ("--private-key", key)):
        try:
            read.append(path.read_bytes())
        except OSError as error:
            raise InputError(f"{option} {path}: cannot be read ({error.strerror or error}); name a PEM file") from error
    try:
        certificate = x509.load_pem_x509_certificates(read[0])[0]
    except ValueError as error:
        raise InputError(f"--certificate {chain}: holds no PEM certificate") from error
    try:
        private = serialization.load_pem_private_key(read[1], None)
    except (ValueError, TypeError) as error:
        raise InputError(f"--private-key {key}: holds no PEM key, or one that wants a password") from error
    if private.public_key() != certificate.public_key():
        raise InputError(f"--private-key {key}: is not the key of --certificate {chain}")
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _ALGORITHMS:
        algorithm = _ALGORITHMS[private.curve.name]
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = "ps256"
    else:
        raise InputError(f"--private-key {key}: C2PA signs with P-256, P-384, P-521, Ed25519 or RSA keys")
    made = Certificate(*read, algorithm, certificate.subject.rfc4514_string())
    if fault := _trial(made):
        raise InputError(f"--certificate {chain}: cannot sign content credentials ({fault})")
    return made


def _trial(certificate: Certificate) -> str | None:
    """What keeps a certificate from signing (its dates, what it is for), told on a picture of one pixel."""
    import c2pa
    from PIL import Image

    source, target = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(source, "JPEG")
    source.seek(0)
    try:
        _sign(certificate, _definition("mimaface", "0", TERMS + GENERATED), {}, "image/jpeg", source, target)
    except c2pa.C2paError as error:
        return brief(error)
    return None


def available() -> bool:
    return importlib.util.find_spec("c2pa") is not None


def can_sign(path: Path) -> bool:
    """Whether files of that name can carry credentials."""
    return path.suffix.lower() in _TYPES and "%" not in path.name


def sign(path: Path, certificate: Certificate, record: Record, inputs: Mapping[str, Path]) -> None:
    """Sign a finished file in place. Raises OutputError where c2pa cannot, leaving the file as it was."""
    import c2pa

    signed = path.with_name(f"{path.name}.signed{path.suffix}")
    generator = record.content["generator"]
    definition = _definition(generator["name"], generator["version"], record.source_type)
    told = {"format": FORMAT, "identifier": record.name} | record.content
    definition["assertions"].append({"label": "org.mimaface.record", "data": told})
    try:
        with path.open("rb") as source, signed.open("w+b") as target:
            _sign(certificate, definition, inputs, _TYPES[path.suffix.lower()], source, target)
        os.replace(signed, path)
    except c2pa.C2paError as error:
        raise OutputError(f"{path.name}: cannot be signed ({brief(error)}); see --certificate") from error
    finally:
        signed.unlink(missing_ok=True)


def _definition(name: str, version: str, source_type: str) -> dict[str, Any]:
    """What a store says at least: by what it was created."""
    program = {"name": name, "version": version}
    created = {"action": "c2pa.created", "digitalSourceType": source_type, "softwareAgent": program}
    actions = {"label": "c2pa.actions.v2", "data": {"actions": [created]}}
    return {"claim_generator_info": [program], "assertions": [actions]}


def _sign(
    certificate: Certificate,
    definition: Mapping[str, Any],
    inputs: Mapping[str, Path],
    kind: str,
    source: IO[bytes],
    target: IO[bytes],
) -> None:
    import c2pa

    info = c2pa.C2paSignerInfo(certificate.algorithm, certificate.chain, certificate.key, None)
    with c2pa.Signer.from_info(info) as signer, _context() as context:
        with c2pa.Builder(definition, context=context) as builder:
            for part, given in inputs.items():
                _add(builder, part, given)
            builder.sign(signer, kind, source, target)


def read(path: Path) -> dict[str, Any] | None:
    """The credentials a file carries: state (valid, trusted or invalid), signer, generator, record (ours only),
    ingredients and what is wrong; None where there are none, or c2pa-python is not installed.
    """
    kind = _TYPES.get(path.suffix.lower())
    if kind is None or path.is_dir() or not available():
        return None
    import c2pa

    try:
        with _context() as context, path.open("rb") as file, c2pa.Reader(kind, file, context=context) as reader:
            store, state = json.loads(reader.json()), reader.get_validation_state()
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, ValueError) as error:
        # Files that hold no credentials can fail in many ways; those that hold unreadable ones are not passed over.
        return {"state": "unreadable", "faults": [brief(error)]} if _mentions(path) else None
    try:
        return _account(store, str(state).lower())
    except (AttributeError, TypeError, KeyError) as error:  # well signed, but of another shape than C2PA's
        return {"state": "unreadable", "faults": [brief(error)]}


def _account(store: Mapping[str, Any], state: str) -> dict[str, Any]:
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    generators = active.get("claim_generator_info") or [{}]
    records = [a.get("data") for a in active.get("assertions", []) if a.get("label") == "org.mimaface.record"]
    faults = [str(entry["code"]) for entry in store.get("validation_status") or () if entry.get("code") != _UNTRUSTED]
    return {
        "state": state,
        "signer": (active.get("signature_info") or {}).get("common_name"),
        "generator": generators[0].get("name"),
        "record": records[0] if records and isinstance(records[0], dict) else None,
        "ingredients": [_ingredient(entry) for entry in active.get("ingredients", ())],
        "faults": faults,
    }


def input_notes(inputs: Mapping[str, Path], signing: bool) -> tuple[dict[str, Any], list[str]]:
    """What credentials inputs carry, by their part, and what the user is to be told of it."""
    found, notes = {}, []
    for part, path in inputs.items():
        told = read(path)
        if told is None:
            continue
        found[part] = {key: told.get(key) for key in ("state", "signer", "generator", "faults")}
        if told["state"] in ("invalid", "unreadable"):
            kept = "; kept with the result as broken" if signing else "; said so in the record"
            fault = ", ".join(told["faults"]) or told["state"]
            notes.append(f"warning: {path.name}: its content credentials are broken ({fault}){kept}")
        elif not signing:
            notes.append(
                f"{path.name}: carries content credentials by {told['signer']}; named in the record, but only a signed "
                "result (--certificate) can carry them on"
            )
    return found, notes


def _context():
    import c2pa

    return c2pa.Context.from_dict(
        {"builder": {"thumbnail": {"enabled": False}}, "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    )


def _add(builder: Any, part: str, path: Path) -> None:
    import c2pa

    kind = _TYPES.get(path.suffix.lower())
    told = {"title": path.name, "relationship": "inputTo", "metadata": {"org.mimaface.part": part}}
    if kind is None or path.is_dir():
        return  # tracks and folders; the record names them by their hashes
    try:
        with path.open("rb") as file:
            builder.add_ingredient(told, kind, file)
    except c2pa.C2paError as error:
        raise OutputError(f"{path.name}: cannot be named as an ingredient ({brief(error)}); re-encode it") from error


def _ingredient(entry: Mapping[str, Any]) -> dict[str, Any]:
    checked = (entry.get("validation_results") or {}).get("activeManifest") or {}
    faults = [str(fault["code"]) for fault in checked.get("failure", ()) if fault.get("code") != _UNTRUSTED]
    return {"title": entry.get("title"), "credentials": "active_manifest" in entry, "faults": faults}


def _mentions(path: Path) -> bool:
    """Whether a file's bytes look as if they held credentials."""
    last = b""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if _STORE in last + block:
                return True
            last = block[-len(_STORE) :]
    return False
