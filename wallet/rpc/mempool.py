"""Methods of a node: mempool. Written by `python -m scripts.make_client`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, overload

import msgspec

from wallet.rpc.caller import Caller


class EntryFees(msgspec.Struct, frozen=True, kw_only=True):
    """Fees of a waiting transaction, and with its relatives."""

    base: Decimal
    modified: Decimal
    ancestor: Decimal
    descendant: Decimal


class FeeEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What to pay."""

    feerate: Decimal
    """Per 1 000 cost."""
    blocks: int
    """The target that was answered for."""


class MempoolEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting transaction; sums over relatives include it."""

    bip125_replaceable: bool = msgspec.field(name="bip125-replaceable")
    vsize: int
    """The cost."""
    weight: int
    """Four times the cost."""
    time: int
    """When it came."""
    height: int
    """Of the next block when it came."""
    descendantcount: int
    descendantsize: int
    ancestorcount: int
    ancestorsize: int
    wtxid: str
    fees: EntryFees
    depends: list[str]
    """Waiting transactions whose coins it spends."""
    spentby: list[str]
    """Waiting transactions that spend its coins."""
    unbroadcast: bool


class MempoolInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits, and what it takes to get in."""

    loaded: bool
    size: int
    """Transactions."""
    bytes: int
    """The sum of costs."""
    usage: int
    """Bytes of memory, about."""
    total_fee: Decimal
    maxmempool: int
    """Bytes of memory at most."""
    mempoolminfee: Decimal
    """Least fee rate that gets in now, per 1 000 cost."""
    minrelaytxfee: Decimal
    """Least fee rate ever, per 1 000 cost."""
    incrementalrelayfee: Decimal
    """What a replacement pays more, per 1 000 cost."""
    unbroadcastcount: int
    fullrbf: bool
    """Whether what waits can be replaced by what pays more."""


class MempoolTxids(msgspec.Struct, frozen=True, kw_only=True):
    """The txids of what waits, and the number of the next change that ZeroMQ tells of."""

    txids: list[str]
    mempool_sequence: int


class MempoolMethods(Caller):
    """Methods of the category mempool."""

    async def getmempoolinfo(self) -> MempoolInfo:
        """How much waits, and the least fee rate that gets in (native coins per 1 000 cost).

        `bytes` is the sum of costs, `usage` an estimate of the memory taken.
        """
        found: MempoolInfo = await self.ask(MempoolInfo, "getmempoolinfo")
        return found

    @overload
    async def getrawmempool(
        self, verbose: Literal[False] = False, mempool_sequence: bool | None = None
    ) -> list[str] | MempoolTxids: ...

    @overload
    async def getrawmempool(
        self, verbose: Literal[True], mempool_sequence: bool | None = None
    ) -> dict[str, MempoolEntry]: ...

    async def getrawmempool(
        self, verbose: bool = False, mempool_sequence: bool | None = None
    ) -> list[str] | MempoolTxids | dict[str, MempoolEntry]:
        """Txids of everything that waits, in order of arrival; with `verbose` txid → description.

        `mempool_sequence` adds the number that the next message A or R of the ZeroMQ topic `sequence`
        will have, and cannot be combined with `verbose`.
        """
        shapes: Mapping[int, Any] = {
            False: list[str] | MempoolTxids,
            True: dict[str, MempoolEntry],
        }
        found: list[str] | MempoolTxids | dict[str, MempoolEntry] = await self.ask_either(
            shapes, verbose, "getrawmempool", verbose, mempool_sequence
        )
        return found

    async def getmempoolentry(self, txid: str) -> MempoolEntry:
        """A waiting transaction: cost, time, fees, and its unconfirmed relatives."""
        found: MempoolEntry = await self.ask(MempoolEntry, "getmempoolentry", txid)
        return found

    @overload
    async def getmempoolancestors(
        self, txid: str, verbose: Literal[False] = False
    ) -> list[str]: ...

    @overload
    async def getmempoolancestors(
        self, txid: str, verbose: Literal[True]
    ) -> dict[str, MempoolEntry]: ...

    async def getmempoolancestors(
        self, txid: str, verbose: bool = False
    ) -> list[str] | dict[str, MempoolEntry]:
        """What a waiting transaction builds on and is not mined either."""
        shapes: Mapping[int, Any] = {
            False: list[str],
            True: dict[str, MempoolEntry],
        }
        found: list[str] | dict[str, MempoolEntry] = await self.ask_either(
            shapes, verbose, "getmempoolancestors", txid, verbose
        )
        return found

    @overload
    async def getmempooldescendants(
        self, txid: str, verbose: Literal[False] = False
    ) -> list[str]: ...

    @overload
    async def getmempooldescendants(
        self, txid: str, verbose: Literal[True]
    ) -> dict[str, MempoolEntry]: ...

    async def getmempooldescendants(
        self, txid: str, verbose: bool = False
    ) -> list[str] | dict[str, MempoolEntry]:
        """The waiting transactions that build on a waiting transaction."""
        shapes: Mapping[int, Any] = {
            False: list[str],
            True: dict[str, MempoolEntry],
        }
        found: list[str] | dict[str, MempoolEntry] = await self.ask_either(
            shapes, verbose, "getmempooldescendants", txid, verbose
        )
        return found

    async def estimatesmartfee(
        self, conf_target: int, estimate_mode: str | None = None
    ) -> FeeEstimate:
        """The fee rate, in native coins per 1 000 cost, to be mined within `conf_target` blocks.

        It comes from what waits now and what was mined in the last two hours. `estimate_mode` is
        accepted and changes nothing; `blocks` is the target that was answered for.
        """
        found: FeeEstimate = await self.ask(
            FeeEstimate, "estimatesmartfee", conf_target, estimate_mode
        )
        return found
