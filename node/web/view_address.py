"""One address: what it holds, what happened to it, what is on its way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import segno
from markupsafe import Markup

from consensus.address import AddressError, decode_address
from consensus.hashes import AssetId, LockHash, to_text
from consensus.tx import BURN_LOCK, NATIVE
from node.ledger import Balance
from node.mempool_entry import Entry
from node.rpc.shapes import address_of
from node.web.labels import Labels, Worth
from node.web.pages import Elsewhere, NotFound, Page
from node.web.visitor import Ask

HISTORY_PER_PAGE = 25
WAITING_MAX = 50
"""Waiting transactions that are looked at, and lines shown of them: one may move hundreds of assets."""
BALANCES_MAX = 100
"""Assets that are shown of an address: anybody may send it any number of them."""
QR_MAX = 700
"""Characters in a QR code, beyond which cameras begin to fail."""
QR_TRIED_MAX = 150
QR_PATTERN = 3
QR_KEPT = 128
_CURSOR_BYTES = (8, 40)


class BalanceRow(NamedTuple):
    """What an address holds of one asset."""

    balance: Worth
    received: Worth
    waiting: Worth | None
    """What the mempool adds, or takes away; None if nothing."""
    immature: Worth | None


class HistoryRow(NamedTuple):
    """What one transaction did to an address, for one asset."""

    txid: str
    height: int
    time: int
    change: Worth
    is_in: bool


class WaitingRow(NamedTuple):
    """The same of one that is not mined yet."""

    txid: str
    time: int
    change: Worth
    is_in: bool


@lru_cache(QR_KEPT)
def qr(text: str) -> Markup:
    """A QR code as SVG, dark on light whatever the theme, or cameras do not know it; empty if too long."""
    if len(text) > QR_MAX:
        return Markup("")
    # To find the best of eight patterns takes most of the time, which grows with the length.
    pattern = None if len(text) <= QR_TRIED_MAX else QR_PATTERN
    code = segno.make(text, micro=False, error="m", boost_error=False, mask=pattern)
    return Markup(code.svg_inline(omitsize=True, border=3, svgclass="qr", lineclass="qr-line"))


def find_lock(ask: Ask, address: str) -> LockHash:
    """Raises: NotFound (it is no address of this network)."""
    try:
        return decode_address(ask.node.ledger.params.hrp.decode(), address)
    except AddressError:
        raise NotFound("missing_address") from None


def changes(entry: Entry, lock: LockHash) -> dict[AssetId, int]:
    """What a waiting transaction adds to a lock, or takes from it, by asset."""
    sums: defaultdict[AssetId, int] = defaultdict(int)
    for coin in entry.coins:
        if coin.lock == lock:
            sums[coin.asset] -= coin.amount
    for output in entry.tx.body.outputs:
        if output.lock == lock:
            sums[output.asset] += output.amount
    return dict(sums)


async def address(ask: Ask) -> Page:
    """One address, with a page of its history, newest first."""
    lock = find_lock(ask, ask.path["address"])
    name = address_of(lock, ask.node.ledger.params)
    if ask.path["address"] != name:
        raise Elsewhere(f"/address/{name}")
    ledger = ask.node.ledger
    labels = Labels(ask.node)
    entries = ledger.mempool.touching(lock)
    waiting = [(entry, changes(entry, lock)) for entry in entries[:WAITING_MAX]]
    before = _cursor(ask)
    history = ledger.history_back(lock, before, HISTORY_PER_PAGE + 1)
    shown = history[:HISTORY_PER_PAGE]
    return Page(
        "address",
        {
            "address": name,
            "lock": lock.hex(),
            "is_burn": lock == BURN_LOCK,
            "is_indexed": ledger.is_indexed,
            "qr": qr(name),
            "balances": _balances(ask, lock, labels, waiting),
            "waiting": list(islice(_waiting(labels, waiting), WAITING_MAX)),
            "waiting_more": max(0, len(entries) - WAITING_MAX),
            "history": [
                HistoryRow(
                    to_text(row.txid), row.height, ledger.tip.ancestor(row.height).header.time,
                    labels.worth(row.asset, row.received - row.spent), row.received > row.spent,
                )
                for row in shown
            ],
            "older": shown[-1].cursor.hex() if len(history) > HISTORY_PER_PAGE else "",
            "is_first_page": not before,
        },
    )  # fmt: skip


def _waiting(
    labels: Labels, waiting: Iterable[tuple[Entry, dict[AssetId, int]]]
) -> Iterator[WaitingRow]:
    for entry, sums in waiting:
        txid, time = to_text(entry.tx.txid), int(entry.time)
        for asset, units in sums.items():
            yield WaitingRow(txid, time, labels.worth(asset, units), units > 0)


def _cursor(ask: Ask) -> bytes:
    """Where the page of history begins; empty for the newest."""
    try:
        cursor = bytes.fromhex(ask.get("before"))
    except ValueError:
        cursor = b"\0"
    if cursor and len(cursor) not in _CURSOR_BYTES:
        raise NotFound("missing_page")
    return cursor


def _balances(
    ask: Ask, lock: LockHash, labels: Labels, waiting: list[tuple[Entry, dict[AssetId, int]]]
) -> list[BalanceRow]:
    """The native coin in front, whether there is any or not."""
    sums: defaultdict[AssetId, int] = defaultdict(int)
    for _, change in waiting:
        for asset, units in change.items():
            sums[asset] += units
    confirmed = ask.node.ledger.balances(lock)
    immature = ask.node.ledger.immature(lock)
    rows = []
    for asset in sorted({NATIVE, *confirmed, *sums})[:BALANCES_MAX]:
        had = confirmed.get(asset, Balance(0, 0))
        rows.append(
            BalanceRow(
                labels.worth(asset, had.balance),
                labels.worth(asset, had.received),
                labels.worth(asset, sums[asset]) if sums[asset] else None,
                labels.worth(asset, immature[asset]) if immature.get(asset) else None,
            )
        )
    return rows
