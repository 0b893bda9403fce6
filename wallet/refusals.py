"""What a node's refusal of a transaction means to the person who pays, and what can be done.

A node answers with the name of a rule and the values behind it, such as `fee-too-low: 34, 340`. What is
not in the table, or comes with other values than it expects, is shown as the node wrote it.
"""

from __future__ import annotations

from typing import NamedTuple

from wallet.amounts import NATIVE_DECIMALS, display_amount

_DIGITS_MAX = 20

# {0} is the first value; `:amount` writes it in native coins, `:count` as a number. Of several texts
# the first whose values are of that kind is taken.
_TEXTS: dict[str, tuple[str, ...]] = {
    "fee-too-low": (
        "the fee of {0:amount} is below the {1:amount} that the node asks at least; raise --fee or "
        "--fee-rate, or leave them out",
    ),
    "fee-below-floor": (
        "the node has so many payments waiting that it asks {1:amount} for this one, and the fee is "
        "{0:amount}; raise --fee or --fee-rate, or try again later",
    ),
    "fee-below-parent": (
        "it spends from a payment that still waits and pays a lower fee rate; what hangs on that payment "
        "so may pay {1:amount} together, not {0:amount}; raise --fee-rate, or wait for the next block",
    ),
    "fee-absurd": (
        "the fee of {0:amount} is above the {1:amount} that guard against a slip; lower it, or allow it "
        "with --max-fee-rate",
    ),
    "dust": (
        "an output of {0:amount} is worth less than it would cost to spend; pay each recipient "
        "{1:amount} or more",
    ),
    "expires-too-soon": (
        "it is void after block {0:count} and the next block is {1:count}, which leaves too little time; "
        "choose a later --expiry",
    ),
    "tx-expired": (
        "it is void after block {0:count} and the next block is {1:count}; make it anew",
    ),
    "coin-missing": (
        "a coin that it spends is spent already, or its payment is not known to the node; see "
        "`tael history`, and make it anew",
    ),
    "coin-immature": (
        "a coin that it spends was mined too lately and can be spent from block {1:count} on; wait",
    ),
    "mempool-conflict": (
        "another payment that still waits spends the same coin, and this node replaces none; wait for "
        "the next block",
    ),
    "mempool-ancestors": (
        "it would make a chain of waiting payments too long ({0:count}, at most {1:count}); wait for the "
        "next block",
    ),
    "mempool-descendants": (
        "too much hangs already on a payment that still waits ({0:count}, at most {1:count}); wait for "
        "the next block",
    ),
    "mempool-full": (
        "the node has no room for more payments at this fee; raise --fee-rate, or try again later",
    ),
    "replacement-fee": (
        "the fee of {0:amount} is too little to take the place of what waits, which needs {1:amount}; "
        "raise --fee or --fee-rate",
        "its fee rate is not above that of the waiting payment whose place it would take; raise --fee "
        "or --fee-rate, or wait for the next block",
    ),
    "replacement-count": (
        "it would take the place of {0:count} waiting payments, where {1:count} are allowed; wait for "
        "the next block",
    ),
    "replacement-spends-conflict": (
        "it spends from a waiting payment whose place it would take; wait for the next block",
    ),
    "asset-supply": (
        "there would be more of the asset than one can have; issue less",
    ),
}  # fmt: skip


class _Value(NamedTuple):
    """One value as the node wrote it, which a text may format."""

    text: str
    ticker: str

    def __format__(self, kind: str) -> str:
        if not (self.text.isascii() and self.text.isdecimal() and len(self.text) <= _DIGITS_MAX):
            raise ValueError(kind)
        number = int(self.text)
        if kind == "amount":
            return f"{display_amount(number, NATIVE_DECIMALS)} {self.ticker}"
        return f"{number:,}"


def explain_refusal(reason: str, ticker: str) -> str:
    """One line for `reason`, the node's `RULE: VALUE, …`, in words; `ticker` is the native coin's."""
    rule, _, detail = reason.partition(": ")
    values = [_Value(text, ticker) for text in detail.split(", ")]
    for text in _TEXTS.get(rule, ()):
        try:
            return f"{text.format(*values)} ({rule})"
        except (ValueError, IndexError):
            continue
    return reason
