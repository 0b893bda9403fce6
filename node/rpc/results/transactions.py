"""Shapes: transactions and what they are made of."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

import msgspec

from node.rpc.described import AddressText, Coins, Hash, Hex, Says, Seconds, Shown, Units


class Script(TypedDict):
    """A lock in the form of a script."""

    asm: str
    hex: Hex
    address: NotRequired[Annotated[AddressText, Says("absent for what is destroyed")]]
    type: Annotated[str, Says("lock, or burn of what is destroyed")]


class ScriptSig(TypedDict):
    """Always empty; clients look for it."""

    asm: str
    hex: Hex


ShownScript = Annotated[msgspec.Raw, Shown(Script)]


class Worth(TypedDict):
    """How much of what."""

    value: Annotated[Coins, Says("0 of another asset than the native coin")]
    asset: NotRequired[Annotated[Hash, Says("absent for the native coin")]]
    assetamount: NotRequired[Annotated[Units, Says("of the asset")]]


class Output(Worth):
    """An output of a transaction."""

    n: int
    scriptPubKey: ShownScript
    memo: NotRequired[Hex]


class Prevout(Worth):
    """The coin that an input spends."""

    generated: Annotated[bool, Says("whether it matures like one of a coinbase")]
    height: int
    scriptPubKey: ShownScript


class Input(TypedDict):
    """An input of a transaction, or what a coinbase has in place of one."""

    coinbase: NotRequired[Annotated[Hex, Says("of a coinbase only, without txid and vout")]]
    txid: NotRequired[Hash]
    vout: NotRequired[int]
    scriptSig: NotRequired[ScriptSig]
    lock: NotRequired[Annotated[str, Says("what it revealed, in words")]]
    txinwitness: NotRequired[list[Hex]]
    prevout: NotRequired[Annotated[Prevout, Says("where the call asks for it")]]
    sequence: int


class Issuance(TypedDict):
    """An asset that is issued for the first time, or more of one."""

    vin: NotRequired[Annotated[int, Says("the input whose outpoint makes the id")]]
    amount: Units
    asset: NotRequired[Hash]
    authority: NotRequired[Hash]
    ticker: NotRequired[Annotated[str, Says("this and what follows: of a first issue")]]
    name: NotRequired[str]
    decimals: NotRequired[int]
    terms: NotRequired[Hex]
    reissuable: NotRequired[bool]


class DecodedTransaction(TypedDict):
    """A transaction by itself."""

    txid: Hash
    hash: Annotated[Hash, Says("of the transaction with its witnesses")]
    version: int
    size: Annotated[int, Says("bytes")]
    vsize: Annotated[int, Says("the cost")]
    weight: Annotated[int, Says("four times the cost")]
    locktime: Annotated[int, Says("always 0")]
    expiry: Annotated[int, Says("the last height at which it may be mined; 0 for any")]
    vin: list[Input]
    vout: list[Output]
    issuances: NotRequired[list[Issuance]]


class Transaction(DecodedTransaction):
    """A transaction that is in a block or waits."""

    hex: Hex
    fee: NotRequired[Annotated[Coins, Says("where the call asks for it; a coinbase has none")]]
    in_active_chain: NotRequired[Annotated[bool, Says("where the block was given")]]
    blockhash: NotRequired[Annotated[Hash, Says("this and what follows: once it is mined")]]
    confirmations: NotRequired[int]
    time: NotRequired[Seconds]
    blocktime: NotRequired[Seconds]


class AcceptedFees(TypedDict):
    """Fees of a transaction that would be taken."""

    base: Coins


Reasons = TypedDict(
    "Reasons",
    {
        "reject-reason": NotRequired[Annotated[str, Says("the name of the rule")]],
        "reject-details": NotRequired[str],
    },
)


class Acceptance(Reasons):
    """Whether the mempool would take a transaction."""

    txid: NotRequired[Annotated[Hash, Says("absent for what cannot be decoded")]]
    wtxid: NotRequired[Hash]
    allowed: bool
    vsize: NotRequired[Annotated[int, Says("the cost")]]
    fees: NotRequired[AcceptedFees]
