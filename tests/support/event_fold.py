"""What a consumer knows who has followed the event log from its beginning, and what it should know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from consensus.address import encode_address
from consensus.block import Block
from consensus.hashes import LockHash, to_text
from consensus.params import REGTEST
from consensus.tx import Tx

Outpoint = tuple[str, int]


class Paid(NamedTuple):
    """An output, as events tell it."""

    address: str
    asset: str
    units: int
    memo: str


class Fold:
    """All events so far, folded. Every event must make sense after those before it."""

    def __init__(self) -> None:
        self.number = 0
        self.tip: tuple[int, str] | None = None
        self.confirmed: dict[Outpoint, tuple[int, Paid]] = {}
        """Height of the block, and the payment."""
        self.waiting: dict[Outpoint, Paid] = {}
        self._told: dict[Outpoint, int] = {}
        """Number of the event that told a payment last."""

    def take_all(self, events: Iterable[Mapping[str, Any]]) -> Fold:
        for event in events:
            self.take(event)
        return self

    def take(self, event: Mapping[str, Any]) -> None:
        assert event["number"] == self.number + 1, f"after {self.number} came {event}"
        self.number += 1
        getattr(self, "_" + event["kind"])(event)

    def _block_connected(self, event: Mapping[str, Any]) -> None:
        if self.tip is not None:
            assert (event["height"] - 1, event["previousblockhash"]) == self.tip, event
        self.tip = event["height"], event["hash"]

    def _block_disconnected(self, event: Mapping[str, Any]) -> None:
        assert self.tip in (None, (event["height"], event["hash"])), event
        self.tip = event["height"] - 1, event["previousblockhash"]

    def _payment_seen(self, event: Mapping[str, Any]) -> None:
        spot, paid = _payment(event)
        assert spot not in self.waiting, event
        assert spot not in self.confirmed, event
        self.waiting[spot] = paid
        self._told[spot] = event["number"]

    def _payment_confirmed(self, event: Mapping[str, Any]) -> None:
        spot, paid = _payment(event)
        assert spot not in self.confirmed, event
        assert self.waiting.pop(spot, paid) == paid, event
        assert self.tip is None or event["height"] <= self.tip[0], event
        self.confirmed[spot] = event["height"], paid
        self._told[spot] = event["number"]

    def _payment_reversed(self, event: Mapping[str, Any]) -> None:
        spot, paid = _payment(event)
        assert self.confirmed.pop(spot) == (event["height"], paid), event
        assert self._told.pop(spot) == event["reverses"], event

    def _payment_dropped(self, event: Mapping[str, Any]) -> None:
        spot, paid = _payment(event)
        assert self.waiting.pop(spot) == paid, event
        assert self._told.pop(spot) == event["reverses"], event


def _payment(event: Mapping[str, Any]) -> tuple[Outpoint, Paid]:
    paid = Paid(event["address"], event["asset"], event["units"], event["memo"])
    return (event["txid"], event["vout"]), paid


def paid_by(tx: Tx, locks: Iterable[LockHash]) -> dict[Outpoint, Paid]:
    """What a transaction pays to `locks`."""
    wanted = frozenset(locks)
    return {
        (to_text(tx.txid), vout): Paid(
            encode_address(REGTEST.hrp.decode(), out.lock), to_text(out.asset), out.amount,
            out.memo.hex(),
        )
        for vout, out in enumerate(tx.body.outputs)
        if out.lock in wanted
    }  # fmt: skip


def paid_in(
    blocks: Iterable[Block], locks: Iterable[LockHash]
) -> dict[Outpoint, tuple[int, Paid]]:  # fmt: skip
    """What blocks, which begin with genesis, pay to `locks`."""
    return {
        spot: (height, paid)
        for height, block in enumerate(blocks)
        for tx in block.txs
        for spot, paid in paid_by(tx, locks).items()
    }
