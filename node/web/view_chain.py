"""The chain of blocks: the list of them, and one with its transactions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from consensus.block import decode_parts
from consensus.hashes import BlockHash, from_text, to_text
from consensus.header_tree import HeaderNode
from consensus.tx import NATIVE, Coin, Tx, identify
from node.rpc.kept import Kept
from node.rpc.shapes import cost_of_tx, difficulty, fee_of
from node.web import figures
from node.web.labels import Labels, Worth, owner_of
from node.web.pages import Elsewhere, NotFound, Page
from node.web.visitor import Ask

BLOCKS_PER_PAGE = 50
TXS_PER_PAGE = 50
HEIGHT_MAX = 2**32 - 1
ROWS_KEPT = 200
"""Pages of blocks whose rows are kept: to decode a full block takes milliseconds."""
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_HEIGHT = re.compile(r"[0-9]{1,10}")


class BlockRow(NamedTuple):
    """One line of a list of blocks."""

    height: int
    hash: str
    time: int
    after_s: int | None
    """Seconds since the block before; None for genesis."""
    txs: int
    difficulty: str


class TxRow(NamedTuple):
    """One line of the transactions of a block."""

    position: int
    txid: str
    inputs: int
    outputs: int
    sent: Worth
    """The native coin that its outputs hold."""
    others: int
    """Outputs of other assets."""
    fee: Worth | None
    rate: str
    size: int


class _TxRows(NamedTuple):
    rows: Sequence[TxRow]
    total: int
    size: int
    payout: str
    """To whom the first output of the block goes; empty if to nobody."""


def block_row(ask: Ask, at: HeaderNode) -> BlockRow:
    parent = at.parent
    return BlockRow(
        at.height, to_text(at.hash), at.header.time,
        at.header.time - parent.header.time if parent else None,
        ask.node.ledger.tx_count(at), figures.difficulty(difficulty(at.header.bits)),
    )  # fmt: skip


def newest(ask: Ask, count: int, below: int | None = None) -> list[HeaderNode]:
    """Blocks of the best chain, newest first, from height `below` down."""
    tip = ask.node.ledger.tip
    at: HeaderNode | None = tip if below is None else tip.ancestor(min(below, tip.height))
    found: list[HeaderNode] = []
    while at is not None and len(found) < count:
        found.append(at)
        at = at.parent
    return found


async def blocks(ask: Ask) -> Page:
    """The best chain, newest block first."""
    tip = ask.node.ledger.tip
    found = newest(ask, BLOCKS_PER_PAGE, ask.number("from", HEIGHT_MAX))
    first, last = found[0].height, found[-1].height
    return Page(
        "blocks",
        {
            "rows": [block_row(ask, at) for at in found],
            "tip": tip.height,
            "newer": min(tip.height, first + BLOCKS_PER_PAGE) if first < tip.height else None,
            "older": last - 1 if last > 0 else None,
        },
    )


def find_block(ask: Ask, text: str) -> HeaderNode:
    """A block by height or hash. Raises: NotFound."""
    ledger = ask.node.ledger
    if _HASH.fullmatch(text):
        found = ledger.tree.get(BlockHash(from_text(text)))
        if found is not None:
            return found
    elif _HEIGHT.fullmatch(text) and int(text) <= ledger.tip.height:
        return ledger.tip.ancestor(int(text))
    raise NotFound("missing_block")


async def block(ask: Ask) -> Page:
    """One block: its header, and a page of its transactions."""
    at = find_block(ask, ask.path["block"])
    name = ask.path["block"]
    if name != name.lower():
        raise Elsewhere(f"/block/{name.lower()}")
    ledger = ask.node.ledger
    is_best = ledger.is_on_best_chain(at)
    number = ask.number("page", HEIGHT_MAX) or 1
    found = _read(ask, at, number)
    pages = -(-found.total // TXS_PER_PAGE) if found else 0
    if number > max(1, pages):
        raise NotFound("missing_page")
    return Page(
        "block",
        {
            "row": block_row(ask, at),
            "is_best": is_best,
            "confirmations": ledger.tip.height - at.height + 1 if is_best else 0,
            "parent": to_text(at.parent.hash) if at.parent else "",
            "next": to_text(ledger.tip.ancestor(at.height + 1).hash)
            if is_best and at is not ledger.tip else "",
            "header": at.header,
            "root": to_text(at.header.root),
            "bits": f"{at.header.bits:08x}",
            "found": found,
            "page": number,
            "pages": pages,
            "subsidy": Labels(ask.node).native(ledger.params.subsidy_at(at.height)),
        },
    )  # fmt: skip


_kept: Kept[tuple[bytes, int, bool], _TxRows] = Kept(ROWS_KEPT)


def _read(ask: Ask, at: HeaderNode, number: int) -> _TxRows | None:
    """A page of the transactions of a block; None if only its header is known."""
    ledger = ask.node.ledger
    undo = ledger.read_undo(at) if ledger.is_on_best_chain(at) else None
    key = (at.hash, number, undo is not None)
    kept = _kept.get(key)
    if kept is not None:
        return kept
    raw = ledger.read_block_raw(at)
    if raw is None:
        return None
    parts = decode_parts(raw).transactions
    labels = Labels(ask.node)
    start = TXS_PER_PAGE * (number - 1)
    rows: list[TxRow] = []
    for position, part in enumerate(parts[start : start + TXS_PER_PAGE], start):
        coins = undo[position - 1] if undo is not None and position else None
        rows.append(_row(labels, position, identify(part), coins))
    first = parts[0].body.outputs
    payout = owner_of(ask.node, first[0].lock) if first else ""
    made = _TxRows(rows, len(parts), len(raw), payout)
    _kept.add(key, made, 1)
    return made


def _row(labels: Labels, position: int, tx: Tx, coins: Sequence[Coin] | None) -> TxRow:
    body = tx.body
    native = sum(output.amount for output in body.outputs if output.asset == NATIVE)
    fee = fee_of(body, coins) if coins is not None else None
    return TxRow(
        position, to_text(tx.txid), len(body.inputs), len(body.outputs), labels.native(native),
        sum(output.asset != NATIVE for output in body.outputs),
        labels.native(fee) if fee is not None else None,
        rate_text(fee, cost_of_tx(tx)) if fee is not None else "",
        len(tx.raw),
    )  # fmt: skip


def rate_text(fee: int, cost: int) -> str:
    """Base units for one cost, with two decimals."""
    hundredths = fee * 100 // cost
    return f"{hundredths // 100:,}.{hundredths % 100:02d}"
