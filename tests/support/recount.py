"""What a node must know after some blocks, counted in the plainest way, and the comparison."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from consensus.asset import asset_id, authority_id
from consensus.block import Block
from consensus.coins import CoinSetDigest
from consensus.hashes import AssetId, LockHash, Txid
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    Coin,
    Height,
    OutPoint,
    Reissue,
    Tx,
    outpoint,
)
from consensus.tx_rules import is_delayed
from node.db import Database
from node.layout import BALANCE, COIN, DELAYED, HISTORY, TX
from node.store import Store
from tests.support.node_chain import NodeChain

KINDS = (COIN, HISTORY, BALANCE, TX, DELAYED)


class History(NamedTuple):
    """What one transaction did to one lock, for one asset."""

    height: int
    position: int
    asset: AssetId
    txid: Txid
    received: int
    spent: int


class Recount:
    """Everything that a node must know after `blocks`, genesis first, computed from them alone."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.coins: dict[OutPoint, Coin] = {}
        self.history: defaultdict[LockHash, list[History]] = defaultdict(list)
        self.txs: dict[Txid, tuple[bytes, int, int]] = {}
        self.issued: defaultdict[AssetId, list[int]] = defaultdict(lambda: [0, 0])
        """Asset → base units issued and destroyed."""
        self.delayed: defaultdict[tuple[int, LockHash, AssetId], int] = defaultdict(int)
        """Height, lock, asset → base units that mature like a coinbase."""
        for height, block in enumerate(blocks):
            for position, tx in enumerate(block.txs):
                self._add(tx, height, position)
        self.issued.pop(NATIVE, None)

    def _add(self, tx: Tx, height: int, position: int) -> None:
        self.txs[tx.txid] = tx.raw, height, position
        moved: defaultdict[tuple[LockHash, AssetId], list[int]] = defaultdict(lambda: [0, 0])
        for spent in tx.body.inputs:
            coin = self.coins.pop(spent)
            moved[coin.lock, coin.asset][1] += coin.amount
        delayed = is_delayed(tx.body, height)
        for index, out in enumerate(tx.body.outputs):
            if out.lock == BURN_LOCK:
                self.issued[out.asset][1] += out.amount
                continue
            moved[out.lock, out.asset][0] += out.amount
            if delayed:
                self.delayed[height, out.lock, out.asset] += out.amount
            coin = Coin(out.asset, out.amount, out.lock, Height(height), delayed)
            self.coins[outpoint(tx.txid, index)] = coin
        for (lock, asset), (received, gone) in moved.items():
            entry = History(height, position, asset, tx.txid, received, gone)
            self.history[lock].append(entry)
        for issuance in tx.body.issuances:
            if isinstance(issuance, Reissue):
                self.issued[issuance.asset][0] += issuance.amount
                continue
            asset = asset_id(tx.body.inputs[issuance.input_index], issuance.definition)
            self.issued[asset][0] += issuance.amount
            if issuance.definition.reissuable:
                self.issued[authority_id(asset)][0] += 1

    def balances(self, lock: LockHash) -> dict[AssetId, tuple[int, int]]:
        sums: defaultdict[AssetId, list[int]] = defaultdict(lambda: [0, 0])
        for entry in self.history[lock]:
            sums[entry.asset][0] += entry.received
            sums[entry.asset][1] += entry.spent
        return {asset: (received, spent) for asset, (received, spent) in sums.items()}

    def coins_of(self, lock: LockHash) -> list[tuple[OutPoint, Coin]]:
        return sorted((spent, coin) for spent, coin in self.coins.items() if coin.lock == lock)

    def digest(self) -> bytes:
        """The coin-set hash."""
        digest = CoinSetDigest()
        for coin, spent in sorted((coin.lock, spent) for spent, coin in self.coins.items()):
            digest.add(spent, self.coins[spent])
            assert self.coins[spent].lock == coin
        return digest.digest()


def digest_of(coins: dict[OutPoint, Coin]) -> bytes:
    """The coin-set hash of coins that a store gave in its own order."""
    digest = CoinSetDigest()
    for spent, coin in coins.items():
        digest.add(spent, coin)
    return digest.digest()


def assert_store_knows(store: Store, wanted: Recount, page: int = 3) -> None:
    """The store's queries, in memory and on disk, answer as the recount does, page by page."""
    for lock, entries in wanted.history.items():
        assert store.balances(lock) == wanted.balances(lock)
        found_history: list[History] = []
        cursor = b""
        while rows := store.history(lock, cursor, page):
            cursor = rows[-1].cursor
            found_history += [History(*row[:6]) for row in rows]
        assert found_history == sorted(entries, key=lambda e: (e.height, e.position, e.asset))
        from_behind: list[History] = []
        cursor = b""
        while rows := store.history_back(lock, cursor, page):
            cursor = rows[-1].cursor
            from_behind += [History(*row[:6]) for row in rows]
        assert from_behind[::-1] == found_history
        found_coins: list[tuple[OutPoint, Coin]] = []
        last = OutPoint(b"")
        while coins := store.coins_of(lock, last, page):
            last = coins[-1][0]
            found_coins += coins
        assert found_coins == wanted.coins_of(lock)
    for spent, coin in wanted.coins.items():
        assert store.coin(spent, coin.lock) == coin
    for txid, (_, height, position) in wanted.txs.items():
        place = store.tx_place(txid)
        assert place is not None
        assert (place.height, place.position) == (height, position)
    for first in {0, *(height for height, _, _ in wanted.delayed)}:
        assert sorted(store.delayed(first)) == sorted(
            (lock, asset, amount)
            for (height, lock, asset), amount in wanted.delayed.items()
            if height >= first
        )
    found_assets: list[AssetId] = []
    while assets := store.assets(found_assets[-1] if found_assets else AssetId(b""), page):
        found_assets += [asset for asset, _ in assets]
        for asset, record in assets:
            assert [record.issued, record.destroyed] == wanted.issued[asset]
    assert found_assets == sorted(wanted.issued)


def assert_knows(node: NodeChain, wanted: Recount, page: int = 3) -> None:
    """The store knows what is wanted, and its places lead to the transactions."""
    assert_store_knows(node.store, wanted, page)
    for txid, (raw, height, position) in wanted.txs.items():
        found = node.chain.archive.read_tx(txid)
        assert found is not None
        assert (found[0].raw, found[1], found[2]) == (raw, height, position)


def assert_rows_are(directory: Path, wanted: Recount) -> None:
    """The database of a chain that was flushed and closed has the rows of `wanted` and no others."""
    database = Database(directory / "state")
    view = database.view()
    try:
        counts = {kind: sum(1 for _ in view.scan(kind)) for kind in KINDS}
    finally:
        view.close()
        database.close()
    entries = wanted.history.values()
    assert counts == {
        COIN: len(wanted.coins),
        HISTORY: sum(len(of_lock) for of_lock in entries),
        BALANCE: sum(len({entry.asset for entry in of_lock}) for of_lock in entries),
        TX: len(wanted.txs),
        DELAYED: len(wanted.delayed),
    }
