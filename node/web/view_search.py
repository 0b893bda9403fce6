"""Search: whatever can be named on a page is found by its name."""

from __future__ import annotations

import asyncio
import re

from consensus.address import AddressError, decode_address
from consensus.hashes import AssetId, BlockHash, Txid, from_text
from node.rpc.shapes import address_of
from node.web.foreign import without_unseen
from node.web.pages import Elsewhere, Page
from node.web.view_assets import READ_AHEAD, AssetRow, asset_row
from node.web.visitor import Ask

SCANNED_MAX = 20_000
"""Assets that are gone through for a ticker or a name."""
FOUND_MAX = 50
TEXT_MAX = 128
_HASH = re.compile(r"(0x)?(?P<digits>[0-9a-fA-F]{64})")
_HEIGHT = re.compile(r"[0-9][0-9, _]{0,12}")


async def search(ask: Ask) -> Page:
    """The page of the one thing that is meant, or a list of assets that may be."""
    text = without_unseen(ask.get("q")[:TEXT_MAX])
    place = _place(ask, text)
    if place:
        raise Elsewhere(place)
    found, is_complete = await _assets(ask, text) if text else ([], True)
    if len(found) == 1 and found[0].label.ticker == text.upper():
        raise Elsewhere(f"/asset/{found[0].label.asset}")
    return Page(
        "search",
        {"query": text, "rows": found, "is_complete": is_complete, "scanned": SCANNED_MAX},
    )


def _place(ask: Ask, text: str) -> str:
    """The path of the block, transaction, asset or address that `text` names; empty if of none."""
    ledger = ask.node.ledger
    if text.isascii() and _HEIGHT.fullmatch(text):
        height = int(re.sub(r"[, _]", "", text))
        return f"/block/{height}" if height <= ledger.tip.height else ""
    match = _HASH.fullmatch(text)
    if match is not None:
        digits = match["digits"].lower()
        digest = from_text(digits)
        if ledger.tree.get(BlockHash(digest)) is not None:
            return f"/block/{digits}"
        if Txid(digest) in ledger.mempool or ledger.is_confirmed(Txid(digest)):
            return f"/tx/{digits}"
        return f"/asset/{digits}" if ledger.asset(AssetId(digest)) is not None else ""
    try:
        lock = decode_address(ledger.params.hrp.decode(), text)
    except AddressError:
        return ""
    return f"/address/{address_of(lock, ledger.params)}"


async def _assets(ask: Ask, text: str) -> tuple[list[AssetRow], bool]:
    """Assets whose ticker is `text`, or whose name holds it; and whether all were gone through."""
    wanted = text.casefold()
    found: list[AssetRow] = []
    after = AssetId(b"")
    for _ in range(0, SCANNED_MAX, READ_AHEAD):
        rows = ask.node.ledger.assets(after, READ_AHEAD)
        for asset, record in rows:
            definition = record.definition
            if definition is not None and (
                definition.ticker.decode().casefold() == wanted
                or wanted in definition.name.decode("utf-8", "replace").casefold()
            ):
                found.append(asset_row(ask.node, asset, record))
        if len(found) >= FOUND_MAX or len(rows) < READ_AHEAD:
            return found[:FOUND_MAX], len(rows) < READ_AHEAD
        after = rows[-1][0]
        await asyncio.sleep(0)
    return found, False
