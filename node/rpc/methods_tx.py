"""Methods: transactions, in the chain, in the mempool, and on their way in."""

from __future__ import annotations

from typing import Annotated

from consensus.errors import Rule, Violation
from consensus.hashes import BlockHash, Txid, to_text
from consensus.params import TX_BYTES_MAX
from consensus.tx import Coin, Tx, decode_tx
from node.later import Later
from node.ledger import ConfirmedTx
from node.mempool_entry import Entry
from node.rpc.described import ByArgument, Hash, Hex, Shown
from node.rpc.errors import Code, RpcError
from node.rpc.json import amount
from node.rpc.methods_chain import find_node, read_raw, read_txs
from node.rpc.params import Also, Amount, Verbosity
from node.rpc.ports import Node
from node.rpc.results.transactions import Acceptance, DecodedTransaction, Transaction
from node.rpc.shapes import confirmations, show_decoded, show_tx

TESTED_MAX = 25
FEE_RATE_MAX = Amount(10_000_000)
"""Dearer than this is taken for a mistake: 0.1 native coins per 1 000 cost."""


async def getrawtransaction(
    node: Node, txid: Txid, verbosity: Annotated[Verbosity, Also("verbose")] = Verbosity.HEX,
    blockhash: BlockHash | None = None,
) -> Annotated[
    Transaction | str, ByArgument("verbosity", {0: Hex, 1: Transaction, 2: Transaction})
]:  # fmt: skip
    """A transaction: with `verbosity` 0 in hex, with 1 as an object, with 2 with fee and prevouts.

    Looks into the mempool and the best chain, or with `blockhash` into that block. `confirmations`
    and `blockhash` are absent while it is not mined. `lock` of an input tells in words what it
    revealed; `weight` is four times the cost, and `vsize` the cost.
    """
    if blockhash is not None:
        return await _from_block(node, txid, verbosity, blockhash)
    entry = node.ledger.mempool.get(txid)
    if entry is not None:
        if verbosity is Verbosity.HEX:
            return entry.tx.raw.hex()
        coins = entry.coins if verbosity is Verbosity.FULL else None
        return show_tx(entry.tx, node.ledger.params, coins)
    found = node.ledger.read_tx(txid)
    if found is None:
        hint = "" if node.ledger.is_indexed else "; without an index, give `blockhash`"
        raise RpcError(Code.ADDRESS_OR_KEY, f"No such mempool or confirmed transaction{hint}")
    if verbosity is Verbosity.HEX:
        return found.tx.raw.hex()
    return _show_confirmed(node, found, verbosity)


def _show_confirmed(node: Node, found: ConfirmedTx, verbosity: Verbosity) -> Transaction:
    coins: tuple[Coin, ...] | None = None
    if verbosity is Verbosity.FULL and found.position > 0:
        undo = node.ledger.read_undo(found.node)
        coins = undo[found.position - 1] if undo is not None else None
    time = found.node.header.time
    return {
        **show_tx(found.tx, node.ledger.params, coins),
        "blockhash": to_text(found.node.hash),
        "confirmations": max(0, confirmations(node.ledger, found.node)),
        "time": time,
        "blocktime": time,
    }


async def _from_block(
    node: Node, txid: Txid, verbosity: Verbosity, block_hash: BlockHash
) -> Transaction | str:
    at = find_node(node, block_hash)
    indexed = node.ledger.read_tx(txid) if node.ledger.is_indexed else None
    if indexed is not None and indexed.node is at:
        if verbosity is Verbosity.HEX:
            return indexed.tx.raw.hex()
        return {**_show_confirmed(node, indexed, verbosity), "in_active_chain": True}
    # Off the best chain, or without an index, it has to be looked for.
    position = 0
    async for tx in read_txs(read_raw(node, at)):
        if tx.txid == txid:
            if verbosity is Verbosity.HEX:
                return tx.raw.hex()
            shown = _show_confirmed(node, ConfirmedTx(tx, at, position), verbosity)
            return {**shown, "in_active_chain": node.ledger.is_on_best_chain(at)}
        position += 1
    raise RpcError(Code.ADDRESS_OR_KEY, "No such transaction found in the provided block")


def decoderawtransaction(node: Node, hexstring: bytes) -> DecodedTransaction:
    """A transaction in hex as an object, whether it is valid or not.

    `lock` of an input tells in words what it reveals.
    """
    return show_decoded(decode_tx(hexstring, TX_BYTES_MAX), node.ledger.params)


def sendrawtransaction(
    node: Node, hexstring: bytes, maxfeerate: Amount = FEE_RATE_MAX
) -> Annotated[str | Later, Shown(Hash)]:
    """Put a transaction into the mempool and tell the peers; answers the txid.

    `maxfeerate`, in native coins per 1 000 cost, guards against a fee that was not meant; 0 allows
    any. One that is in the mempool already is no error. A rule that refuses it is named first in
    the message: −25 if a coin is missing, −27 if it is mined already, −22 if it cannot be decoded,
    else −26.
    """

    def show(entered: Entry | Exception) -> str | Exception:
        if isinstance(entered, Entry):
            return to_text(entered.tx.txid)
        if isinstance(entered, Violation) and entered.rule is Rule.ALREADY_IN_MEMPOOL:
            return to_text(decode_tx(hexstring, TX_BYTES_MAX).txid)
        return entered

    try:
        submitted = node.ledger.submissions.submit(hexstring, maxfeerate or None)
    except Violation as violation:
        shown = show(violation)
        if isinstance(shown, Exception):
            raise
        return shown
    return submitted.then(show) if isinstance(submitted, Later) else to_text(submitted.tx.txid)


def try_mempool(
    node: Node, rawtxs: list[bytes], maxfeerate: Amount = FEE_RATE_MAX
) -> list[Acceptance]:
    """Whether the mempool would take each of at most 25 transactions, each on its own.

    `reject-reason` is the name of the rule that refuses it, `reject-details` says more. `maxfeerate`
    is as for sendrawtransaction.
    """
    if not 1 <= len(rawtxs) <= TESTED_MAX:
        raise RpcError(Code.PARAMETER, f"`rawtxs` must have 1 to {TESTED_MAX} elements")
    return [_try(node, raw, maxfeerate or None) for raw in rawtxs]


def _try(node: Node, raw: bytes, fee_rate_max: int | None) -> Acceptance:
    shown: Acceptance = {"allowed": False}
    try:
        tx: Tx = decode_tx(raw, TX_BYTES_MAX)
        shown["txid"], shown["wtxid"] = to_text(tx.txid), to_text(tx.wtxid)
        entry: Entry = node.ledger.mempool.test_tx(tx, fee_rate_max=fee_rate_max)
    except Violation as violation:
        shown["reject-reason"] = str(violation.rule)
        shown["reject-details"] = str(violation)
        return shown
    return {**shown, "allowed": True, "vsize": entry.cost, "fees": {"base": amount(entry.fee)}}
