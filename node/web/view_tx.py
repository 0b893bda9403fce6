"""One transaction: where it stands, what it spends and how that was unlocked, whom it pays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from consensus.asset import asset_id
from consensus.hashes import HASH_BYTES, AssetId, LockHash, Txid, from_text, to_text
from consensus.header_tree import HeaderNode
from consensus.tx import BURN_LOCK, Coin, Issue, OutPoint, Tx, TxOut, outpoint
from node.mempool_entry import Entry
from node.rpc.shapes import cost_of_tx, fee_of
from node.web.foreign import foreign_bytes
from node.web.labels import Labels, Worth, owner_of
from node.web.locks import Clause, clause_of
from node.web.pages import Elsewhere, NotFound, Page
from node.web.view_chain import rate_text
from node.web.visitor import Ask

PARTS_PER_PAGE = 100
"""Inputs, and outputs, that one page shows."""
PAGES_MAX = 2_000
_TXID = re.compile(r"[0-9a-fA-F]{64}")


class _Found(NamedTuple):
    """A transaction with all that is known of it."""

    tx: Tx
    coins: Sequence[Coin] | None
    """What it spends; None for a coinbase."""
    block: HeaderNode | None
    position: int
    entry: Entry | None


class InputRow(NamedTuple):
    """A coin that is spent."""

    place: int
    txid: str
    output: int
    worth: Worth
    owner: str
    clause: Clause


class OutputRow(NamedTuple):
    """A coin that is made."""

    place: int
    worth: Worth
    owner: str
    """Empty if what it holds is destroyed."""
    memo: Markup | None
    state: str
    """The key of a text: whether it is spent."""
    spender: str
    """The waiting transaction that spends it; else empty."""


class IssuanceRow(NamedTuple):
    """Units of an asset that come into being."""

    worth: Worth
    name: str
    """Of an asset that is new; else empty."""
    is_first: bool


def find_tx(ask: Ask, text: str) -> _Found | None:
    """A transaction of the mempool or the best chain."""
    if not _TXID.fullmatch(text):
        return None
    ledger = ask.node.ledger
    txid = Txid(from_text(text))
    entry = ledger.mempool.get(txid)
    if entry is not None:
        return _Found(entry.tx, entry.coins, None, 0, entry)
    found = ledger.read_tx(txid)
    if found is None:
        return None
    undo = ledger.read_undo(found.node) if found.position else None
    coins = undo[found.position - 1] if undo is not None else None
    return _Found(found.tx, coins, found.node, found.position, None)


async def transaction(ask: Ask) -> Page:
    """One transaction, with a page of its inputs and outputs."""
    text = ask.path["txid"]
    found = find_tx(ask, text)
    if found is None:
        raise NotFound("missing_tx" if ask.node.ledger.is_indexed else "missing_index")
    if text != text.lower():
        raise Elsewhere(f"/tx/{text.lower()}")
    ledger, tx = ask.node.ledger, found.tx
    labels = Labels(ask.node)
    labels.learn(tx.body)
    number = ask.number("page", PAGES_MAX) or 1
    pages = max(1, -(-max(len(tx.body.inputs), len(tx.body.outputs)) // PARTS_PER_PAGE))
    if number > pages:
        raise NotFound("missing_page")
    shown = slice(PARTS_PER_PAGE * (number - 1), PARTS_PER_PAGE * number)
    fee = fee_of(tx.body, found.coins) if found.coins is not None else None
    cost = cost_of_tx(tx)
    return Page(
        "tx",
        {
            "txid": to_text(tx.txid),
            "wtxid": to_text(tx.wtxid),
            "block": found.block.height if found.block else None,
            "block_hash": to_text(found.block.hash) if found.block else "",
            "time": found.block.header.time if found.block else int(_arrival(found)),
            "confirmations": ledger.tip.height - found.block.height + 1 if found.block else 0,
            "position": found.position,
            "is_coinbase": tx.is_coinbase,
            "fee": labels.native(fee) if fee is not None else None,
            "rate": rate_text(fee, cost) if fee is not None else "",
            "cost": cost,
            "size": len(tx.raw),
            "tx_version": tx.body.version,
            "expiry": 0 if tx.is_coinbase else tx.body.expiry,
            "inputs": _inputs(ask, found, labels, shown),
            "outputs": _outputs(ask, found, labels, shown),
            "inputs_total": len(tx.body.inputs),
            "outputs_total": len(tx.body.outputs),
            "issuances": _issuances(tx, labels),
            "page": number,
            "pages": pages,
        },
    )


def _arrival(found: _Found) -> float:
    assert found.entry is not None
    return found.entry.time


def _inputs(ask: Ask, found: _Found, labels: Labels, shown: slice) -> list[InputRow]:
    tx, coins = found.tx, found.coins
    if tx.is_coinbase or coins is None:
        return []
    rows: list[InputRow] = []
    for index in range(len(tx.body.inputs))[shown]:
        spent, coin = tx.body.inputs[index], coins[index]
        rows.append(
            InputRow(
                index, to_text(spent[:HASH_BYTES]), int.from_bytes(spent[HASH_BYTES:], "big"),
                labels.worth(coin.asset, coin.amount), owner_of(ask.node, coin.lock),
                clause_of(tx.witnesses[index]),
            )
        )  # fmt: skip
    return rows


def _outputs(ask: Ask, found: _Found, labels: Labels, shown: slice) -> list[OutputRow]:
    rows: list[OutputRow] = []
    outputs = found.tx.body.outputs
    for index in range(len(outputs))[shown]:
        output = outputs[index]
        state, spender = _state(ask, found, outpoint(found.tx.txid, index), output)
        rows.append(
            OutputRow(
                index, labels.worth(output.asset, output.amount), owner_of(ask.node, output.lock),
                foreign_bytes(output.memo) if output.memo else None, state, spender,
            )
        )  # fmt: skip
    return rows


def _state(ask: Ask, found: _Found, made: OutPoint, output: TxOut) -> tuple[str, str]:
    """The text that says whether an output is spent, and the waiting transaction that does so."""
    ledger = ask.node.ledger
    if output.lock == BURN_LOCK:
        return "output_destroyed", ""
    spender = ledger.mempool.spender(made)
    if spender is not None:
        return "output_being_spent", to_text(spender.tx.txid)
    if found.block is None:
        return "output_waiting", ""
    is_there = ledger.is_unspent(made, LockHash(output.lock))
    return ("output_unspent" if is_there else "output_spent"), ""


def _issuances(tx: Tx, labels: Labels) -> list[IssuanceRow]:
    rows: list[IssuanceRow] = []
    for issuance in tx.body.issuances:
        name = ""
        if isinstance(issuance, Issue):
            asset = asset_id(tx.body.inputs[issuance.input_index], issuance.definition)
            name = issuance.definition.name.decode("utf-8", "replace")
        else:
            asset = AssetId(issuance.asset)
        rows.append(IssuanceRow(labels.worth(asset, issuance.amount), name, bool(name)))
    return rows
