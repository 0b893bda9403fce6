"""Changes of the ledger that are not on disk yet.

A layer lies over another, or over the database: what it does not know is asked below. Coins are
kept as objects, so a coin that is spent soon after it was made never touches the disk.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from consensus.asset import AssetRecord
from consensus.connect import Delta
from consensus.hashes import AssetId, LockHash
from consensus.tx import Coin, Height, OutPoint
from node.layout import HISTORY, LOCK_BYTES

NOTHING = AssetRecord(None, b"", b"", Height(0), 0, 0)
"""The record of an asset that has none yet."""


class _Rows:
    """Rows of one kind in the order in which they came; of a key, the last counts.

    No mapping: it is made when somebody looks for a row, which a replay never does, and for a payment
    costs it as much as making the rows.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[bytes, bytes | None]] = []
        self.add = self._rows.append
        """Takes a key and its value, or None where the row is taken away."""
        self._seen = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[bytes, bytes | None]]:
        return iter(self._rows)

    def extend(self, later: _Rows) -> None:
        self._rows += later._rows

    def _new(self) -> Sequence[tuple[bytes, bytes | None]]:
        """Rows that came since this was asked the last time."""
        if self._seen == len(self._rows):
            return ()
        new = self._rows[self._seen :]
        self._seen = len(self._rows)
        return new


class TxRows(_Rows):
    """Places of transactions; the key is the txid."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[bytes, bytes | None] = {}

    def by_txid(self) -> Mapping[bytes, bytes | None]:
        self._places.update(self._new())
        return self._places


class HistoryRows(_Rows):
    """What happened to locks; the key is that of the database."""

    def __init__(self) -> None:
        super().__init__()
        self._by_lock: defaultdict[bytes, dict[bytes, bytes | None]] = defaultdict(dict)

    def of(self, lock: LockHash) -> Mapping[bytes, bytes | None]:
        for key, value in self._new():
            self._by_lock[key[len(HISTORY) : len(HISTORY) + LOCK_BYTES]][key] = value
        return self._by_lock.get(lock, {})


class _CoinsByLock:
    """Outpoints of coins that were made, grouped by lock when somebody asks."""

    def __init__(self, coins: Mapping[OutPoint, Coin]) -> None:
        self._coins = coins
        self._waiting: list[Sequence[OutPoint]] = []
        self._keys: defaultdict[LockHash, set[OutPoint]] = defaultdict(set)

    def add(self, made: Mapping[OutPoint, Coin]) -> None:
        # Their mapping would take ten times the room.
        self._waiting.append(tuple(made))

    def absorb(self, upper: _CoinsByLock) -> None:
        """Take over what another knows, which is not used afterwards."""
        self._waiting += upper._waiting
        for lock, keys in upper._keys.items():
            self._keys[lock] |= keys

    def keys(self, lock: LockHash) -> set[OutPoint]:
        for outpoints in self._waiting:
            for outpoint in outpoints:
                coin = self._coins.get(outpoint)
                if coin is not None:
                    self._keys[coin.lock].add(outpoint)
        self._waiting.clear()
        return self._keys.get(lock, set())

    def clear(self) -> None:
        self._waiting.clear()
        self._keys.clear()


class Indexes:
    """Rows of the indexes that some blocks add or, where the value is None, take away."""

    def __init__(self) -> None:
        self.txs = TxRows()
        self.history = HistoryRows()
        self.balances: dict[bytes, tuple[int, int]] = {}
        """lock || asset → how much received and spent change."""
        self.delayed: dict[bytes, bytes | None] = {}
        self._owners: defaultdict[bytes, list[bytes]] = defaultdict(list)
        self._owners_seen = 0

    def __len__(self) -> int:
        return len(self.txs) + len(self.history) + len(self.balances) + len(self.delayed)

    def add(self, later: Indexes) -> None:
        self.txs.extend(later.txs)
        self.history.extend(later.history)
        self.delayed.update(later.delayed)
        own = self.balances
        for key, (received, spent) in later.balances.items():
            old = own.get(key)
            own[key] = (old[0] + received, old[1] + spent) if old else (received, spent)

    def balances_of(self, lock: LockHash) -> Sequence[bytes]:
        """Keys of the lock's balances that change here."""
        if self._owners_seen != len(self.balances):
            # A mapping keeps the order in which its keys came, so the new ones stand at its end.
            for key in islice(self.balances, self._owners_seen, None):
                self._owners[key[:LOCK_BYTES]].append(key)
            self._owners_seen = len(self.balances)
        return self._owners.get(lock, ())


