"""Options of the provenance marks on results."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mimaface_cli.errors import InputError
from mimaface_cli.options import option

if TYPE_CHECKING:
    from mimaface_cli.provenance.credentials import Certificate


@dataclass(frozen=True)
class ProvenanceOptions:
    """Options of the marks that identify a result as generated.

    Attributes:
        on: Whether results carry the watermark, metadata, a record and, with a certificate, content credentials.
        certificate: PEM file with the certificate chain that signs content credentials, or None.
        private_key: PEM file with the certificate's private key, or None; both files or none are needed.
    """

    on: bool = option(
        True, help="Mark the result as generated: watermark, metadata and a record (see mimaface inspect)."
    )
    certificate: Path | None = option(
        None,
        metavar="FILE",
        expert=True,
        help="Sign content credentials (C2PA) with this certificate chain (PEM).",
    )
    private_key: Path | None = option(None, metavar="FILE", expert=True, help="Private key of the certificate (PEM).")

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            missing = "certificate" if self.certificate is None else "private_key"
            raise InputError("is missing. Give both `certificate` and `private_key`, or neither.", field=missing)

    @cached_property
    def signer(self) -> "Certificate | None":
        """The certificate that signs, read once; None if nothing is signed.

        Raises:
            InputError: For files that cannot be used.
            WeightsError: Where the package for content credentials is not installed.
        """
        if not self.on or self.certificate is None or self.private_key is None:
            return None
        from mimaface_cli.provenance.credentials import load_certificate

        return load_certificate(self.certificate, self.private_key)
