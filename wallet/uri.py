"""Payment URIs: `tael:ADDRESS?amount=1.5&label=Shop&request=17`, as others have them (BIP 21).

Text in, text out; nothing is looked up. What is read may come from anybody, so everything that is odd is
refused: what a person is shown must be all that is in it. Texts are for the person who pays and are never
written into the ledger.

Source: docs/payments.md, "Payment URIs".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

import msgspec

from wallet.errors import WalletError

SCHEME = "tael"
URI_MAX = 2_000
"""Characters: what fits into a QR code that a camera still reads."""
ADDRESS_MAX = 90
TEXT_MAX = 200
"""Characters of a label or a message."""
REQUEST_MAX = 64
TIME_MAX = 2**32 - 1
_MUST = "req-"
"""Before the name of a parameter: whoever does not know it must not pay."""
_ADDRESS = re.compile(rf"[0-9a-z]{{1,{ADDRESS_MAX}}}|[0-9A-Z]{{1,{ADDRESS_MAX}}}")
_AMOUNT = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,18})?")
_ASSET = re.compile(r"[0-9a-f]{64}")
_REQUEST = re.compile(rf"[A-Za-z0-9._-]{{1,{REQUEST_MAX}}}")
_TIME = re.compile(r"[0-9]{1,10}")
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$'()*,;:@/?+-]|%[0-9A-Fa-f]{2})*")
"""What may stand in the value of a parameter (RFC 3986); `+` is a plus, not a blank."""


class PaymentUri(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked to be paid."""

    address: str
    """In small letters; whether it is one of the network is for the caller to see."""
    amount: str = ""
    """Decimal text in whole units of the asset; empty: whoever pays decides."""
    asset: str = ""
    """Id in text form; empty for the native coin."""
    label: str = ""
    """Who is paid."""
    message: str = ""
    """What for."""
    request: str = ""
    """What whoever is paid calls it: letters, digits, `.`, `_`, `-`. It is paid once."""
    expires: int | None = None
    """Seconds since 1970 after which it should not be paid any more."""


def _wrong(reason: str) -> WalletError:
    return WalletError(f"not a payment URI to be followed: {reason}")


def is_uri(text: str) -> bool:
    """Whether `text` means to be a payment URI."""
    return text[: len(SCHEME) + 1].lower() == f"{SCHEME}:"


def decode_uri(text: str) -> PaymentUri:
    """Raises: WalletError."""
    if len(text) > URI_MAX:
        raise _wrong(f"it is longer than {URI_MAX} characters")
    if not is_uri(text):
        raise _wrong(f"it does not begin with {SCHEME}:")
    address, _, query = text[len(SCHEME) + 1 :].partition("?")
    if not _ADDRESS.fullmatch(address):
        raise _wrong("there is no address in it")
    given = _parameters(query)
    expires = _matching(given, "expires", _TIME)
    if expires and int(expires) > TIME_MAX:
        raise _wrong("expires is out of range")
    return PaymentUri(
        address=address.lower(),
        amount=_matching(given, "amount", _AMOUNT),
        asset=_matching(given, "asset", _ASSET),
        label=_text(given, "label"),
        message=_text(given, "message"),
        request=_matching(given, "request", _REQUEST),
        expires=int(expires) if expires else None,
    )


def encode_uri(uri: PaymentUri) -> str:
    """The text of a URI, which `decode_uri` reads back to the same.

    Raises: WalletError for what it would refuse.
    """
    named = {
        "amount": uri.amount, "asset": uri.asset, "label": uri.label, "message": uri.message,
        "request": uri.request, "expires": "" if uri.expires is None else str(uri.expires),
    }  # fmt: skip
    # Blanks and signs as %XX, so that no reader takes them for something else.
    query = "&".join(
        f"{name}={quote(value.encode('utf-8', 'surrogatepass'), safe='')}"
        for name, value in named.items()
        if value
    )
    text = f"{SCHEME}:{uri.address}" + (f"?{query}" if query else "")
    if decode_uri(text) != uri:
        raise _wrong("it would be read as another one")
    return text


def _parameters(query: str) -> Mapping[str, str]:
    """The parameters by name; those that are unknown and may be left out are not there."""
    found: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise _wrong(f"{pair[:40]!r} is no parameter")
        if not _ENCODED.fullmatch(value):
            raise _wrong(f"{name[:40]!r} holds what must be written as %XX")
        known = name.removeprefix(_MUST)
        if known not in _NAMES:
            if name.startswith(_MUST):
                raise _wrong(f"it asks for {name[:40]!r}, which this program does not know")
            continue
        # Two would be read one way here and another way elsewhere.
        if known in found:
            raise _wrong(f"{known} stands twice")
        try:
            found[known] = unquote_to_bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise _wrong(f"{known} is not UTF-8") from None
    return found


_NAMES = frozenset({"amount", "asset", "label", "message", "request", "expires"})


def _matching(given: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not form.fullmatch(value):
        raise _wrong(f"{name} is not in its form")
    return value


def _text(given: Mapping[str, str], name: str) -> str:
    value = given.get(name, "")
    if len(value) > TEXT_MAX or not value.isprintable():
        raise _wrong(f"{name} has more than {TEXT_MAX} characters, or unprintable ones")
    return value
