"""Methods of a node: transactions. Written by `python -m scripts.make_client`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, overload

import msgspec

from wallet.rpc.caller import Caller


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the mempool would take a transaction."""

    reject_reason: str | None = msgspec.field(default=None, name="reject-reason")
    """The name of the rule."""
    reject_details: str | None = msgspec.field(default=None, name="reject-details")
    txid: str | None = None
    """Absent for what cannot be decoded."""
    wtxid: str | None = None
    allowed: bool
    vsize: int | None = None
    """The cost."""
    fees: AcceptedFees | None = None


class AcceptedFees(msgspec.Struct, frozen=True, kw_only=True):
    """Fees of a transaction that would be taken."""

    base: Decimal


class DecodedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction by itself."""

    txid: str
    hash: str
    """Of the transaction with its witnesses."""
    version: int
    size: int
    """Bytes."""
    vsize: int
    """The cost."""
    weight: int
    """Four times the cost."""
    locktime: int
    """Always 0."""
    expiry: int
    """The last height at which it may be mined; 0 for any."""
    vin: list[Input]
    vout: list[Output]
    issuances: list[Issuance] | None = None


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """An input of a transaction, or what a coinbase has in place of one."""

    coinbase: str | None = None
    """Of a coinbase only, without txid and vout."""
    txid: str | None = None
    vout: int | None = None
    scriptSig: ScriptSig | None = None
    lock: str | None = None
    """What it revealed, in words."""
    txinwitness: list[str] | None = None
    prevout: Prevout | None = None
    """Where the call asks for it."""
    sequence: int


class Issuance(msgspec.Struct, frozen=True, kw_only=True):
    """An asset that is issued for the first time, or more of one."""

    vin: int | None = None
    """The input whose outpoint makes the id."""
    amount: int
    asset: str | None = None
    authority: str | None = None
    ticker: str | None = None
    """This and what follows: of a first issue."""
    name: str | None = None
    decimals: int | None = None
    terms: str | None = None
    reissuable: bool | None = None


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """An output of a transaction."""

    value: Decimal
    """0 of another asset than the native coin."""
    asset: str | None = None
    """Absent for the native coin."""
    assetamount: int | None = None
    """Of the asset."""
    n: int
    scriptPubKey: Script
    memo: str | None = None


class Prevout(msgspec.Struct, frozen=True, kw_only=True):
    """The coin that an input spends."""

    value: Decimal
    """0 of another asset than the native coin."""
    asset: str | None = None
    """Absent for the native coin."""
    assetamount: int | None = None
    """Of the asset."""
    generated: bool
    """Whether it matures like one of a coinbase."""
    height: int
    scriptPubKey: Script


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A lock in the form of a script."""

    asm: str
    hex: str
    address: str | None = None
    """Absent for what is destroyed."""
    type: str
    """Lock, or burn of what is destroyed."""


class ScriptSig(msgspec.Struct, frozen=True, kw_only=True):
    """Always empty; clients look for it."""

    asm: str
    hex: str


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that is in a block or waits."""

    txid: str
    hash: str
    """Of the transaction with its witnesses."""
    version: int
    size: int
    """Bytes."""
    vsize: int
    """The cost."""
    weight: int
    """Four times the cost."""
    locktime: int
    """Always 0."""
    expiry: int
    """The last height at which it may be mined; 0 for any."""
    vin: list[Input]
    vout: list[Output]
    issuances: list[Issuance] | None = None
    hex: str
    fee: Decimal | None = None
    """Where the call asks for it; a coinbase has none."""
    in_active_chain: bool | None = None
    """Where the block was given."""
    blockhash: str | None = None
    """This and what follows: once it is mined."""
    confirmations: int | None = None
    time: int | None = None
    blocktime: int | None = None


class TransactionsMethods(Caller):
    """Methods of the category transactions."""

    @overload
    async def getrawtransaction(
        self, txid: str, verbosity: Literal[0] = 0, blockhash: str | None = None
    ) -> str: ...

    @overload
    async def getrawtransaction(
        self, txid: str, verbosity: Literal[1, 2], blockhash: str | None = None
    ) -> Transaction: ...

    async def getrawtransaction(
        self, txid: str, verbosity: int = 0, blockhash: str | None = None
    ) -> str | Transaction:
        """A transaction: with `verbosity` 0 in hex, with 1 as an object, with 2 with fee and prevouts.

        Looks into the mempool and the best chain, or with `blockhash` into that block. `confirmations`
        and `blockhash` are absent while it is not mined. `lock` of an input tells in words what it
        revealed; `weight` is four times the cost, and `vsize` the cost.
        """
        shapes: Mapping[int, Any] = {
            0: str,
            1: Transaction,
            2: Transaction,
        }
        found: str | Transaction = await self.ask_either(
            shapes, verbosity, "getrawtransaction", txid, verbosity, blockhash
        )
        return found

    async def decoderawtransaction(self, hexstring: str) -> DecodedTransaction:
        """A transaction in hex as an object, whether it is valid or not.

        `lock` of an input tells in words what it reveals.
        """
        found: DecodedTransaction = await self.ask(
            DecodedTransaction, "decoderawtransaction", hexstring
        )
        return found

    async def testmempoolaccept(
        self, rawtxs: Sequence[str], maxfeerate: Decimal | None = None
    ) -> list[Acceptance]:
        """Whether the mempool would take each of at most 25 transactions, each on its own.

        `reject-reason` is the name of the rule that refuses it, `reject-details` says more.
        `maxfeerate` is as for sendrawtransaction.
        """
        found: list[Acceptance] = await self.ask(
            list[Acceptance], "testmempoolaccept", rawtxs, maxfeerate
        )
        return found

    async def sendrawtransaction(self, hexstring: str, maxfeerate: Decimal | None = None) -> str:
        """Put a transaction into the mempool and tell the peers; answers the txid.

        `maxfeerate`, in native coins per 1 000 cost, guards against a fee that was not meant; 0 allows
        any. One that is in the mempool already is no error. A rule that refuses it is named first in
        the message: −25 if a coin is missing, −27 if it is mined already, −22 if it cannot be decoded,
        else −26.
        """
        found: str = await self.ask(str, "sendrawtransaction", hexstring, maxfeerate)
        return found

    async def gettxoutproof(self, txids: Sequence[str], blockhash: str | None = None) -> str:
        """A proof in hex that a transaction stands in a block; `txids` has one element.

        docs/protocol.md, "Inclusion proofs", says what it is made of. Without `blockhash` the block of
        the best chain is found by the index.
        """
        found: str = await self.ask(str, "gettxoutproof", txids, blockhash)
        return found

    async def verifytxoutproof(self, proof: str) -> list[str]:
        """The txid that a proof is of, in an array that is empty if it proves nothing.

        The block must be one of the best chain: −5 if it is not.
        """
        found: list[str] = await self.ask(list[str], "verifytxoutproof", proof)
        return found
