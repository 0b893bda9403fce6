"""Shapes: what an address holds, and what happened to it."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from node.rpc.described import AddressText, AssetText, Cursor, Hash, Hex, Says, Seconds, Units


class AddressCheck(TypedDict):
    """Whether a text is an address."""

    isvalid: bool
    error_locations: NotRequired[Annotated[list[int], Says("always empty; of what is none")]]
    error: NotRequired[Annotated[str, Says("of what is none: why not")]]
    address: NotRequired[AddressText]
    scriptPubKey: NotRequired[Hex]
    isscript: NotRequired[bool]
    iswitness: NotRequired[bool]
    witness_version: NotRequired[int]
    witness_program: NotRequired[Hash]
    lock: NotRequired[Annotated[Hash, Says("the hash of the lock, not reversed")]]


class AssetLabel(TypedDict):
    """What an asset is called, and where its decimal point stands."""

    asset: AssetText
    ticker: str
    decimals: int


class AssetBalance(AssetLabel):
    """What addresses hold of an asset."""

    balance: Units
    received: Units
    unconfirmed: Units


class AddressBalance(TypedDict):
    """What addresses hold, added up."""

    balance: Annotated[Units, Says("confirmed")]
    received: Units
    unconfirmed: Annotated[Units, Says("what the mempool adds, or takes away")]
    immature: Annotated[Units, Says("part of the balance that cannot be spent yet")]
    assets: list[AssetBalance]
    height: int
    bestblock: Hash


class Utxo(TypedDict):
    """A confirmed coin."""

    address: AddressText
    txid: Hash
    outputIndex: int
    script: Hex
    asset: AssetText
    satoshis: Units
    height: int
    delayed: Annotated[bool, Says("whether it matures like one of a coinbase")]
    mature_height: NotRequired[Annotated[int, Says("of delayed coins: when it can be spent")]]


class UtxoPage(TypedDict):
    """A page of coins."""

    utxos: list[Utxo]
    cursor: Cursor
    height: int
    hash: Annotated[Hash, Says("of the tip")]


class TxidPage(TypedDict):
    """A page of txids."""

    txids: list[Hash]
    cursor: Cursor


class Delta(TypedDict):
    """What a confirmed transaction did to an address and asset."""

    address: AddressText
    txid: Hash
    height: int
    blockindex: Annotated[int, Says("its place in the block")]
    asset: AssetText
    satoshis: Annotated[Units, Says("received less spent")]
    received: Units
    spent: Units


class DeltaPage(TypedDict):
    """A page of deltas."""

    deltas: list[Delta]
    cursor: Cursor


class Waiting(TypedDict):
    """An output of a waiting transaction to an address, or a coin of it that one spends."""

    address: AddressText
    txid: Hash
    index: Annotated[int, Says("of the output, or of the input")]
    asset: AssetText
    satoshis: Annotated[Units, Says("negative of what is spent")]
    timestamp: Annotated[Seconds, Says("when it came")]
    prevtxid: NotRequired[Annotated[Hash, Says("of what is spent: where it comes from")]]
    prevout: NotRequired[int]


class WaitingPage(TypedDict):
    """A page of what waits."""

    entries: list[Waiting]
    cursor: Cursor
