"""Methods of a node: chain. Written by `python -m scripts.make_client`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, overload

import msgspec

from wallet.rpc.caller import Caller
from wallet.rpc.transactions import Script, Transaction


class AssetSupply(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is of an asset."""

    asset: str
    supply: int


class BlockInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A block with the ids of its transactions."""

    hash: str
    confirmations: int
    """1 for the tip, −1 off the best chain."""
    height: int
    version: int
    versionHex: str
    merkleroot: str
    time: int
    mediantime: int
    nonce: int
    bits: str
    """The target in its short form, hex."""
    target: str
    difficulty: float
    """As a multiple of the least difficulty of Bitcoin."""
    chainwork: str
    """Expected hashes of the whole chain to here, hex."""
    nTx: int
    """0 while the transactions are missing."""
    previousblockhash: str | None = None
    """Absent for the genesis block."""
    nextblockhash: str | None = None
    """Absent at the tip and off the best chain."""
    size: int
    """Bytes."""
    strippedsize: int
    """The same."""
    weight: int
    """Four times the cost."""
    cost: int
    tx: list[str]


class BlockStats(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the transactions of a block; those that `stats` names, or all."""

    avgfee: int | None = None
    avgfeerate: int | None = None
    avgtxsize: int | None = None
    blockhash: str | None = None
    feerate_percentiles: list[int] | None = None
    """At 10, 25, 50, 75 and 90 percent."""
    height: int | None = None
    ins: int | None = None
    maxfee: int | None = None
    maxfeerate: int | None = None
    maxtxsize: int | None = None
    medianfee: int | None = None
    mediantime: int | None = None
    mediantxsize: int | None = None
    minfee: int | None = None
    minfeerate: int | None = None
    mintxsize: int | None = None
    outs: int | None = None
    subsidy: int | None = None
    time: int | None = None
    total_out: int | None = None
    """Without the coinbase."""
    total_size: int | None = None
    total_weight: int | None = None
    totalfee: int | None = None
    txs: int | None = None
    """With the coinbase."""
    utxo_increase: int | None = None


class BlockchainInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the chain."""

    chain: str
    """The kind of network, as clients know it."""
    network: str
    """The name of the network."""
    chainid: str
    """Of the genesis block."""
    hrp: str
    """The prefix of addresses."""
    ticker: str
    """Of the native coin."""
    blocks: int
    """Height of the best chain."""
    headers: int
    """Height of the best header; above `blocks` while the node syncs."""
    bestblockhash: str
    bits: str
    """The target in its short form, hex."""
    difficulty: float
    """As a multiple of the least difficulty of Bitcoin."""
    time: int
    """Of the last block."""
    mediantime: int
    verificationprogress: float
    """From 0 to 1."""
    initialblockdownload: bool
    """Whether the node is still syncing."""
    chainwork: str
    """Expected hashes of the whole chain to here, hex."""
    pruned: bool
    warnings: str


class ChainTip(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a branch."""

    height: int
    hash: str
    branchlen: int
    """Blocks since it left the best chain."""
    status: str


class CoinSetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The whole coin set at a block."""

    height: int
    bestblock: str
    txouts: int
    coinset: str
    """Hash of the coin set, not reversed."""
    hash_serialized_3: str
    """The same."""
    total_amount: Decimal
    assets: int
    """How many besides the native coin."""
    supply: list[AssetSupply]


class FullBlockInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A block with its transactions."""

    hash: str
    confirmations: int
    """1 for the tip, −1 off the best chain."""
    height: int
    version: int
    versionHex: str
    merkleroot: str
    time: int
    mediantime: int
    nonce: int
    bits: str
    """The target in its short form, hex."""
    target: str
    difficulty: float
    """As a multiple of the least difficulty of Bitcoin."""
    chainwork: str
    """Expected hashes of the whole chain to here, hex."""
    nTx: int
    """0 while the transactions are missing."""
    previousblockhash: str | None = None
    """Absent for the genesis block."""
    nextblockhash: str | None = None
    """Absent at the tip and off the best chain."""
    size: int
    """Bytes."""
    strippedsize: int
    """The same."""
    weight: int
    """Four times the cost."""
    cost: int
    tx: list[Transaction]


class HeaderInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A header."""

    hash: str
    confirmations: int
    """1 for the tip, −1 off the best chain."""
    height: int
    version: int
    versionHex: str
    merkleroot: str
    time: int
    mediantime: int
    nonce: int
    bits: str
    """The target in its short form, hex."""
    target: str
    difficulty: float
    """As a multiple of the least difficulty of Bitcoin."""
    chainwork: str
    """Expected hashes of the whole chain to here, hex."""
    nTx: int
    """0 while the transactions are missing."""
    previousblockhash: str | None = None
    """Absent for the genesis block."""
    nextblockhash: str | None = None
    """Absent at the tip and off the best chain."""


class IndexState(msgspec.Struct, frozen=True, kw_only=True):
    """An index."""

    synced: bool
    best_block_height: int


class UnspentOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A coin."""

    value: Decimal
    """0 of another asset than the native coin."""
    asset: str | None = None
    """Absent for the native coin."""
    assetamount: int | None = None
    """Of the asset."""
    bestblock: str
    confirmations: int
    """0 while it waits in the mempool."""
    scriptPubKey: Script
    coinbase: bool
    """Whether it matures like one of a coinbase."""


