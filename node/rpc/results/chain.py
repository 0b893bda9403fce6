"""Shapes: blocks, their headers, and the coin set."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from node.rpc.described import AssetText, Coins, Hash, Says, Seconds, Units
from node.rpc.results.transactions import ShownScript, Transaction, Worth

Bits = Annotated[str, Says("the target in its short form, hex")]
Work = Annotated[Hash, Says("expected hashes of the whole chain to here, hex")]
TipStatus = Literal["active", "valid-fork", "valid-headers", "headers-only", "invalid"]
Difficulty = Annotated[float, Says("as a multiple of the least difficulty of Bitcoin")]


class BlockchainInfo(TypedDict):
    """The state of the chain."""

    chain: Annotated[
        Literal["main", "test", "regtest"], Says("the kind of network, as clients know it")
    ]
    network: Annotated[str, Says("the name of the network")]
    chainid: Annotated[Hash, Says("of the genesis block")]
    hrp: Annotated[str, Says("the prefix of addresses")]
    ticker: Annotated[str, Says("of the native coin")]
    blocks: Annotated[int, Says("height of the best chain")]
    headers: Annotated[int, Says("height of the best header; above `blocks` while the node syncs")]
    bestblockhash: Hash
    bits: Bits
    difficulty: Difficulty
    time: Annotated[Seconds, Says("of the last block")]
    mediantime: Seconds
    verificationprogress: Annotated[float, Says("from 0 to 1")]
    initialblockdownload: Annotated[bool, Says("whether the node is still syncing")]
    chainwork: Work
    pruned: bool
    warnings: str


class HeaderInfo(TypedDict):
    """A header."""

    hash: Hash
    confirmations: Annotated[int, Says("1 for the tip, −1 off the best chain")]
    height: int
    version: int
    versionHex: str
    merkleroot: Hash
    time: Seconds
    mediantime: Seconds
    nonce: int
    bits: Bits
    target: Hash
    difficulty: Difficulty
    chainwork: Work
    nTx: Annotated[int, Says("0 while the transactions are missing")]
    previousblockhash: NotRequired[Annotated[Hash, Says("absent for the genesis block")]]
    nextblockhash: NotRequired[Annotated[Hash, Says("absent at the tip and off the best chain")]]


class SizedHeader(HeaderInfo):
    """A block without its transactions."""

    size: Annotated[int, Says("bytes")]
    strippedsize: Annotated[int, Says("the same")]
    weight: Annotated[int, Says("four times the cost")]
    cost: int


class BlockInfo(SizedHeader):
    """A block with the ids of its transactions."""

    tx: list[Hash]


class FullBlockInfo(SizedHeader):
    """A block with its transactions."""

    tx: list[Transaction]


class ChainTip(TypedDict):
    """The end of a branch."""

    height: int
    hash: Hash
    branchlen: Annotated[int, Says("blocks since it left the best chain")]
    status: TipStatus


class BlockStats(TypedDict, total=False):
    """Sums over the transactions of a block; those that `stats` names, or all."""

    avgfee: Units
    avgfeerate: Units
    avgtxsize: int
    blockhash: Hash
    feerate_percentiles: Annotated[list[Units], Says("at 10, 25, 50, 75 and 90 percent")]
    height: int
    ins: int
    maxfee: Units
    maxfeerate: Units
    maxtxsize: int
    medianfee: Units
    mediantime: Seconds
    mediantxsize: int
    minfee: Units
    minfeerate: Units
    mintxsize: int
    outs: int
    subsidy: Units
    time: Seconds
    total_out: Annotated[Units, Says("without the coinbase")]
    total_size: int
    total_weight: int
    totalfee: Units
    txs: Annotated[int, Says("with the coinbase")]
    utxo_increase: int


class UnspentOutput(Worth):
    """A coin."""

    bestblock: Hash
    confirmations: Annotated[int, Says("0 while it waits in the mempool")]
    scriptPubKey: ShownScript
    coinbase: Annotated[bool, Says("whether it matures like one of a coinbase")]


class AssetSupply(TypedDict):
    """How much there is of an asset."""

    asset: AssetText
    supply: Units


class CoinSetInfo(TypedDict):
    """The whole coin set at a block."""

    height: int
    bestblock: Hash
    txouts: int
    coinset: Annotated[Hash, Says("hash of the coin set, not reversed")]
    hash_serialized_3: Annotated[Hash, Says("the same")]
    total_amount: Coins
    assets: Annotated[int, Says("how many besides the native coin")]
    supply: list[AssetSupply]


class IndexState(TypedDict):
    """An index."""

    synced: bool
    best_block_height: int
