"""Changes of the ledger that are not on disk yet.

A layer lies over another, or over the database: what it does not know is asked below. Coins are
kept as objects, so a coin that is spent soon after it was made never touches the disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from consensus.asset import AssetRecord
from consensus.connect import Delta
from consensus.hashes import AssetId, LockHash, Txid
from consensus.tx import Coin, Height, OutPoint
from node.layout import LOCK_BYTES

K = TypeVar("K")
NOTHING = AssetRecord(None, b"", b"", Height(0), 0, 0)
"""The record of an asset that has none yet."""


class _ByLock(Generic[K]):
    """Keys, grouped by lock when somebody asks: a replay never does."""

    def __init__(self, lock_of: Callable[[K], bytes | None]) -> None:
        """`lock_of` may answer None for a key that does not matter any more."""
        self._lock_of = lock_of
        self._waiting: list[Sequence[K]] = []
        self._keys: defaultdict[bytes, set[K]] = defaultdict(set)

    def add(self, keys: Iterable[K]) -> None:
        # Their mapping would take ten times the room.
        self._waiting.append(tuple(keys))

    def absorb(self, upper: _ByLock[K]) -> None:
        """Take over the keys of another, which is not used afterwards."""
        self._waiting += upper._waiting
        for lock, keys in upper._keys.items():
            self._keys[lock] |= keys

    def keys(self, lock: LockHash) -> set[K]:
        lock_of, grouped = self._lock_of, self._keys
        for keys in self._waiting:
            for key in keys:
                found = lock_of(key)
                if found is not None:
                    grouped[found].add(key)
        self._waiting.clear()
        return grouped.get(lock, set())

    def clear(self) -> None:
        self._waiting.clear()
        self._keys.clear()


class Indexes:
    """Rows of the indexes that some blocks add or, where the value is None, take away."""

    def __init__(self) -> None:
        self.txs: dict[Txid, bytes | None] = {}
        self.history: dict[bytes, bytes | None] = {}
        self.balances: dict[bytes, tuple[int, int]] = {}
        """lock || asset → how much received and spent change."""
        self.delayed: dict[bytes, bytes | None] = {}

    def add(self, other: Indexes) -> None:
        self.txs.update(other.txs)
        self.history.update(other.history)
        self.delayed.update(other.delayed)
        own = self.balances
        for key, (received, spent) in other.balances.items():
            old = own.get(key)
            own[key] = (old[0] + received, old[1] + spent) if old else (received, spent)


class Layer:
    """Coins, assets and index rows that differ from what lies below."""

    def __init__(self) -> None:
        self.created: dict[OutPoint, Coin] = {}
        self.spent: dict[OutPoint, Coin] = {}
        """Coins that exist below and do not any more. One that is in `created` too does exist."""
        self.assets: dict[AssetId, AssetRecord | None] = {}
        self.indexes = Indexes()
        self._coins_by_lock: _ByLock[OutPoint] = _ByLock(self._lock_of)
        self._history_by_lock: _ByLock[bytes] = _ByLock(lambda key: key[1 : 1 + LOCK_BYTES])
        self._balances_by_lock: _ByLock[bytes] = _ByLock(lambda key: key[:LOCK_BYTES])

    def _lock_of(self, outpoint: OutPoint) -> LockHash | None:
        coin = self.created.get(outpoint)
        return coin.lock if coin else None

    def __len__(self) -> int:
        """Rows that writing it would take."""
        indexes = self.indexes
        return (
            len(self.created) + len(self.spent) + len(self.assets)
            + len(indexes.txs) + len(indexes.history) + len(indexes.balances) + len(indexes.delayed)
        )  # fmt: skip

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

    def add_indexes(self, rows: Indexes) -> None:
        self.indexes.add(rows)
        self._history_by_lock.add(rows.history)
        self._balances_by_lock.add(rows.balances)

    def absorb(self, upper: Layer) -> None:
        """Take over everything of a layer that lay over this one."""
        self._move_coins(upper.spent, upper.created)
        self.assets.update(upper.assets)
        self.indexes.add(upper.indexes)
        self._coins_by_lock.absorb(upper._coins_by_lock)
        self._history_by_lock.absorb(upper._history_by_lock)
        self._balances_by_lock.absorb(upper._balances_by_lock)

    def coins_of(self, lock: LockHash) -> set[OutPoint]:
        """Outpoints of the lock's coins that were made here, but for some that are spent again."""
        return self._coins_by_lock.keys(lock)

    def history_of(self, lock: LockHash) -> set[bytes]:
        """Keys of the lock's history that are written or removed here."""
        return self._history_by_lock.keys(lock)

    def balances_of(self, lock: LockHash) -> set[bytes]:
        """Keys of the lock's balances that change here."""
        return self._balances_by_lock.keys(lock)

    def forget_rows(self) -> None:
        """It is on disk now: keep the coins as a cache, drop what can be read there."""
        self.assets.clear()
        self._coins_by_lock.clear()
        self.indexes = Indexes()
        self._history_by_lock.clear()
        self._balances_by_lock.clear()
