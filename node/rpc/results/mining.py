"""Shapes: what is to be mined."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from node.rpc.described import Hash, Hex, Says, Seconds, Units
from node.rpc.results.chain import Bits, Difficulty


class MiningInfo(TypedDict):
    """The state of mining."""

    blocks: int
    bits: Bits
    difficulty: Difficulty
    networkhashps: Annotated[float, Says("hashes a second, from the last 120 blocks")]
    pooledtx: Annotated[int, Says("transactions that wait")]
    chain: str
    warnings: str


class CoinbaseTxn(TypedDict):
    """A whole coinbase; its last 8 bytes are free to choose."""

    data: Hex
    txid: Hash


class TemplateTransaction(TypedDict):
    """A transaction for the next block."""

    data: Hex
    txid: Hash
    hash: Annotated[Hash, Says("with its witnesses")]
    depends: Annotated[list[int], Says("places of those it builds on, counted from 1")]
    fee: Units
    cost: int
    weight: Annotated[int, Says("four times the cost")]


class BlockTemplate(TypedDict):
    """What the next block may hold."""

    capabilities: list[str]
    version: int
    rules: list[str]
    vbavailable: dict[str, int]
    vbrequired: int
    previousblockhash: Hash
    coinbaseaux: dict[str, str]
    coinbasevalue: Annotated[Units, Says("subsidy and fees")]
    othersroot: Annotated[Hash, Says("root of the other transactions, not reversed")]
    target: Hash
    mintime: Seconds
    mutable: list[str]
    noncerange: Hex
    sizelimit: Annotated[int, Says("bytes")]
    costlimit: int
    weightlimit: int
    curtime: Seconds
    bits: Bits
    height: int
    coinbasetxn: NotRequired[Annotated[CoinbaseTxn, Says("where the request has an address")]]
    transactions: list[TemplateTransaction]


class StratumWorker(TypedDict):
    """A user name of miners, on all its connections."""

    name: str
    address: Annotated[str, Says("who is paid")]
    agent: Annotated[str, Says("what the miner calls itself")]
    connections: int
    difficulty: float
    accepted: Annotated[int, Says("shares")]
    stale: int
    duplicate: int
    lowdifficulty: int
    invalid: int
    work: Annotated[float, Says("sum of the difficulties of its shares")]
    hashps: Annotated[float, Says("hashes a second, from the shares of the last minutes")]
    blocks: Annotated[int, Says("blocks that it found")]
    lastshare: Annotated[Seconds, Says("0: none yet")]


class StratumInfo(TypedDict):
    """Miners that this node gives work to."""

    listening: Annotated[str, Says("HOST:PORT; empty if it is off")]
    connections: int
    hashps: float
    workers: list[StratumWorker]
