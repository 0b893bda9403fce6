"""Methods: what waits to be mined, and what it takes to get in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

import msgspec

from consensus.hashes import Txid, to_text
from node.fees import TARGET_BLOCKS_MAX
from node.mempool_entry import Entry
from node.rpc.described import ByArgument, Hash
from node.rpc.errors import Code, RpcError
from node.rpc.json import amount, fragment
from node.rpc.params import Bounds
from node.rpc.ports import Node
from node.rpc.results.mempool import FeeEstimate, MempoolEntry, MempoolInfo, MempoolTxids
from node.rpc.shapes import WEIGHT_PER_COST

ENTRIES_SHOWN_MAX = 20_000
"""Entries that one answer describes; txids alone may be more."""
ENTRIES_PER_TURN = 100
"""Entries described before others get a turn: some 600 µs."""

ByTxid = dict[str, msgspec.Raw]
"""Descriptions that are written already."""
Relatives = list[str] | Coroutine[Any, Any, ByTxid]
TXIDS_OR_ENTRIES = ByArgument("verbose", {False: list[Hash], True: dict[str, MempoolEntry]})


def getmempoolinfo(node: Node) -> MempoolInfo:
    """How much waits, and the least fee rate that gets in (native coins per 1 000 cost).

    `bytes` is the sum of costs, `usage` an estimate of the memory taken.
    """
    mempool = node.ledger.mempool
    policy = mempool.policy
    return {
        "loaded": True,
        "size": len(mempool),
        "bytes": mempool.cost,
        "usage": mempool.size_bytes,
        "total_fee": amount(mempool.fees),
        "maxmempool": policy.size_bytes_max,
        "mempoolminfee": amount(mempool.floor_rate),
        "minrelaytxfee": amount(policy.min_fee_rate),
        "incrementalrelayfee": amount(policy.incremental_fee_rate),
        "unbroadcastcount": 0,
        "fullrbf": policy.replacement,
    }


def getrawmempool(
    node: Node, verbose: bool = False, mempool_sequence: bool = False
) -> Annotated[
    list[str] | Coroutine[Any, Any, ByTxid] | Coroutine[Any, Any, MempoolTxids],
    ByArgument("verbose", {False: list[Hash] | MempoolTxids, True: dict[str, MempoolEntry]}),
]:
    """Txids of everything that waits, in order of arrival; with `verbose` txid → description.

    `mempool_sequence` adds the number that the next message A or R of the ZeroMQ topic `sequence` will have,
    and cannot be combined with `verbose`.
    """
    mempool = node.ledger.mempool
    if verbose and mempool_sequence:
        raise RpcError(Code.PARAMETER, "`mempool_sequence` is for a list that is not verbose")
    if verbose:
        return _by_txid(node, list(mempool.entries()))
    if mempool_sequence:
        return _with_sequence(node)
    return [to_text(entry.tx.txid) for entry in mempool.entries()]


async def _with_sequence(node: Node) -> MempoolTxids:
    mempool = node.ledger.mempool
    await node.ledger.at_rest()  # what steps aside in a reorganisation is told to nobody
    txids = [to_text(entry.tx.txid) for entry in mempool.entries()]
    return {"txids": txids, "mempool_sequence": mempool.sequence}


def _find(node: Node, txid: Txid) -> Entry:
    entry = node.ledger.mempool.get(txid)
    if entry is None:
        raise RpcError(Code.ADDRESS_OR_KEY, "Transaction not in mempool")
    return entry


def show_entry(node: Node, entry: Entry) -> MempoolEntry:
    """A waiting transaction, with its sums over relatives (itself included)."""
    return {
        "vsize": entry.cost,
        "weight": WEIGHT_PER_COST * entry.cost,
        "time": int(entry.time),
        "height": entry.height,
        "descendantcount": entry.descendant_count,
        "descendantsize": entry.descendant_cost,
        "ancestorcount": entry.ancestor_count,
        "ancestorsize": entry.ancestor_cost,
        "wtxid": to_text(entry.tx.wtxid),
        "fees": {
            "base": amount(entry.fee),
            "modified": amount(entry.fee),
            "ancestor": amount(entry.ancestor_fee),
            "descendant": amount(entry.descendant_fee),
        },
        "depends": [to_text(parent.tx.txid) for parent in entry.parents],
        "spentby": [to_text(child.tx.txid) for child in entry.children],
        "bip125-replaceable": node.ledger.mempool.policy.replacement,
        "unbroadcast": False,
    }


async def _by_txid(node: Node, entries: list[Entry]) -> ByTxid:
    if len(entries) > ENTRIES_SHOWN_MAX:
        raise RpcError(
            Code.TOO_LARGE,
            f"{len(entries)} entries, at most {ENTRIES_SHOWN_MAX} are described at once",
        )
    shown: ByTxid = {}
    for number, entry in enumerate(entries, 1):
        shown[to_text(entry.tx.txid)] = fragment(show_entry(node, entry))
        if number % ENTRIES_PER_TURN == 0:
            await asyncio.sleep(0)
    return shown


def getmempoolentry(node: Node, txid: Txid) -> MempoolEntry:
    """A waiting transaction: cost, time, fees, and its unconfirmed relatives."""
    return show_entry(node, _find(node, txid))


def getmempoolancestors(
    node: Node, txid: Txid, verbose: bool = False
) -> Annotated[Relatives, TXIDS_OR_ENTRIES]:
    """What a waiting transaction builds on and is not mined either."""
    _find(node, txid)
    return _relatives(node, node.ledger.mempool.ancestors(txid), verbose)


def getmempooldescendants(
    node: Node, txid: Txid, verbose: bool = False
) -> Annotated[Relatives, TXIDS_OR_ENTRIES]:
    """The waiting transactions that build on a waiting transaction."""
    _find(node, txid)
    return _relatives(node, node.ledger.mempool.descendants(txid), verbose)


def _relatives(node: Node, entries: list[Entry], verbose: bool) -> Relatives:
    if verbose:
        return _by_txid(node, entries)
    return [to_text(entry.tx.txid) for entry in entries]


def estimatesmartfee(
    node: Node, conf_target: Annotated[int, Bounds(1, 1_008)], estimate_mode: str = ""
) -> FeeEstimate:
    """The fee rate, in native coins per 1 000 cost, to be mined within `conf_target` blocks.

    It comes from what waits now and what was mined in the last two hours. `estimate_mode` is
    accepted and changes nothing; `blocks` is the target that was answered for.
    """
    target = min(conf_target, TARGET_BLOCKS_MAX)
    rate = node.ledger.mempool.estimate_fee_rate(target)
    return {"feerate": amount(rate), "blocks": target}
