"""What the database must hold after some blocks, counted in the plainest way.

A second opinion for `taeld --check`: it knows nothing of layers, flushes and undo, and shares no code
with what wrote the rows but the rules' own words for a coin and an asset. It takes about 300 bytes of
memory for each coin and each balance.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from consensus.asset import AssetRecord, asset_id, authority_id
from consensus.block import Block
from consensus.hashes import AssetId, LockHash, Txid
from consensus.tx import BURN_LOCK, NATIVE, Body, Coin, Height, Issue, OutPoint, Tx, outpoint
from consensus.tx_rules import is_delayed


class Absent(Exception):
    """A block spends a coin that does not exist; holds the outpoint."""

    def __init__(self, spent: OutPoint) -> None:
        super().__init__(spent)
        self.spent = spent


class Moved(NamedTuple):
    """What one transaction did to one lock, for one asset. Amounts in base units."""

    position: int
    lock: LockHash
    asset: AssetId
    txid: Txid
    received: int
    spent: int


class Counted(NamedTuple):
    """What one block did."""

    undo: tuple[tuple[Coin, ...], ...]
    """The coins that each transaction but the coinbase spent."""
    moved: list[Moved]
    delayed: dict[tuple[LockHash, AssetId], int]
    """Base units that mature like a coinbase."""


class Recount:
    """The ledger after the blocks that were added, genesis first."""

    def __init__(self) -> None:
        self.coins: dict[OutPoint, Coin] = {}
        self.balances: defaultdict[tuple[LockHash, AssetId], tuple[int, int]]
        self.balances = defaultdict(lambda: (0, 0))
        """Base units ever received and ever spent."""
        self._born: dict[AssetId, AssetRecord] = {}
        self._issued: defaultdict[AssetId, int] = defaultdict(int)
        self._destroyed: defaultdict[AssetId, int] = defaultdict(int)
        self._height = Height(-1)

    def add(self, block: Block) -> Counted:
        """Count the next block. Raises: Absent; then nothing counts any more."""
        self._height = Height(self._height + 1)
        counted = Counted((), [], defaultdict(int))
        undo = []
        for position, tx in enumerate(block.txs):
            coins = self._spend(tx)
            if position:
                undo.append(coins)
            self._make(tx, counted.delayed)
            self._issue(tx.body, coins)
            counted.moved.extend(self._move(tx, position, coins))
        return counted._replace(undo=tuple(undo))

    def _spend(self, tx: Tx) -> tuple[Coin, ...]:
        coins = []
        for spent in tx.body.inputs:
            coin = self.coins.pop(spent, None)
            if coin is None:
                raise Absent(spent)
            coins.append(coin)
        return tuple(coins)

    def _make(self, tx: Tx, delayed: dict[tuple[LockHash, AssetId], int]) -> None:
        is_late = is_delayed(tx.body, self._height)
        for index, out in enumerate(tx.body.outputs):
            if out.lock == BURN_LOCK:
                self._destroyed[out.asset] += out.amount
                continue
            coin = Coin(out.asset, out.amount, out.lock, self._height, is_late)
            self.coins[outpoint(tx.txid, index)] = coin
            if is_late:
                delayed[out.lock, out.asset] += out.amount

    def _issue(self, body: Body, coins: tuple[Coin, ...]) -> None:
        # Of the native coin the outputs say what came into being: more in a coinbase, less by the
        # fee elsewhere.
        made = sum(out.amount for out in body.outputs if out.asset == NATIVE)
        self._issued[NATIVE] += made - sum(c.amount for c in coins if c.asset == NATIVE)
        for issuance in body.issuances:
            if not isinstance(issuance, Issue):
                self._issued[issuance.asset] += issuance.amount
                continue
            origin = body.inputs[issuance.input_index]
            asset = asset_id(origin, issuance.definition)
            self._issued[asset] += issuance.amount
            self._born[asset] = AssetRecord(issuance.definition, b"", origin, self._height, 0, 0)
            if issuance.definition.reissuable:
                authority = authority_id(asset)
                self._issued[authority] += 1
                self._born[authority] = AssetRecord(None, asset, origin, self._height, 0, 0)

    def _move(self, tx: Tx, position: int, coins: tuple[Coin, ...]) -> list[Moved]:
        received: defaultdict[tuple[LockHash, AssetId], int] = defaultdict(int)
        gone: defaultdict[tuple[LockHash, AssetId], int] = defaultdict(int)
        for coin in coins:
            gone[coin.lock, coin.asset] += coin.amount
        for out in tx.body.outputs:
            if out.lock != BURN_LOCK:
                received[out.lock, out.asset] += out.amount
        moved = []
        for owner in {**gone, **received}:
            come, went = received.get(owner, 0), gone.get(owner, 0)
            old = self.balances[owner]
            self.balances[owner] = old[0] + come, old[1] + went
            moved.append(Moved(position, *owner, tx.txid, come, went))
        return moved

    def assets(self) -> dict[AssetId, AssetRecord]:
        """Every asset that was ever issued, the native coin among them."""
        nothing = AssetRecord(None, b"", b"", Height(0), 0, 0)
        found = {}
        for asset in {NATIVE, *self._born}:
            born = self._born.get(asset, nothing)
            found[asset] = AssetRecord(
                born.definition, born.authority_of, born.outpoint, born.height,
                self._issued[asset], self._destroyed[asset],
            )  # fmt: skip
        return found