class Indexer(Protocol):
    """Makes the index rows of one block, a part at a time."""

    def step(self, rows: Indexes, size: int) -> bool:
        """Add some more rows, of about `size` inputs and outputs; return whether that was all."""
        ...


class Layer:
    """Coins, assets and index rows that differ from what lies below.

    Index rows may come later than the coins, since no rule asks for them: 4 ms of a block of 2,000
    payments that its tip need not wait for. Whoever looks at `indexes` has those made that are due,
    so nobody ever sees, or writes, a layer without them.
    """

    def __init__(self) -> None:
        self.created: dict[OutPoint, Coin] = {}
        self.spent: dict[OutPoint, Coin] = {}
        """Coins that exist below and do not any more. One that is in `created` too does exist."""
        self.assets: dict[AssetId, AssetRecord | None] = {}
        self._indexes = Indexes()
        self._due: deque[Indexer] = deque()
        """What makes the rows that are missing in `_indexes`, first block first."""
        self._coins_by_lock = _CoinsByLock(self.created)

    def __len__(self) -> int:
        """Rows that writing it would take."""
        return len(self.created) + len(self.spent) + len(self.assets) + len(self.indexes)

    @property
    def indexes(self) -> Indexes:
        """The index rows, complete."""
        while self.index_some(sys.maxsize):
            pass
        return self._indexes

    def index_later(self, indexer: Indexer) -> None:
        """The rows of another block, after those of all others here."""
        self._due.append(indexer)

    def index_some(self, size: int) -> bool:
        """Make some of the rows that are due, of about `size` inputs and outputs; return whether there
        were any."""
        if not self._due:
            return False
        if self._due[0].step(self._indexes, size):
            self._due.popleft()
        return True

    def move_coins(self, gone: Mapping[OutPoint, Coin], come: Mapping[OutPoint, Coin]) -> None:
        """Take away the coins `gone`, add the coins `come`."""
        self._move_coins(gone, come)
        self._coins_by_lock.add(come)

    def _move_coins(self, gone: Mapping[OutPoint, Coin], come: Mapping[OutPoint, Coin]) -> None:
        created, spent = self.created, self.spent
        for outpoint, coin in gone.items():
            # When it was made here, it either did not exist below or stood in `spent` already.
            if created.pop(outpoint, None) is None:
                spent[outpoint] = coin
        created.update(come)

    def change_assets(
        self, delta: Delta, height: int, sign: int, below: Callable[[AssetId], AssetRecord | None]
    ) -> None:
        """Apply what `delta` does to supplies, or with sign −1 take it back."""
        for asset, creation in delta.creations.items():
            self.assets[asset] = AssetRecord(
                creation.definition, creation.authority_of, creation.outpoint, Height(height), 0, 0
            )
        for asset, change in delta.supply.items():
            old = (self.assets[asset] if asset in self.assets else below(asset)) or NOTHING
            self.assets[asset] = AssetRecord(
                old.definition, old.authority_of, old.outpoint, old.height,
                old.issued + sign * change.issued, old.destroyed + sign * change.destroyed,
            )  # fmt: skip
        if sign < 0:
            for asset in delta.creations:
                self.assets[asset] = None

    def absorb(self, upper: Layer) -> None:
        """Take over everything of a layer that lay over this one."""
        self._move_coins(upper.spent, upper.created)
        self.assets.update(upper.assets)
        self.indexes.add(upper._indexes)
        self._due += upper._due
        self._coins_by_lock.absorb(upper._coins_by_lock)

    def coins_of(self, lock: LockHash) -> set[OutPoint]:
        """Outpoints of the lock's coins that were made here, but for some that are spent again."""
        return self._coins_by_lock.keys(lock)

    def forget_rows(self) -> None:
        """It is on disk now: keep the coins as a cache, drop what can be read there."""
        self.assets.clear()
        self._coins_by_lock.clear()
        self._indexes = Indexes()
