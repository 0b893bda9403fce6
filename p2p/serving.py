"""The answers that are too large to be queued at once, one message at a time.

Each is made when the one before has gone, so that a peer that asks for much and reads slowly costs
one message of memory.

Source: docs/p2p.md, "getblocks, block" and "inv, gettxs, txs".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consensus.hashes import BlockHash, Wtxid
from p2p.messages import TXS_BYTES_MAX, BlockMessage, Message, NotFound, Txs
from p2p.ports import NodePort
from p2p.sync import is_on_chain

ARRAY_BYTES = 5
"""At most what MessagePack puts before the transactions of a message."""
LENGTH_BYTES = 5
"""At most what MessagePack puts before one transaction."""


def block_messages(node: NodePort, hashes: Sequence[BlockHash]) -> Iterator[Message]:
    """One answer for each of `hashes`.

    Only blocks of the best chain: any other may be invalid, and we would be blamed for it.
    """
    for block_hash in hashes:
        known = node.tree.get(block_hash)
        raw = None
        if known is not None and is_on_chain(known, node.tip):
            raw = node.read_block_raw(known)
        yield NotFound((block_hash,)) if raw is None else BlockMessage(raw)


def tx_messages(
    node: NodePort, wtxids: Sequence[Wtxid], refused: Sequence[Wtxid]
) -> Iterator[Message]:
    """Answers with `wtxids`, as many to a message as fit, then with what is not at hand."""
    missing: list[bytes] = list(refused)
    batch: list[bytes] = []
    size = ARRAY_BYTES
    for wtxid in wtxids:
        raw = node.tx_raw(wtxid)
        if raw is None:
            missing.append(wtxid)
            continue
        if size + len(raw) + LENGTH_BYTES > TXS_BYTES_MAX:
            yield Txs(tuple(batch))
            batch, size = [], ARRAY_BYTES
        batch.append(raw)
        size += len(raw) + LENGTH_BYTES
    if batch:
        yield Txs(tuple(batch))
    if missing:
        yield NotFound(tuple(missing))
