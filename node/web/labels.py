"""How coins, assets and owners are called on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from consensus.asset import AssetRecord, asset_id, authority_id
from consensus.hashes import AssetId, LockHash, to_text
from consensus.tx import BURN_LOCK, NATIVE, AssetDefinition, Body, Issue
from node.rpc import ports
from node.rpc.methods_asset import NATIVE_DECIMALS
from node.rpc.shapes import address_of
from node.web.figures import Digits, digits


class Label(NamedTuple):
    """How an asset is called."""

    asset: str
    """Its id; empty for the native coin."""
    ticker: str
    """Anybody may issue an asset of any ticker, so a page shows some of the id beside it."""
    decimals: int


class Worth(NamedTuple):
    """An amount of an asset."""

    digits: Digits
    label: Label


class Labels:
    """Looks every asset up once for each page."""

    def __init__(self, node: ports.Node) -> None:
        self._node = node
        self._known: dict[AssetId, Label] = {}

    def learn(self, body: Body) -> None:
        """Take over the assets that a transaction makes, which may not be mined yet."""
        for asset, definition in definitions_of(body).items():
            ticker = definition.ticker.decode("ascii", "replace")
            self._known[asset] = Label(to_text(asset), ticker, definition.decimals)
            if definition.reissuable:
                authority = authority_id(asset)
                self._known[authority] = Label(to_text(authority), f"{ticker}*", 0)

    def of(self, asset: AssetId) -> Label:
        """An authority coin has the ticker of its asset, with a star."""
        found = self._known.get(asset)
        if found is None:
            found = self._known[asset] = self._look_up(asset)
        return found

    def _look_up(self, asset: AssetId) -> Label:
        if asset == NATIVE:
            ticker = self._node.ledger.params.ticker.decode()
            return Label("", ticker, NATIVE_DECIMALS)
        record = self._node.ledger.asset(asset)
        if record is None:
            return Label(to_text(asset), "?", 0)
        return label_of(self._node, asset, record)

    def worth(self, asset: AssetId, units: int) -> Worth:
        label = self.of(asset)
        return Worth(digits(units, label.decimals), label)

    def native(self, units: int) -> Worth:
        return self.worth(NATIVE, units)


def label_of(node: ports.Node, asset: AssetId, record: AssetRecord) -> Label:
    """The label of an asset whose record is at hand."""
    if record.definition is not None:
        definition = record.definition
        return Label(to_text(asset), definition.ticker.decode(), definition.decimals)
    main = node.ledger.asset(AssetId(record.authority_of))
    ticker = main.definition.ticker.decode() if main and main.definition else "?"
    return Label(to_text(asset), f"{ticker}*", 0)


def definitions_of(body: Body) -> Mapping[AssetId, AssetDefinition]:
    """The assets that a valid transaction makes."""
    return {
        asset_id(body.inputs[issuance.input_index], issuance.definition): issuance.definition
        for issuance in body.issuances
        if isinstance(issuance, Issue)
    }


def owner_of(node: ports.Node, lock: LockHash) -> str:
    """The address of a lock; empty for the one that destroys what it gets."""
    return "" if lock == BURN_LOCK else address_of(lock, node.ledger.params)
