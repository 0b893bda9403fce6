"""What the ledger knows of one lock, in the order and the shapes of the Electrum protocol.

Only the native coin is counted: a client that adds up satoshis must not meet shares of an orchard. The
history names every transaction, whatever it moves.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import NamedTuple

from consensus.hashes import LockHash, Txid, to_text
from consensus.tx import NATIVE, Coin, OutPoint, TxOut, outpoint
from node.electrum.limits import HISTORY_MAX, ROWS_PER_TURN
from node.ledger import Ledger
from node.mempool_entry import Entry
from node.rpc.errors import Code, RpcError
from node.rpc.json import Json
from node.rpc.shapes import split_outpoint

PLACE_BYTES = 8
"""Height and position, with which the cursor of a history entry begins."""
TRIES_MAX = 20
"""How often coins are listed again because a block came meanwhile."""


class Confirmed(NamedTuple):
    """A transaction of the best chain."""

    txid: Txid
    height: int


class Prefix(NamedTuple):
    """What the status of a lock begins with: its confirmed transactions."""

    state: hashlib._Hash
    cursor: bytes
    length: int
    era: int
    """How many reorganisations there had been. After another one all is made anew."""


class Status(NamedTuple):
    """What a client compares to see whether anything happened."""

    text: str | None
    """Hex; None where there is no transaction."""
    prefix: Prefix
    entries: list[Entry]
    """Waiting transactions that are in it."""


def too_large() -> RpcError:
    return RpcError(Code.TOO_LARGE, f"history too large: more than {HISTORY_MAX} entries")


def height_of(entry: Entry) -> int:
    """−1 for a waiting transaction that spends what another one makes, else 0."""
    return -1 if entry.parents else 0


async def _confirmed(
    ledger: Ledger, lock: LockHash, after: bytes, limit: int
) -> tuple[list[Confirmed], bytes]:  # fmt: skip
    """Confirmed transactions from behind the cursor `after` on, each once, and the last cursor.

    All there are when it returns, as long as none was taken off meanwhile. Raises: RpcError, where there
    are more than `limit`.
    """
    found: list[Confirmed] = []
    last = after[:PLACE_BYTES]
    while True:
        rows = ledger.history(lock, after, ROWS_PER_TURN)
        for row in rows:
            if row.cursor[:PLACE_BYTES] != last:  # several assets are several rows
                last = row.cursor[:PLACE_BYTES]
                found.append(Confirmed(row.txid, row.height))
        if len(found) > limit:
            raise too_large()
        if rows:
            after = rows[-1].cursor
        if len(rows) < ROWS_PER_TURN:
            return found, after
        await asyncio.sleep(0)


async def status_of(ledger: Ledger, lock: LockHash, known: Prefix | None, limit: int) -> Status:
    """The status of a lock. `known` saves going through what was confirmed before it.

    Raises: RpcError, where more than `limit` transactions are to be gone through.
    """
    while True:
        await ledger.at_rest()
        era = ledger.reorganisations
        if known is None or known.era != era:
            known = Prefix(hashlib.sha256(), b"", 0, era)
        found, cursor = await _confirmed(ledger, lock, known.cursor, limit)
        if ledger.reorganisations == era:
            break
    state = known.state.copy()
    state.update("".join([f"{to_text(tx.txid)}:{tx.height}:" for tx in found]).encode())
    prefix = Prefix(state.copy(), cursor, known.length + len(found), era)
    entries = ledger.mempool.touching(lock)
    state.update("".join([f"{to_text(e.tx.txid)}:{height_of(e)}:" for e in entries]).encode())
    return Status(state.hexdigest() if prefix.length or entries else None, prefix, entries)


def show_waiting(ledger: Ledger, lock: LockHash) -> list[Json]:
    """Transactions of the mempool that touch a lock. Raises: RpcError (too many)."""
    entries = ledger.mempool.touching(lock)
    if len(entries) > HISTORY_MAX:
        raise too_large()
    return [{"tx_hash": to_text(e.tx.txid), "height": height_of(e), "fee": e.fee} for e in entries]


async def history_of(ledger: Ledger, lock: LockHash) -> list[Json]:
    """Everything that happened to a lock. Raises: RpcError (too much)."""
    while True:
        await ledger.at_rest()
        era = ledger.reorganisations
        found, _ = await _confirmed(ledger, lock, b"", HISTORY_MAX)
        if ledger.reorganisations == era:
            break
    waiting = show_waiting(ledger, lock)
    if len(found) + len(waiting) > HISTORY_MAX:
        raise too_large()
    return [{"tx_hash": to_text(tx.txid), "height": tx.height} for tx in found] + waiting


def balance_of(ledger: Ledger, lock: LockHash) -> dict[str, Json]:
    """Base units that are confirmed, and by how much the mempool changes that."""
    confirmed = ledger.balances(lock).get(NATIVE)
    waiting = 0
    for entry in ledger.mempool.touching(lock):
        waiting += sum(o.amount for o in entry.tx.body.outputs if _is_native(o, lock))
        waiting -= sum(coin.amount for coin in entry.coins if _is_native(coin, lock))
    return {"confirmed": confirmed.balance if confirmed else 0, "unconfirmed": waiting}


def _is_native(output: Coin | TxOut, lock: LockHash) -> bool:
    return output.lock == lock and output.asset == NATIVE


async def coins_of(ledger: Ledger, lock: LockHash) -> list[Json]:
    """Coins of a lock that nobody spends yet, confirmed ones first. Raises: RpcError (too many)."""
    for _ in range(TRIES_MAX):
        await ledger.at_rest()
        tip = ledger.tip
        found = await _confirmed_coins(ledger, lock)
        if ledger.tip is tip:
            break
    else:
        raise RpcError(Code.MISC, "blocks come faster than the coins can be listed: try later")
    spender = ledger.mempool.spender
    shown = [_show_coin(*row) for row in sorted(found) if spender(row[1]) is None]
    for entry in ledger.mempool.touching(lock):
        for index, output in enumerate(entry.tx.body.outputs):
            made = outpoint(entry.tx.txid, index)
            if _is_native(output, lock) and spender(made) is None:
                shown.append(_show_coin(0, made, output.amount))
    return shown


async def _confirmed_coins(ledger: Ledger, lock: LockHash) -> list[tuple[int, OutPoint, int]]:
    """Heights, outpoints and amounts. Raises: RpcError (too many)."""
    found: list[tuple[int, OutPoint, int]] = []
    after, count = OutPoint(b""), 0
    while True:
        rows = ledger.coins_of(lock, after, ROWS_PER_TURN)
        found += [(coin.height, o, coin.amount) for o, coin in rows if coin.asset == NATIVE]
        count += len(rows)
        if count > HISTORY_MAX:
            raise too_large()
        if len(rows) < ROWS_PER_TURN:
            return found
        after = rows[-1][0]
        await asyncio.sleep(0)


def _show_coin(height: int, spent: OutPoint, amount: int) -> Json:
    txid, index = split_outpoint(spent)
    return {"tx_hash": txid, "tx_pos": index, "height": height, "value": amount}
