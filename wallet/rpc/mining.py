"""Methods of a node: mining. Written by `python -m scripts.make_client`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from wallet.rpc.caller import Caller


class BlockTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """What the next block may hold."""

    capabilities: list[str]
    version: int
    rules: list[str]
    vbavailable: dict[str, int]
    vbrequired: int
    previousblockhash: str
    coinbaseaux: dict[str, str]
    coinbasevalue: int
    """Subsidy and fees."""
    othersroot: str
    """Root of the other transactions, not reversed."""
    target: str
    mintime: int
    mutable: list[str]
    noncerange: str
    sizelimit: int
    """Bytes."""
    costlimit: int
    weightlimit: int
    curtime: int
    bits: str
    """The target in its short form, hex."""
    height: int
    coinbasetxn: CoinbaseTxn | None = None
    """Where the request has an address."""
    transactions: list[TemplateTransaction]


class CoinbaseTxn(msgspec.Struct, frozen=True, kw_only=True):
    """A whole coinbase; its last 8 bytes are free to choose."""

    data: str
    txid: str


class MiningInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The state of mining."""

    blocks: int
    bits: str
    """The target in its short form, hex."""
    difficulty: float
    """As a multiple of the least difficulty of Bitcoin."""
    networkhashps: float
    """Hashes a second, from the last 120 blocks."""
    pooledtx: int
    """Transactions that wait."""
    chain: str
    warnings: str


class StratumInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Miners that this node gives work to."""

    listening: str
    """HOST:PORT; empty if it is off."""
    connections: int
    hashps: float
    workers: list[StratumWorker]


class StratumWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A user name of miners, on all its connections."""

    name: str
    address: str
    """Who is paid."""
    agent: str
    """What the miner calls itself."""
    connections: int
    difficulty: float
    accepted: int
    """Shares."""
    stale: int
    duplicate: int
    lowdifficulty: int
    invalid: int
    work: float
    """Sum of the difficulties of its shares."""
    hashps: float
    """Hashes a second, from the shares of the last minutes."""
    blocks: int
    """Blocks that it found."""
    lastshare: int
    """0: none yet."""


class TemplateTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction for the next block."""

    data: str
    txid: str
    hash: str
    """With its witnesses."""
    depends: list[int]
    """Places of those it builds on, counted from 1."""
    fee: int
    cost: int
    weight: int
    """Four times the cost."""


class MiningMethods(Caller):
    """Methods of the category mining."""

    async def getmininginfo(self) -> MiningInfo:
        """Height, difficulty and estimated hash rate of the network, and how much waits."""
        found: MiningInfo = await self.ask(MiningInfo, "getmininginfo")
        return found

    async def getnetworkhashps(
        self, nblocks: int | None = None, height: int | None = None
    ) -> float:
        """Estimated hashes a second, from the work and the times of `nblocks` blocks.

        The last of them is at `height`, −1 for the tip. `nblocks` of 0 or −1 takes 120.
        """
        found: float = await self.ask(float, "getnetworkhashps", nblocks, height)
        return found

    async def getblocktemplate(
        self, template_request: Mapping[str, object] | None = None
    ) -> BlockTemplate:
        """What the next block may hold, for a program that mines (BIP22).

        A block is `[header, [coinbase, transactions…]]`, and the header's root is
        SHA256d(SHA256d(coinbase) + R), where R is `othersroot`: one Merkle branch of one step. With
        `address` in the request, `coinbasetxn` is a whole coinbase that pays `coinbasevalue` to it; its
        last 8 bytes are the extranonce, free to choose. `depends` counts transactions from 1. Limits
        are in cost, and `weight` is four times the cost.
        """
        found: BlockTemplate = await self.ask(BlockTemplate, "getblocktemplate", template_request)
        return found

    async def submitblock(self, hexdata: str, dummy: str | None = None) -> str | None:
        """Hand in a mined block; answers null, or the name of the rule that it breaks.

        `duplicate` and `duplicate-invalid` tell that the block was known. `dummy` is ignored.
        """
        found: str | None = await self.ask(str | None, "submitblock", hexdata, dummy)
        return found

    async def getstratuminfo(self) -> StratumInfo:
        """The miners that this node gives work to over Stratum, and what each has done.

        A worker is a user name on all its connections. `work` sums the difficulties of its shares, and
        `hashps` is estimated from those of the last minutes.
        """
        found: StratumInfo = await self.ask(StratumInfo, "getstratuminfo")
        return found

    async def generatetoaddress(self, nblocks: int, address: str) -> list[str]:
        """Mine blocks to an address at once and answer their hashes.

        Only where the difficulty is constant (regtest): elsewhere it would take hours.
        """
        found: list[str] = await self.ask(list[str], "generatetoaddress", nblocks, address)
        return found