class ChainMethods(Caller):
    """Methods of the category chain."""

    async def getblockchaininfo(self) -> BlockchainInfo:
        """The state of the chain.

        `chain` is main, test or regtest; a private network is main to clients, or regtest if its
        difficulty is constant, and `network` has its name. `chainid` is the hash of its genesis block,
        `hrp` the prefix of its addresses.
        """
        found: BlockchainInfo = await self.ask(BlockchainInfo, "getblockchaininfo")
        return found

    async def getblockcount(self) -> int:
        """Height of the best chain; genesis is 0."""
        found: int = await self.ask(int, "getblockcount")
        return found

    async def getbestblockhash(self) -> str:
        """Hash of the last block of the best chain."""
        found: str = await self.ask(str, "getbestblockhash")
        return found

    async def getblockhash(self, height: int) -> str:
        """Hash of the block at `height` of the best chain."""
        found: str = await self.ask(str, "getblockhash", height)
        return found

    @overload
    async def getblockheader(self, blockhash: str, verbose: Literal[False]) -> str: ...

    @overload
    async def getblockheader(self, blockhash: str, verbose: Literal[True] = True) -> HeaderInfo: ...

    async def getblockheader(self, blockhash: str, verbose: bool = True) -> str | HeaderInfo:
        """A header as an object, or with `verbose` false its 80 bytes in hex.

        `confirmations` is −1 for a block off the best chain. `nTx` is 0 while its transactions are
        missing.
        """
        shapes: Mapping[int, Any] = {
            False: str,
            True: HeaderInfo,
        }
        found: str | HeaderInfo = await self.ask_either(
            shapes, verbose, "getblockheader", blockhash, verbose
        )
        return found

    @overload
    async def getblock(self, blockhash: str, verbosity: Literal[0]) -> str: ...

    @overload
    async def getblock(self, blockhash: str, verbosity: Literal[1] = 1) -> BlockInfo: ...

    @overload
    async def getblock(self, blockhash: str, verbosity: Literal[2]) -> FullBlockInfo: ...

    async def getblock(self, blockhash: str, verbosity: int = 1) -> str | BlockInfo | FullBlockInfo:
        """A block: with `verbosity` 0 in hex, with 1 its txids, with 2 its transactions.

        With 2, each transaction has its fee, and each input has the coin it spends as `prevout`.
        """
        shapes: Mapping[int, Any] = {
            0: str,
            1: BlockInfo,
            2: FullBlockInfo,
        }
        found: str | BlockInfo | FullBlockInfo = await self.ask_either(
            shapes, verbosity, "getblock", blockhash, verbosity
        )
        return found

    async def getblockstats(
        self, hash_or_height: int | str | None = None, stats: Sequence[str] | None = None
    ) -> BlockStats:
        """Sums over the transactions of a block of the best chain, given by hash or height.

        Amounts are in base units of the native coin, fee rates in base units per 1 000 cost. The
        coinbase counts in none of the fees and sizes. `stats` names those wanted; all without it.
        """
        found: BlockStats = await self.ask(BlockStats, "getblockstats", hash_or_height, stats)
        return found

    async def getchaintips(self) -> list[ChainTip]:
        """The ends of all known branches, most work first, at most 100.

        `status`: active (the best chain), valid-fork (was connected), valid-headers (complete, never
        connected), headers-only, invalid.
        """
        found: list[ChainTip] = await self.ask(list[ChainTip], "getchaintips")
        return found

    async def getdifficulty(self) -> float:
        """Difficulty of the last block, as a multiple of the least difficulty of Bitcoin."""
        found: float = await self.ask(float, "getdifficulty")
        return found

    async def gettxout(
        self, txid: str, n: int, include_mempool: bool | None = None
    ) -> UnspentOutput | None:
        """An unspent output, or null.

        With `include_mempool`, one that the mempool spends is gone and one that it makes is there, with
        0 confirmations. `coinbase` is true for every coin that matures like one of a coinbase.
        """
        found: UnspentOutput | None = await self.ask(
            UnspentOutput | None, "gettxout", txid, n, include_mempool
        )
        return found

    async def gettxoutsetinfo(self) -> CoinSetInfo:
        """The whole coin set: its height, hash, size and the supply of every asset.

        `coinset` is the same on every node at the same block. `supply` lists the base units in the
        coins of each asset, in the order of ids, at most 10 000; the empty id is the native coin. Reads
        every coin when it is first asked at a block, so it takes its time; one call at a time does.
        """
        found: CoinSetInfo = await self.ask(CoinSetInfo, "gettxoutsetinfo")
        return found

    async def getindexinfo(self, index_name: str | None = None) -> dict[str, IndexState]:
        """The indexes that this node keeps, and whether they are up to date."""
        found: dict[str, IndexState] = await self.ask(
            dict[str, IndexState], "getindexinfo", index_name
        )
        return found
