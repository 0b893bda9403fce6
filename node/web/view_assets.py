"""Assets that were issued, and one of them."""

from __future__ import annotations

import re
from typing import NamedTuple

from consensus.asset import AssetRecord, authority_id
from consensus.hashes import HASH_BYTES, AssetId, from_text, to_text
from consensus.tx import OutPoint
from node.rpc import ports
from node.rpc.shapes import split_outpoint
from node.web.figures import digits
from node.web.labels import Label, Worth, label_of
from node.web.pages import Elsewhere, NotFound, Page
from node.web.visitor import Ask

PER_PAGE = 50
READ_AHEAD = 128
_ID = re.compile(r"[0-9a-fA-F]{64}")


class AssetRow(NamedTuple):
    """One line of the list."""

    label: Label
    name: str
    supply: Worth
    height: int
    can_grow: bool
    """Whether somebody still holds the coin that allows more to be issued."""


def asset_row(node: ports.Node, asset: AssetId, record: AssetRecord) -> AssetRow:
    """The line of an issued asset, whose definition is there."""
    assert record.definition is not None
    label = label_of(node, asset, record)
    supply = Worth(digits(record.supply, label.decimals), label)
    name = record.definition.name.decode("utf-8", "replace")
    return AssetRow(label, name, supply, record.height, authorities(node, asset, record) > 0)


def authorities(node: ports.Node, asset: AssetId, record: AssetRecord) -> int:
    """How many coins there are that allow more of an asset to be issued."""
    if record.definition is None or not record.definition.reissuable:
        return 0
    coin = node.ledger.asset(authority_id(asset))
    return coin.supply if coin else 0


async def assets(ask: Ask) -> Page:
    """Issued assets in the order of their ids."""
    after = _after(ask)
    found: list[tuple[AssetId, AssetRecord]] = []
    start = after
    while len(found) <= PER_PAGE:
        rows = ask.node.ledger.assets(start, READ_AHEAD)
        found += [(asset, record) for asset, record in rows if record.definition is not None]
        if len(rows) < READ_AHEAD:
            break
        start = rows[-1][0]
    shown = found[:PER_PAGE]
    return Page(
        "assets",
        {
            "rows": [asset_row(ask.node, asset, record) for asset, record in shown],
            "following": shown[-1][0].hex() if len(found) > PER_PAGE else "",
            "is_first_page": not after,
        },
    )


def _after(ask: Ask) -> AssetId:
    try:
        after = bytes.fromhex(ask.get("after"))
    except ValueError:
        after = b"\0"
    if len(after) not in (0, HASH_BYTES):
        raise NotFound("missing_page")
    return AssetId(after)


async def asset(ask: Ask) -> Page:
    """One asset: what it is, how much there is, and who may make more."""
    text = ask.path["asset"]
    if not _ID.fullmatch(text):
        raise NotFound("missing_asset")
    if text != text.lower():
        raise Elsewhere(f"/asset/{text.lower()}")
    asset_id = AssetId(from_text(text))
    record = ask.node.ledger.asset(asset_id)
    if record is None:
        raise NotFound("missing_asset")
    if record.authority_of:
        raise Elsewhere(f"/asset/{to_text(record.authority_of)}")
    assert record.definition is not None
    label = label_of(ask.node, asset_id, record)
    txid, index = split_outpoint(OutPoint(record.outpoint))
    block = ask.node.ledger.tip.ancestor(record.height)
    return Page(
        "asset",
        {
            "row": asset_row(ask.node, asset_id, record),
            "definition": record.definition,
            "issued": Worth(digits(record.issued, label.decimals), label),
            "destroyed": Worth(digits(record.destroyed, label.decimals), label),
            "terms": record.definition.terms.hex(),
            "authority": to_text(authority_id(asset_id)) if record.definition.reissuable else "",
            "authorities": authorities(ask.node, asset_id, record),
            "origin": txid,
            "origin_index": index,
            "time": block.header.time,
        },
    )
