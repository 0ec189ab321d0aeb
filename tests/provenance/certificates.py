"""A certificate for tests, made anew by them; its name says what it is."""

import datetime
from pathlib import Path

NAME = "mimaface TEST certificate - not for use"


def make(folder: Path, kind: str = "es256", until: int = 2054) -> tuple[Path, Path]:
    """A chain of two certificates (as C2PA wants them) and the key of the first, as PEM files. kind: es256, es384, es512,
    ps256 or ed25519; until: the year in which they end.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
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
        made = made.not_valid_before(datetime.datetime(2024, 1, 1)).not_valid_after(datetime.datetime(until, 1, 1))
        made = made.add_extension(x509.BasicConstraints(root, None), True).add_extension(usage(not root), True)
        if not root:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), True)
            made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(roots.public_key()), False)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        return made.sign(roots, hashes.SHA256())

    curves = {"es256": ec.SECP256R1, "es384": ec.SECP384R1, "es512": ec.SECP521R1}
    roots = ec.generate_private_key(ec.SECP256R1())
    if kind in curves:
        key = ec.generate_private_key(curves[kind]())
    else:
        key = rsa.generate_private_key(65537, 2048) if kind == "ps256" else ed25519.Ed25519PrivateKey.generate()
    chain, secret = folder / "TEST-certificate.pem", folder / "TEST-key.pem"
    pem = serialization.Encoding.PEM
    parts = certificate(NAME, key, False), certificate(f"{NAME} (root)", roots, True)
    chain.write_bytes(b"".join(part.public_bytes(pem) for part in parts))
    secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return chain, secret
