"""Methods: issued assets."""

from __future__ import annotations

from typing import Annotated

from consensus.asset import AssetRecord, authority_id
from consensus.hashes import HASH_BYTES, AssetId, to_text
from consensus.tx import NATIVE, OutPoint
from node.rpc.errors import Code, RpcError
from node.rpc.params import PAGE
from node.rpc.ports import Node
from node.rpc.results.addresses import AssetLabel
from node.rpc.results.assets import AssetInfo, AssetPage
from node.rpc.shapes import split_outpoint

NATIVE_DECIMALS = 8
READ_AHEAD = 256


def asset_label(node: Node, asset: AssetId) -> AssetLabel:
    """Id, ticker and decimals; an authority coin has the ticker of its asset, with a star."""
    ticker, decimals = "", 0
    if asset == NATIVE:
        ticker, decimals = node.ledger.params.ticker.decode(), NATIVE_DECIMALS
    record = node.ledger.asset(asset) if asset else None
    if record is not None and record.definition is not None:
        ticker, decimals = record.definition.ticker.decode(), record.definition.decimals
    elif record is not None and record.authority_of:
        ticker = f"{_ticker_of(node, AssetId(record.authority_of))}*"
    return {"asset": to_text(asset), "ticker": ticker, "decimals": decimals}


def _ticker_of(node: Node, asset: AssetId) -> str:
    record = node.ledger.asset(asset)
    return record.definition.ticker.decode() if record and record.definition else ""


def getasset(node: Node, asset: AssetId) -> AssetInfo:
    """What an asset is, and how much of it there is.

    `supply` is `issued` less `destroyed`, in base units. `outpoint` (TXID:N) and the definition make
    the id, so that a client can check them. `authority` is the id of the coin that allows more to be
    issued, and `authority_supply` how many of those coins there still are: with 0 nobody can issue
    more, whatever `reissuable` in the definition once promised. Asked for that id, the answer has
    `authority_of`. The empty id, or the ticker, is the native coin.
    """
    record = node.ledger.asset(asset)
    if record is None:
        raise RpcError(Code.ADDRESS_OR_KEY, "No such asset")
    return _show(node, asset, record)


def _show(node: Node, asset: AssetId, record: AssetRecord) -> AssetInfo:
    label = asset_label(node, asset)
    shown: AssetInfo = {
        "asset": label["asset"],
        "ticker": label["ticker"],
        "decimals": label["decimals"],
        "supply": record.supply,
        "issued": record.issued,
        "destroyed": record.destroyed,
        "height": record.height,
    }
    if record.outpoint:
        txid, index = split_outpoint(OutPoint(record.outpoint))
        shown["outpoint"] = f"{txid}:{index}"
    if record.authority_of:
        authority_of = AssetId(record.authority_of)
        shown["authority_of"] = to_text(authority_of)
        shown["ticker"] = _ticker_of(node, authority_of)
    definition = record.definition
    if definition is not None:
        shown["name"] = definition.name.decode()
        shown["terms"] = definition.terms.hex()
        shown["reissuable"] = definition.reissuable
        if definition.reissuable:
            authority = authority_id(asset)
            coin = node.ledger.asset(authority)
            shown["authority"] = to_text(authority)
            shown["authority_supply"] = coin.supply if coin else 0
    return shown


def listassets(
    node: Node, limit: Annotated[int, PAGE] = 100, cursor: bytes | None = None
) -> AssetPage:  # fmt: skip
    """Issued assets in the order of their ids: `assets`, each as by getasset, and `cursor`.

    The next page is asked for with the cursor of the last, which is null at the end.
    """
    if cursor is not None and len(cursor) != HASH_BYTES:
        raise RpcError(Code.PARAMETER, "`cursor` is not one that this method gave")
    after = AssetId(cursor or b"")
    found: list[tuple[AssetId, AssetRecord]] = []
    while len(found) <= limit:
        rows = node.ledger.assets(after, READ_AHEAD)
        found += [(asset, record) for asset, record in rows if record.definition is not None]
        if len(rows) < READ_AHEAD:
            break
        after = rows[-1][0]
    shown = found[:limit]
    following = shown[-1][0].hex() if len(found) > limit else None
    return {
        "assets": [_show(node, asset, record) for asset, record in shown],
        "cursor": following,
    }
