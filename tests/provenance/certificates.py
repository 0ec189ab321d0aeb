"""A certificate for tests, made anew by them; its name says what it is."""

import datetime
from pathlib import Path

NAME = "mimaface TEST certificate - not for use"


def make(folder: Path) -> tuple[Path, Path]:
    """A chain of two certificates (P-256, as C2PA wants them) and the key of the first, as PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, NAME)]
        )

    def usage(signs: bool) -> x509.KeyUsage:
        names = "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only"
        return x509.KeyUsage(
            digital_signature=signs, key_cert_sign=not signs, crl_sign=not signs, **dict.fromkeys(names.split(), False)
        )

    def certificate(subject: str, key, root: bool) -> x509.Certificate:
        made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(f"{NAME} (root)"))
        made = made.public_key(key.public_key()).serial_number(1 + root)
        made = made.not_valid_before(datetime.datetime(2024, 1, 1)).not_valid_after(datetime.datetime(2054, 1, 1))
        made = made.add_extension(x509.BasicConstraints(root, None), True).add_extension(usage(not root), True)
        if not root:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), True)
            made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(roots.public_key()), False)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        return made.sign(roots, hashes.SHA256())

    roots, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain, secret = folder / "TEST-certificate.pem", folder / "TEST-key.pem"
    pem = serialization.Encoding.PEM
    parts = certificate(NAME, key, False), certificate(f"{NAME} (root)", roots, True)
    chain.write_bytes(b"".join(part.public_bytes(pem) for part in parts))
    secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return chain, secret
