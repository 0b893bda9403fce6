"""Asking a node for every mined transaction that touched a wallet, whole, and for the times of blocks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from consensus.errors import DecodeError
from consensus.hashes import AssetId, Txid, to_text
from consensus.params import TX_BYTES_MAX
from consensus.tx import Tx, decode_tx
from wallet.answers import ChainInfo, Node, ask
from wallet.errors import NodeError
from wallet.scan import Event, Say
from wallet.statement import Entry, MinedTx

CALLS_AT_ONCE = 8
TIME_MAX = 2**32 - 1
A = TypeVar("A")
B = TypeVar("B")


class _TxAnswer(msgspec.Struct, frozen=True):
    """From getrawtransaction with verbosity 1."""

    hex: str
    blocktime: int = -1


class _HeaderAnswer(msgspec.Struct, frozen=True):
    """From getblockheader."""

    height: int
    time: int


async def mined_txs(node: Node, events: Iterable[Event], height: int, say: Say) -> list[MinedTx]:
    """The transactions of `events` in blocks up to `height`, as they were mined. Raises: NodeError."""
    placed: dict[Txid, tuple[int, int]] = {}
    for event in events:
        if event.height is not None and event.height <= height:
            placed[event.txid] = event.order
    in_order = sorted(placed, key=lambda txid: placed[txid])

    async def fetch(txid: Txid) -> MinedTx:
        answer = await ask(node, _TxAnswer, "getrawtransaction", to_text(txid), 1)
        return MinedTx(_tx(answer.hex, txid), placed[txid][0], _time(answer.blocktime))

    return await _each(fetch, in_order, "reading transactions", say)


async def block_times(node: Node, heights: Iterable[int], say: Say) -> dict[int, int]:
    """When the blocks at `heights` were made, seconds since 1970. Raises: NodeError."""
    wanted = sorted(set(heights))

    async def fetch(height: int) -> int:
        block = await ask(node, str, "getblockhash", height)
        header = await ask(node, _HeaderAnswer, "getblockheader", block)
        if header.height != height:
            raise NodeError("the node answered getblockheader with another block")
        return _time(header.time)

    times = await _each(fetch, wanted, "reading times of blocks", say)
    return dict(zip(wanted, times, strict=True))


async def check_same_chain(node: Node, info: ChainInfo) -> None:
    """Raises: NodeError if the block that was the tip at `info` is no more on the chain."""
    if await ask(node, str, "getblockhash", info.blocks) != info.bestblockhash:
        raise NodeError("the chain was reorganised while it was read; try again")


def check_whole(entries: Iterable[Entry], events: Iterable[Event], height: int) -> None:
    """See that the transactions tell the same as the node's own sums. Raises: NodeError."""
    ours: defaultdict[tuple[Txid, str], defaultdict[AssetId, int]] = defaultdict(
        lambda: defaultdict(int)
    )
    for entry in entries:
        for ((purse, _), asset), units in entry.postings.items():
            ours[entry.txid, purse.name][asset] += units
    for event in events:
        if event.height is None or event.height > height:
            continue
        found: Mapping[AssetId, int] = ours.pop((event.txid, event.name), {})
        if {asset: units for asset, units in found.items() if units} != event.changes:
            raise NodeError(f"the node's history of {to_text(event.txid)} does not add up")
    if ours:
        raise NodeError("the node's history leaves out what its transactions did")


async def _each(
    fetch: Callable[[A], Awaitable[B]], wanted: Sequence[A], what: str, say: Say
) -> list[B]:
    found: list[B] = []
    for start in range(0, len(wanted), CALLS_AT_ONCE):
        say(what, start, len(wanted))
        found += await asyncio.gather(*map(fetch, wanted[start : start + CALLS_AT_ONCE]))
    return found


def _tx(text: str, txid: Txid) -> Tx:
    try:
        tx = decode_tx(bytes.fromhex(text), TX_BYTES_MAX)
    except (ValueError, DecodeError):
        tx = None
    if tx is None or tx.txid != txid:
        raise NodeError("the node answered getrawtransaction with another transaction")
    return tx


def _time(seconds: int) -> int:
    if not 0 <= seconds <= TIME_MAX:
        raise NodeError("the node answered without the time of a block")
    return seconds
