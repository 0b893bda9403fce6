"""Shapes: what waits to be mined."""

from __future__ import annotations

from typing import Annotated, TypedDict

from node.rpc.described import Coins, Hash, Says, Seconds


class MempoolInfo(TypedDict):
    """How much waits, and what it takes to get in."""

    loaded: bool
    size: Annotated[int, Says("transactions")]
    bytes: Annotated[int, Says("the sum of costs")]
    usage: Annotated[int, Says("bytes of memory, about")]
    total_fee: Coins
    maxmempool: Annotated[int, Says("bytes of memory at most")]
    mempoolminfee: Annotated[Coins, Says("least fee rate that gets in now, per 1 000 cost")]
    minrelaytxfee: Annotated[Coins, Says("least fee rate ever, per 1 000 cost")]
    incrementalrelayfee: Annotated[Coins, Says("what a replacement pays more, per 1 000 cost")]
    unbroadcastcount: int
    fullrbf: Annotated[bool, Says("whether what waits can be replaced by what pays more")]


class EntryFees(TypedDict):
    """Fees of a waiting transaction, and with its relatives."""

    base: Coins
    modified: Coins
    ancestor: Coins
    descendant: Coins


Replaceable = TypedDict("Replaceable", {"bip125-replaceable": bool})


class MempoolEntry(Replaceable):
    """A waiting transaction; sums over relatives include it."""

    vsize: Annotated[int, Says("the cost")]
    weight: Annotated[int, Says("four times the cost")]
    time: Annotated[Seconds, Says("when it came")]
    height: Annotated[int, Says("of the next block when it came")]
    descendantcount: int
    descendantsize: int
    ancestorcount: int
    ancestorsize: int
    wtxid: Hash
    fees: EntryFees
    depends: Annotated[list[Hash], Says("waiting transactions whose coins it spends")]
    spentby: Annotated[list[Hash], Says("waiting transactions that spend its coins")]
    unbroadcast: bool


class MempoolTxids(TypedDict):
    """The txids of what waits, and the number of the next change that ZeroMQ tells of."""

    txids: list[Hash]
    mempool_sequence: int


class FeeEstimate(TypedDict):
    """What to pay."""

    feerate: Annotated[Coins, Says("per 1 000 cost")]
    blocks: Annotated[int, Says("the target that was answered for")]
