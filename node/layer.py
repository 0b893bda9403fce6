"""Changes of the ledger that are not on disk yet.

A layer lies over another, or over the database: what it does not know is asked below. Coins are
kept as objects, so a coin that is spent soon after it was made never touches the disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from consensus.asset import AssetRecord
from consensus.connect import Delta
from consensus.hashes import AssetId, LockHash, Txid
from consensus.tx import Coin, Height, OutPoint
from node.layout import HISTORY, LOCK_BYTES

NOTHING = AssetRecord(None, b"", b"", Height(0), 0, 0)
"""The record of an asset that has none yet."""


class _ByLock:
    """Keys of rows that are only ever added, grouped by lock when somebody asks: a replay never does."""

    def __init__(self, rows: Mapping[bytes, object], lock_at: slice) -> None:
        """`lock_at` is where the lock stands in a key."""
        self._rows = rows
        self._lock_at = lock_at
        self._grouped = 0
        self._keys: defaultdict[bytes, list[bytes]] = defaultdict(list)

    def keys(self, lock: LockHash) -> Sequence[bytes]:
        # A mapping keeps the order in which its keys came, so the new ones stand at its end.
        for key in islice(self._rows, self._grouped, None):
            self._keys[key[self._lock_at]].append(key)
        self._grouped = len(self._rows)
        return self._keys.get(lock, ())


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
        self._coins_by_lock = _CoinsByLock(self.created)
        self._group_indexes()

    def _group_indexes(self) -> None:
        after_kind = slice(len(HISTORY), len(HISTORY) + LOCK_BYTES)
        self._history_by_lock = _ByLock(self.indexes.history, after_kind)
        self._balances_by_lock = _ByLock(self.indexes.balances, slice(LOCK_BYTES))

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

    def absorb(self, upper: Layer) -> None:
        """Take over everything of a layer that lay over this one."""
        self._move_coins(upper.spent, upper.created)
        self.assets.update(upper.assets)
        self.indexes.add(upper.indexes)
        self._coins_by_lock.absorb(upper._coins_by_lock)

    def coins_of(self, lock: LockHash) -> set[OutPoint]:
        """Outpoints of the lock's coins that were made here, but for some that are spent again."""
        return self._coins_by_lock.keys(lock)

    def history_of(self, lock: LockHash) -> Sequence[bytes]:
        """Keys of the lock's history that are written or removed here."""
        return self._history_by_lock.keys(lock)

    def balances_of(self, lock: LockHash) -> Sequence[bytes]:
        """Keys of the lock's balances that change here."""
        return self._balances_by_lock.keys(lock)

    def forget_rows(self) -> None:
        """It is on disk now: keep the coins as a cache, drop what can be read there."""
        self.assets.clear()
        self._coins_by_lock.clear()
        self.indexes = Indexes()
        self._group_indexes()
