"""Certificates for tests, created by the tests; their name states that they are for tests."""

import datetime
from pathlib import Path
from typing import Any

NAME = "mimaface TEST certificate - not for use"


def make_certificate(folder: Path, kind: str = "es256", expiry_year: int = 2054) -> tuple[Path, Path]:
    """Write a chain of two certificates, as C2PA requires, and the private key of the first.

    Args:
        folder: Where the PEM files are written.
        kind: es256, es384, es512, ps256 or ed25519.
        expiry_year: Year in which the certificates expire.

    Returns:
        Paths of the chain and of the key.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    root_key, key = ec.generate_private_key(ec.SECP256R1()), _generate_key(kind)
    certificates = (
        _sign(NAME, key, root_key, False, expiry_year),
        _sign(f"{NAME} (root)", root_key, root_key, True, expiry_year),
    )
    chain_path, key_path = folder / "TEST-certificate.pem", folder / "TEST-key.pem"
    pem = serialization.Encoding.PEM
    chain_path.write_bytes(b"".join(certificate.public_bytes(pem) for certificate in certificates))
    key_path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return chain_path, key_path


def _generate_key(kind: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    curves = {"es256": ec.SECP256R1, "es384": ec.SECP384R1, "es512": ec.SECP521R1}
    if kind in curves:
        return ec.generate_private_key(curves[kind]())
    return rsa.generate_private_key(65537, 2048) if kind == "ps256" else ed25519.Ed25519PrivateKey.generate()


def _sign(subject: str, key: Any, root_key: Any, is_root: bool, expiry_year: int) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(f"{NAME} (root)"))
        .public_key(key.public_key())
        .serial_number(1 + is_root)
        .not_valid_before(datetime.datetime(2024, 1, 1))
        .not_valid_after(datetime.datetime(expiry_year, 1, 1))
        .add_extension(x509.BasicConstraints(is_root, None), True)
        .add_extension(_key_usage(not is_root), True)
    )
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
        )
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return builder.sign(root_key, hashes.SHA256())


def _name(text: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, NAME)]
    )


def _key_usage(signs_files: bool) -> Any:
    from cryptography import x509

    unused = [
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    ]
    flags = dict.fromkeys(unused, False) | {"key_cert_sign": not signs_files, "crl_sign": not signs_files}
    return x509.KeyUsage(digital_signature=signs_files, **flags)
