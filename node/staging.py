"""Changes of the ledger that are put together before anybody sees them."""

from __future__ import annotations

from typing import Protocol

from consensus.asset import AssetRecord
from consensus.connect import Delta
from consensus.hashes import AssetId, LockHash
from consensus.tx import Coin, OutPoint
from node.layer import Layer


class Below(Protocol):
    """What coins and assets were before."""

    def coin(self, outpoint: OutPoint, lock: LockHash) -> Coin | None: ...

    def asset(self, asset: AssetId) -> AssetRecord | None: ...


class Staging:
    """Blocks taken off and put on, seen by nobody else until the store publishes them."""

    def __init__(self, below: Below) -> None:
        """`below` is the store, or what this lies on and is not published yet."""
        self.layer = Layer()
        self.below = below

    def coin(self, outpoint: OutPoint, lock: LockHash) -> Coin | None:
        coin = self.layer.created.get(outpoint)
        if coin is not None:
            return coin
        if outpoint in self.layer.spent:
            return None
        return self.below.coin(outpoint, lock)

    def asset(self, asset: AssetId) -> AssetRecord | None:
        assets = self.layer.assets
        return assets[asset] if asset in assets else self.below.asset(asset)

    def supply(self, asset: AssetId) -> int:
        record = self.asset(asset)
        return record.supply if record else 0

    def apply(self, delta: Delta, height: int, sign: int) -> None:
        """Put a block on, or with sign −1 take it off. Its index rows go into the layer by themselves."""
        if sign > 0:
            self.layer.move_coins(delta.spent, delta.created)
        else:
            self.layer.move_coins(delta.created, delta.spent)
        self.layer.change_assets(delta, height, sign, self.below.asset)
