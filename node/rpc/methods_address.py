"""Methods: what an address holds, and what happened to it.

The names and the form of the question, `{"addresses": [...]}`, are those of coins with an address
index. Amounts of assets are integers of base units, `satoshis` of the native coin too; the empty
asset id is the native coin. Long lists come in pages: the next one is asked for with the `cursor` of
the last, which is null at the end.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, NamedTuple

from consensus.address import AddressError, decode_address
from consensus.hashes import HASH_BYTES, AssetId, LockHash, Txid, to_text
from consensus.params import COINBASE_MATURITY
from consensus.tx import NATIVE, OUTPOINT_BYTES, Coin, OutPoint
from node.layout import HistoryEntry
from node.mempool_entry import Entry
from node.rpc.described import Hash
from node.rpc.errors import Code, RpcError
from node.rpc.methods_asset import asset_label
from node.rpc.methods_chain import need_index
from node.rpc.params import PAGE, Addresses
from node.rpc.ports import Node
from node.rpc.results.addresses import (
    AddressBalance,
    AddressCheck,
    Delta,
    DeltaPage,
    TxidPage,
    Utxo,
    UtxoPage,
    Waiting,
    WaitingPage,
)
from node.rpc.shapes import address_of, script_hex, split_outpoint

FETCHED = 1_000
"""Rows of history that are read at once, divided among the locks whose histories are merged."""
MEMPOOL_ROWS_MAX = 10_000
_HISTORY_PLACE_BYTES = 8
_END_OF_TX = b"\xff" * (HASH_BYTES + 1)
"""Behind every asset that can follow a place in a cursor of the history."""

Limit = Annotated[int, PAGE]


class _Page(NamedTuple):
    """What part of a list is asked for."""

    limit: int
    cursor: bytes
    is_asked_for: bool
    """Whether the caller named a limit or a cursor."""


def _page(query: Addresses, limit: int | None, cursor: bytes | None) -> _Page:
    limit = limit if limit is not None else query.limit
    cursor = cursor if cursor is not None else query.cursor
    return _Page(limit or PAGE.high, cursor or b"", not (limit is None and cursor is None))


def _wrong_cursor() -> RpcError:
    return RpcError(Code.PARAMETER, "`cursor` is not one that this method gave")


def validateaddress(node: Node, address: str) -> AddressCheck:
    """Whether a text is an address of this network, and the lock it stands for."""
    try:
        lock = decode_address(node.ledger.params.hrp.decode(), address)
    except AddressError as error:
        return {"isvalid": False, "error_locations": [], "error": str(error)}
    return {
        "isvalid": True,
        "address": address_of(lock, node.ledger.params),
        "scriptPubKey": script_hex(lock),
        "isscript": False,
        "iswitness": True,
        "witness_version": 1,
        "witness_program": lock.hex(),
        "lock": lock.hex(),
    }


def getaddressbalance(node: Node, addresses: Addresses) -> AddressBalance:
    """What addresses hold, added up.

    `balance` and `received` are confirmed base units of the native coin, `immature` the part of the
    balance that cannot be spent in the next block yet. `unconfirmed` is what the mempool adds, or
    takes away if negative. `assets` has the same for every other asset.
    """
    need_index(node)
    ledger = node.ledger
    tip = ledger.tip
    immature = sum(ledger.immature(lock).get(NATIVE, 0) for lock in addresses.locks)
    received: defaultdict[AssetId, int] = defaultdict(int)
    balance: defaultdict[AssetId, int] = defaultdict(int)
    waiting: defaultdict[AssetId, int] = defaultdict(int)
    for lock in addresses.locks:
        for asset, sums in ledger.balances(lock).items():
            received[asset] += sums.received
            balance[asset] += sums.balance
    for change in _waiting(node, addresses.locks):
        waiting[change.asset] += change.units
    return {
        "balance": balance[NATIVE],
        "received": received[NATIVE],
        "unconfirmed": waiting[NATIVE],
        "immature": immature,
        "assets": [
            {
                **asset_label(node, asset),
                "balance": balance[asset],
                "received": received[asset],
                "unconfirmed": waiting[asset],
            }
            for asset in sorted({*received, *waiting} - {NATIVE})
        ],
        "height": tip.height,
        "bestblock": to_text(tip.hash),
    }


def getaddressutxos(
    node: Node, addresses: Addresses, limit: Limit | None = None, cursor: bytes | None = None
) -> UtxoPage:
    """Confirmed coins of addresses, at most 1 000 at once, whether the mempool spends them or not.

    `delayed` coins mature like those of a coinbase: from height `mature_height` on.
    """
    page = _page(addresses, limit, cursor)
    if len(page.cursor) not in (0, HASH_BYTES + OUTPOINT_BYTES):
        raise _wrong_cursor()
    ledger = node.ledger
    start, after = page.cursor[:HASH_BYTES], page.cursor[HASH_BYTES:]
    found: list[tuple[OutPoint, Coin]] = []
    for lock in addresses.locks:
        if lock >= start and len(found) <= page.limit:
            behind = after if lock == start else b""
            found += ledger.coins_of(lock, behind, page.limit + 1 - len(found))
    shown = found[: page.limit]
    following = shown[-1][1].lock + shown[-1][0] if len(found) > page.limit else None
    return {
        "utxos": [_show_utxo(node, spent, coin) for spent, coin in shown],
        "cursor": following.hex() if following is not None else None,
        "height": ledger.tip.height,
        "hash": to_text(ledger.tip.hash),
    }


def _show_utxo(node: Node, spent: OutPoint, coin: Coin) -> Utxo:
    txid, index = split_outpoint(spent)
    shown: Utxo = {
        "address": address_of(coin.lock, node.ledger.params),
        "txid": txid,
        "outputIndex": index,
        "script": script_hex(coin.lock),
        "asset": to_text(coin.asset),
        "satoshis": coin.amount,
        "height": coin.height,
        "delayed": coin.delayed,
    }
    if coin.delayed:
        shown["mature_height"] = coin.height + COINBASE_MATURITY
    return shown


def _history(node: Node, lock: LockHash, after: bytes, ahead: int) -> Iterator[HistoryEntry]:
    """Confirmed history of a lock, oldest first, `ahead` entries read at once."""
    while True:
        rows = node.ledger.history(lock, after, ahead)
        yield from rows
        if len(rows) < ahead:
            return
        after = rows[-1].cursor


class _TxHistory(NamedTuple):
    """What one confirmed transaction did to the locks asked for."""

    txid: Txid
    cursor: bytes
    entries: list[tuple[HistoryEntry, LockHash]]


def _merged(node: Node, locks: tuple[LockHash, ...], after: bytes) -> Iterator[_TxHistory]:
    """Confirmed transactions that touch any of `locks`, oldest first."""

    ahead = 2 + FETCHED // len(locks)

    def tagged(lock: LockHash) -> Iterator[tuple[bytes, LockHash, HistoryEntry]]:
        return ((entry.cursor, lock, entry) for entry in _history(node, lock, after, ahead))

    rows = heapq.merge(*[tagged(lock) for lock in locks], key=lambda row: row[:2])
    for place, group in groupby(rows, lambda row: row[0][:_HISTORY_PLACE_BYTES]):
        entries = [(entry, lock) for _, lock, entry in group]
        yield _TxHistory(entries[0][0].txid, place + _END_OF_TX, entries)


def _check_history_cursor(cursor: bytes) -> None:
    if len(cursor) not in (0, _HISTORY_PLACE_BYTES + len(_END_OF_TX)):
        raise _wrong_cursor()


def getaddresstxids(
    node: Node, addresses: Addresses, limit: Limit | None = None, cursor: bytes | None = None
) -> list[Hash] | TxidPage:
    """Txids of confirmed transactions that touch addresses, oldest first.

    Without `limit` and `cursor` a plain list of the first 1 000; with one of them an object with
    `txids` and `cursor`.
    """
    need_index(node)
    page = _page(addresses, limit, cursor)
    _check_history_cursor(page.cursor)
    txids: list[str] = []
    last = b""
    following: bytes | None = None
    for tx in _merged(node, addresses.locks, page.cursor):
        if len(txids) == page.limit:
            following = last
            break
        txids.append(to_text(tx.txid))
        last = tx.cursor
    if not page.is_asked_for:
        return txids
    return {"txids": txids, "cursor": following.hex() if following is not None else None}


def getaddressdeltas(
    node: Node, addresses: Addresses, limit: Limit | None = None, cursor: bytes | None = None
) -> list[Delta] | DeltaPage:
    """What confirmed transactions did to addresses, oldest first.

    One entry for each transaction, address and asset: `satoshis` is received less spent. Without
    `limit` and `cursor` a plain list of the first 1 000; with one of them an object with `deltas`
    and `cursor`. A page ends with a whole transaction, so it may be a little longer than `limit`.
    """
    need_index(node)
    page = _page(addresses, limit, cursor)
    _check_history_cursor(page.cursor)
    deltas: list[Delta] = []
    last = b""
    following: bytes | None = None
    for tx in _merged(node, addresses.locks, page.cursor):
        if len(deltas) >= page.limit:
            following = last
            break
        deltas += [_show_delta(node, entry, lock) for entry, lock in tx.entries]
        last = tx.cursor
    if not page.is_asked_for:
        return deltas
    return {"deltas": deltas, "cursor": following.hex() if following is not None else None}


def _show_delta(node: Node, entry: HistoryEntry, lock: LockHash) -> Delta:
    return {
        "address": address_of(lock, node.ledger.params),
        "txid": to_text(entry.txid),
        "height": entry.height,
        "blockindex": entry.position,
        "asset": to_text(entry.asset),
        "satoshis": entry.received - entry.spent,
        "received": entry.received,
        "spent": entry.spent,
    }


class _Waiting(NamedTuple):
    """An output to a lock in the mempool, or (negative) a coin of it that the mempool spends."""

    entry: Entry
    position: int
    """Of the output, or of the input."""
    lock: LockHash
    asset: AssetId
    units: int
    spends: OutPoint | None


def _waiting(node: Node, locks: tuple[LockHash, ...]) -> Iterator[_Waiting]:
    """In order of arrival."""
    wanted = set(locks)
    entries = {entry for lock in locks for entry in node.ledger.mempool.touching(lock)}
    for entry in sorted(entries, key=lambda entry: entry.sequence):
        body = entry.tx.body
        for index, (spent, coin) in enumerate(zip(body.inputs, entry.coins, strict=True)):
            if coin.lock in wanted:
                yield _Waiting(entry, index, coin.lock, coin.asset, -coin.amount, spent)
        for index, output in enumerate(body.outputs):
            if output.lock in wanted:
                yield _Waiting(entry, index, output.lock, output.asset, output.amount, None)


def getaddressmempool(
    node: Node, addresses: Addresses, limit: Limit | None = None, cursor: bytes | None = None
) -> list[Waiting] | WaitingPage:
    """What waiting transactions do to addresses, in order of arrival.

    One entry for each output, and with negative `satoshis` for each coin that is spent, whose
    outpoint is `prevtxid` and `prevout`. Without `limit` and `cursor` a plain list of at most
    10 000; with one of them an object with `entries` and `cursor`.
    """
    page = _page(addresses, limit, cursor)
    if len(page.cursor) not in (0, 8):
        raise _wrong_cursor()
    after = int.from_bytes(page.cursor, "big") if page.cursor else -1
    most = page.limit if page.is_asked_for else MEMPOOL_ROWS_MAX
    rows: list[Waiting] = []
    last, following = -1, None
    for change in _waiting(node, addresses.locks):
        sequence = change.entry.sequence
        if sequence <= after:
            continue
        if len(rows) >= most and sequence != last:
            following = last.to_bytes(8, "big")
            break
        rows.append(_show_waiting(node, change))
        last = sequence
    if not page.is_asked_for:
        return rows
    return {"entries": rows, "cursor": following.hex() if following is not None else None}


def _show_waiting(node: Node, change: _Waiting) -> Waiting:
    shown: Waiting = {
        "address": address_of(change.lock, node.ledger.params),
        "txid": to_text(change.entry.tx.txid),
        "index": change.position,
        "asset": to_text(change.asset),
        "satoshis": change.units,
        "timestamp": int(change.entry.time),
    }
    if change.spends is not None:
        shown["prevtxid"], shown["prevout"] = split_outpoint(change.spends)
    return shown
