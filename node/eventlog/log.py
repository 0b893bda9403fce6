"""The event log: a state machine over its own last block, beside the one of the ledger.

What the ledger does is put on here in the same order, and becomes events and rows; one batch holds both.
The log follows the ledger by itself after a start, whatever was lost on either side, since its rows say
what it told of the blocks that it stands on (`node.eventlog.follower`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from consensus.block import Block
from consensus.errors import StorageError
from consensus.hashes import BlockHash, LockHash, Txid, to_text
from consensus.header_tree import HeaderNode
from consensus.params import Params
from consensus.tx import Tx, TxOut
from consensus.tx_rules import is_delayed
from node.eventlog import layout
from node.eventlog.journal import Journal
from node.eventlog.layout import BlockRow, HeadRow, Kind, LogRow, Payment, Watch
from node.rpc import json
from node.rpc.shapes import address_of

WATCHED_MAX = 100_000
LABEL_BYTES_MAX = 100
GONE = "gone"
"""Why a payment left the mempool, where nobody saw it leave: over a restart, for the most part."""


class Place(NamedTuple):
    """The block that the log stands at."""

    hash: BlockHash
    height: int


class EventLog:
    """Makes events. Nothing here waits, and nobody is told anything: see `Desk`."""

    def __init__(
        self, journal: Journal, params: Params, clock: Callable[[], float], start: Place,
        chain_id: BlockHash, new_name: Callable[[], str],
    ) -> None:  # fmt: skip
        """`start`: where a new log begins. `clock` gives seconds since 1970. Raises: StorageError."""
        self.journal = journal
        self.params = params
        self._clock = clock
        self.changed = asyncio.Event()
        """Set when something is to be written."""
        self.watched: dict[LockHash, Watch] = {}
        self.waiting: dict[Txid, tuple[Payment, ...]] = {}
        """What was told of transactions that wait to be mined."""
        self.scanning: set[LockHash] = set()
        """Of `watched`, those whose past is still being looked through."""
        row = journal.get(layout.KEY_FORMAT)
        if row is None:
            self.name = new_name()
            self.tip = start
            self.last, self.first = 0, 1
            new = LogRow(layout.FORMAT, chain_id, self.name)
            self.put(layout.KEY_FORMAT, layout.encode_row(new))
            self.put_head()
        else:
            self.name = _check_format(layout.decode_row(LogRow, row), chain_id).name
            self._load()

    def _load(self) -> None:
        row = self.journal.get(layout.KEY_HEAD)
        if row is None:
            raise layout.damaged("format row alone")
        head = layout.decode_row(HeadRow, row)
        self.tip = Place(BlockHash(head.hash), head.height)
        self.last, self.first = head.last, head.first
        for key, value in self.journal.scan(layout.WATCH):
            lock = LockHash(key[1:])
            self.watched[lock] = watch = layout.decode_row(Watch, value)
            if watch.end >= 0:
                self.scanning.add(lock)
        for key, value in self.journal.scan(layout.WAITING):
            self.waiting[Txid(key[1:])] = layout.decode_payments(value)

    # Rows

    def put(self, key: bytes, value: bytes | None) -> None:
        """Have a row written with the next batch; None deletes it."""
        self.journal.put(key, value)
        self.changed.set()

    def put_head(self) -> None:
        """Have the next batch say at which block and number it stands."""
        head = HeadRow(self.tip.hash, self.tip.height, self.last, self.first)
        self.journal.put(layout.KEY_HEAD, layout.encode_row(head))

    def block_row(self, height: int) -> BlockRow | None:
        """What is known of a block at or below the tip. Raises: StorageError."""
        value = self.journal.get(layout.block_key(height))
        return layout.decode_row(BlockRow, value) if value is not None else None

    def _put_block(self, height: int, row: BlockRow | None) -> None:
        value = layout.encode_row(row) if row is not None else None
        self.put(layout.block_key(height), value)

    def _put_waiting(self, txid: Txid, payments: tuple[Payment, ...]) -> None:
        if payments:
            self.waiting[txid] = payments
        else:
            del self.waiting[txid]
        value = layout.encode_row(payments) if payments else None
        self.put(layout.WAITING + txid, value)

    def put_watch(self, lock: LockHash, watch: Watch | None) -> None:
        """Watch an address, or (None) do not any more."""
        self.scanning.discard(lock)
        if watch is None:
            del self.watched[lock]
        else:
            self.watched[lock] = watch
            if watch.end >= 0:
                self.scanning.add(lock)
        self.put(layout.WATCH + lock, layout.encode_row(watch) if watch is not None else None)

    # Events

    def _tell(self, kind: Kind, facts: Mapping[str, json.Json]) -> int:
        """Make an event; return its number."""
        self.last += 1
        time = int(self._clock())
        text = json.encode({"number": self.last, "kind": kind.text, "time": time, **facts})
        self.put(layout.event_key(self.last), layout.event_value(kind, time, text))
        return self.last

    def _tell_payment(
        self, kind: Kind, txid: Txid, vout: int, output: TxOut, more: Mapping[str, json.Json]
    ) -> Payment:  # fmt: skip
        number = self._tell(kind, {**self._facts(txid, vout, output), **more})
        return Payment(number, txid, vout, output.lock, output.asset, output.amount, output.memo)

    def _take_back(self, kind: Kind, told: Payment, more: Mapping[str, json.Json]) -> None:
        output = TxOut(told.asset, told.units, told.lock, told.memo)
        facts = self._facts(Txid(told.txid), told.vout, output)
        self._tell(kind, {**facts, "reverses": told.number, **more})

    def _facts(self, txid: Txid, vout: int, output: TxOut) -> dict[str, json.Json]:
        watch = self.watched.get(output.lock)
        return {
            "txid": to_text(txid),
            "vout": vout,
            "address": address_of(output.lock, self.params),
            "label": watch.label if watch is not None else "",
            "asset": to_text(output.asset),
            "units": output.amount,
            "memo": output.memo.hex(),
        }

    # Blocks

    def connect(self, node: HeaderNode, block: Block) -> None:
        """Put a block on."""
        header = node.header
        assert header.previous == self.tip.hash, "blocks are put on one after the other"
        self.tip = Place(node.hash, node.height)
        watched = self.watched
        found: list[tuple[Tx, int, TxOut]] = []
        if watched or self.waiting:
            for tx in block.txs:
                # What was told to wait is told to be confirmed, watched or not by now.
                told: frozenset[int] = frozenset()
                if tx.txid in self.waiting:
                    told = frozenset(payment.vout for payment in self.waiting[tx.txid])
                    self._put_waiting(tx.txid, ())
                for vout, output in enumerate(tx.body.outputs):
                    if output.lock in watched or vout in told:
                        found.append((tx, vout, output))
        self._tell(
            Kind.BLOCK_CONNECTED,
            {
                "height": node.height,
                "hash": to_text(node.hash),
                "previousblockhash": to_text(header.previous),
                "blocktime": header.time,
                "payments": len(found),
            },
        )
        payments = tuple(
            self._confirm(tx, vout, output, node, past=False) for tx, vout, output in found
        )
        self._put_block(node.height, BlockRow(node.hash, header.previous, payments))

    def _confirm(
        self, tx: Tx, vout: int, output: TxOut, node: HeaderNode, past: bool
    ) -> Payment:  # fmt: skip
        return self._tell_payment(
            Kind.PAYMENT_CONFIRMED, tx.txid, vout, output,
            {
                "height": node.height,
                "blockhash": to_text(node.hash),
                "coinbase": tx.is_coinbase,
                "delayed": is_delayed(tx.body, node.height),
                "past": past,
            },
        )  # fmt: skip

    def disconnect(self, node: HeaderNode | None) -> bool:
        """Take the last block off, by what was told of it; `node` is that block, if the ledger knows it.

        False if nobody knows what came before it: the log began there. Raises: StorageError.
        """
        row = self.block_row(self.tip.height)
        if row is None and node is not None:
            row = BlockRow(node.hash, node.header.previous)
        if row is None:
            return False
        assert row.hash == self.tip.hash
        place: dict[str, json.Json] = {
            "height": self.tip.height, "blockhash": to_text(BlockHash(row.hash)),
        }  # fmt: skip
        self._tell(
            Kind.BLOCK_DISCONNECTED,
            {
                "height": self.tip.height,
                "hash": to_text(BlockHash(row.hash)),
                "previousblockhash": to_text(BlockHash(row.previous)),
                "reversals": len(row.payments),
            },
        )
        for payment in reversed(row.payments):
            self._take_back(Kind.PAYMENT_REVERSED, payment, place)
        self._put_block(self.tip.height, None)
        self.tip = Place(BlockHash(row.previous), self.tip.height - 1)
        for lock in tuple(self.scanning):
            # What comes again above is told as it comes.
            watch = self.watched[lock]
            if watch.end > self.tip.height:
                self.put_watch(lock, Watch(watch.label, watch.since, watch.cursor, self.tip.height))
        return True

    def add_past(self, node: HeaderNode, txs: Iterable[Tx], locks: Iterable[LockHash]) -> None:
        """Tell what a block at or below the tip paid to `locks`, unless it was told."""
        wanted = frozenset(locks)
        row = self.block_row(node.height) or BlockRow(node.hash, node.header.previous)
        assert row.hash == node.hash, "the log and the ledger stand on one chain"
        told = {(payment.txid, payment.vout) for payment in row.payments}
        new = tuple(
            self._confirm(tx, vout, output, node, past=True)
            for tx in txs
            for vout, output in enumerate(tx.body.outputs)
            if output.lock in wanted and (tx.txid, vout) not in told
        )
        if new:
            self._put_block(
                node.height, BlockRow(row.hash, row.previous, row.payments + new)
            )  # fmt: skip

    # Mempool

    def tx_added(self, tx: Tx) -> None:
        """Tell what a waiting transaction pays to watched addresses, unless it was told."""
        watched = self.watched
        found = [(n, out) for n, out in enumerate(tx.body.outputs) if out.lock in watched]
        if not found:
            return
        told = self.waiting.get(tx.txid, ())
        known = {payment.vout for payment in told}
        new = tuple(
            self._tell_payment(Kind.PAYMENT_SEEN, tx.txid, vout, output, {})
            for vout, output in found
            if vout not in known
        )
        if new:
            self._put_waiting(tx.txid, told + new)

    def tx_removed(self, txid: Txid, reason: str, by: Txid | None = None) -> None:
        """Tell that a transaction does not wait any more. `by`: what took its place."""
        for payment in self.waiting.get(txid, ()):
            other = to_text(by) if by is not None else None
            self._take_back(Kind.PAYMENT_DROPPED, payment, {"reason": reason, "by": other})
        if txid in self.waiting:
            self._put_waiting(txid, ())


def _check_format(row: LogRow, chain_id: BlockHash) -> LogRow:
    if row.chain_id != chain_id:
        raise StorageError("the event log belongs to another network", layout.REMEDY)
    if row.format != layout.FORMAT:
        raise StorageError(
            f"the event log has format {row.format}, this program reads {layout.FORMAT}",
            layout.REMEDY,
        )
    return row
