"""TLS between peers: certificates, pins, members. The only module that knows `ssl` and keys.

Source: docs/p2p.md, "Encryption".
"""

from __future__ import annotations

import datetime
import hashlib
import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from p2p.ports import Endpoint

MEMBERS_MAX = 10_000
PINS_MAX = 10_000
_FIRST_DAY = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_LAST_DAY = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""Means "never" (RFC 5280): pins and members lists end a certificate, not its age."""
_HEX = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_BLOCK = re.compile(
    rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----|-----BEGIN CERTIFICATE-----",
    re.DOTALL,
)


class TlsError(ValueError):
    """A certificate, key or fingerprint that cannot be used; the text says why."""


class Certificate:
    """The certificate of a node."""

    def __init__(self, pem: bytes) -> None:
        """Raises: TlsError."""
        try:
            found = x509.load_pem_x509_certificate(pem)
            self.last_day = found.not_valid_after_utc
            self.first_day = found.not_valid_before_utc
        except ValueError:
            raise TlsError("it is not a certificate in PEM form") from None
        self.pem = found.public_bytes(serialization.Encoding.PEM)
        self.fingerprint = fingerprint_of(found.public_bytes(serialization.Encoding.DER))

    def is_valid_at(self, now: int) -> bool:
        """`now` in seconds since 1970."""
        return self.first_day.timestamp() <= now <= self.last_day.timestamp()


def fingerprint_of(der: bytes) -> bytes:
    """The SHA-256 of a certificate in DER form."""
    return hashlib.sha256(der).digest()


def shown_by(encrypted: Any) -> bytes:
    """The fingerprint of the certificate that the other side of an SSLObject has shown.

    Empty if there is none: a side that accepted the connection asks only for those of members.
    """
    der = encrypted.getpeercert(binary_form=True)
    return fingerprint_of(der) if der else b""


def distrust(error: OSError) -> str:
    """What is wrong with the certificate of who failed in a handshake; empty if another thing is.

    Which certificate it was, OpenSSL tells only of those that it trusts.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not among the members"
    if isinstance(error, ssl.SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "it shows no certificate"
    return ""


def parse_fingerprint(text: str) -> bytes:
    """64 hexadecimal digits, with or without colons between. Raises: TlsError."""
    digits = text.replace(":", "").lower()
    if not _HEX.fullmatch(digits):
        raise TlsError("a fingerprint is 64 hexadecimal digits; `taeld --certificate` shows it")
    return bytes.fromhex(digits)


def make_identity() -> bytes:
    """A new key and its certificate, PEM. The randomness is OpenSSL's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tael node")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FIRST_DAY)
        .not_valid_after(_LAST_DAY)
        # Else a member could sign certificates for others.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def decode_identity(pem: bytes, now: int) -> Certificate:
    """Check a key and its certificate, PEM; return the certificate. Raises: TlsError."""
    certificate = Certificate(pem)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise TlsError("it holds no private key in PEM form without a password") from None
    own = x509.load_pem_x509_certificate(certificate.pem).public_key()
    if key.public_key() != own:
        raise TlsError("its key is not that of its certificate")
    if not certificate.is_valid_at(now):
        raise TlsError(
            f"its certificate is valid from {certificate.first_day:%Y-%m-%d} to "
            f"{certificate.last_day:%Y-%m-%d}, and not now"
        )
    return certificate


def decode_members(data: bytes) -> list[Certificate]:
    """The certificates in a members file; text between them is free. Raises: TlsError."""
    if _KEY.search(data):
        raise TlsError(
            "it holds a private key, which nobody but its node may have: put in what `taeld "
            "--certificate` shows, and remove the peer.pem of that node, which then makes another"
        )
    members = []
    blocks = _BLOCK.findall(data)
    if not blocks:
        raise TlsError("it holds no certificate; `taeld --certificate` shows that of a node")
    if len(blocks) > MEMBERS_MAX:
        raise TlsError(f"it holds more than {MEMBERS_MAX} certificates")
    for number, block in enumerate(blocks, 1):
        try:
            members.append(Certificate(block))
        except TlsError:
            raise TlsError(f"entry {number} is not a certificate in PEM form") from None
    return members


class Tls:
    """How one node speaks TLS: who it is, and whom it believes."""

    def __init__(
        self,
        identity: Path,
        certificate: Certificate,
        *,
        is_required: bool = False,
        members: Sequence[Certificate] = (),
        pins: Mapping[Endpoint, bytes] | None = None,
    ) -> None:
        """`identity` is the file of key and certificate. Raises: TlsError, OSError."""
        self.certificate = certificate
        self.is_required = is_required or bool(members)
        """Whether plain connections are refused."""
        self._members = frozenset(member.fingerprint for member in members)
        self._pins = dict(pins or {})
        for endpoint, wanted in self._pins.items():
            self.check_pin(endpoint, wanted)
        anchors = b"".join(member.pem for member in members).decode("ascii")
        try:
            self.server = _context(ssl.PROTOCOL_TLS_SERVER, identity, anchors)
            self.client = _context(ssl.PROTOCOL_TLS_CLIENT, identity, anchors)
        except ssl.SSLError as error:
            raise TlsError(f"OpenSSL refuses it: {error.reason}") from None

    def check_pin(self, endpoint: Endpoint, fingerprint: bytes) -> None:
        """Raises: TlsError, if `fingerprint` is none that could be believed."""
        if self._members and fingerprint not in self._members:
            raise TlsError(f"the certificate pinned for {endpoint} is not among the members")

    def pin(self, endpoint: Endpoint, fingerprint: bytes) -> None:
        """Believe at `endpoint` this certificate alone, from now on. Raises: TlsError."""
        self.check_pin(endpoint, fingerprint)
        if len(self._pins) >= PINS_MAX and endpoint not in self._pins:
            raise TlsError(f"{PINS_MAX} certificates are pinned already")
        self._pins[endpoint] = fingerprint

    def unpin(self, endpoint: Endpoint) -> None:
        """Undo `pin`."""
        self._pins.pop(endpoint, None)

    def must_encrypt(self, endpoint: Endpoint) -> bool:
        """Whether a plain connection to `endpoint` is out of the question."""
        return self.is_required or endpoint in self._pins

    def refusal(
        self, encrypted: Any, endpoint: Endpoint | None = None, pin: bytes | None = None
    ) -> str:
        """Why a connection is not believed; empty if it is.

        `encrypted` is its SSLObject, None if it is plain; `endpoint` is what was dialled, and
        `pin` what it must show instead of what is pinned for it.
        """
        pinned = self._pins.get(endpoint) if pin is None and endpoint is not None else pin
        if encrypted is None:
            return "it is not encrypted" if self.is_required or pinned is not None else ""
        shown = shown_by(encrypted)
        if pinned is not None and shown != pinned:
            return (
                f"it shows the certificate {shown.hex()} and not the pinned {pinned.hex()}: "
                "ask its operator which is right"
            )
        # OpenSSL believes whatever a member signed, too.
        if self._members and shown not in self._members:
            return f"its certificate {shown.hex()} is not among the members"
        return ""


def _context(protocol: int, identity: Path, anchors: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(identity)
    if anchors:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=anchors)
    return context
