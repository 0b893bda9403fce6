"""What became of an invoice: every payment to its address, weighed against what was asked for.

Source: docs/payments.md, "Invoices".
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from wallet.amounts import format_amount
from wallet.book import Invoice
from wallet.scan import Incoming
from wallet.uri import PaymentUri, encode_uri

CONFIRMATIONS_DEFAULT = 1


class InvoiceState(enum.StrEnum):
    """What became of an invoice."""

    OPEN = "open"
    SEEN = "seen"
    """Something is on its way, and not confirmed often enough to count."""
    UNDERPAID = "underpaid"
    PAID = "paid"
    OVERPAID = "overpaid"
    EXPIRED = "expired"
    """Nothing came in time. What comes later still counts."""


PAID_STATES = frozenset({InvoiceState.PAID, InvoiceState.OVERPAID})


class InvoiceStanding(msgspec.Struct, frozen=True):
    """What the node says of an invoice."""

    state: InvoiceState
    confirmed: int
    """Base units of its asset that count."""
    unconfirmed: int
    """Base units that do not count yet."""
    payments: tuple[Incoming, ...]
    """Everything that was paid to its address, in other assets too."""


def judge(
    invoice: Invoice, payments: Sequence[Incoming], tip: int, confirmations: int, now: int
) -> InvoiceStanding:
    """Weigh the payments to the address of `invoice`; `tip` is a height, `now` seconds since 1970."""
    confirmed = unconfirmed = 0
    for entry in payments:
        if entry.asset != invoice.asset:
            continue
        if entry.height is not None and tip - entry.height + 1 >= confirmations:
            confirmed += entry.amount
        else:
            unconfirmed += entry.amount
    if confirmed >= invoice.amount:
        state = InvoiceState.PAID if confirmed == invoice.amount else InvoiceState.OVERPAID
    elif unconfirmed:
        state = InvoiceState.SEEN
    elif confirmed:
        state = InvoiceState.UNDERPAID
    elif invoice.expires is not None and invoice.expires < now:
        state = InvoiceState.EXPIRED
    else:
        state = InvoiceState.OPEN
    return InvoiceStanding(state, confirmed, unconfirmed, tuple(payments))


def uri_of(invoice: Invoice, address: str) -> str:
    """The payment URI of an invoice. Raises: WalletError if its texts are too long for one."""
    return encode_uri(
        PaymentUri(
            address=address,
            amount=format_amount(invoice.amount, invoice.decimals),
            asset=invoice.asset[::-1].hex(),
            label=invoice.label,
            message=invoice.memo,
            request=str(invoice.number),
            expires=invoice.expires,
        )
    )
