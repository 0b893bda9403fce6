"""Methods of a node: addresses. Written by `python -m scripts.make_client`."""

from __future__ import annotations

import msgspec

from wallet.rpc.caller import Addresses, Caller


class AddressBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What addresses hold, added up."""

    balance: int
    """Confirmed."""
    received: int
    unconfirmed: int
    """What the mempool adds, or takes away."""
    immature: int
    """Part of the balance that cannot be spent yet."""
    assets: list[AssetBalance]
    height: int
    bestblock: str


class AddressCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a text is an address."""

    isvalid: bool
    error_locations: list[int] | None = None
    """Always empty; of what is none."""
    error: str | None = None
    """Of what is none: why not."""
    address: str | None = None
    scriptPubKey: str | None = None
    isscript: bool | None = None
    iswitness: bool | None = None
    witness_version: int | None = None
    witness_program: str | None = None
    lock: str | None = None
    """The hash of the lock, not reversed."""


class AssetBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What addresses hold of an asset."""

    asset: str
    ticker: str
    decimals: int
    balance: int
    received: int
    unconfirmed: int


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """What a confirmed transaction did to an address and asset."""

    address: str
    txid: str
    height: int
    blockindex: int
    """Its place in the block."""
    asset: str
    satoshis: int
    """Received less spent."""
    received: int
    spent: int


class DeltaPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of deltas."""

    deltas: list[Delta]
    cursor: str | None
    """Ask for the next page with it; null at the end."""


class TxidPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of txids."""

    txids: list[str]
    cursor: str | None
    """Ask for the next page with it; null at the end."""


class Utxo(msgspec.Struct, frozen=True, kw_only=True):
    """A confirmed coin."""

    address: str
    txid: str
    outputIndex: int
    script: str
    asset: str
    satoshis: int
    height: int
    delayed: bool
    """Whether it matures like one of a coinbase."""
    mature_height: int | None = None
    """Of delayed coins: when it can be spent."""


class UtxoPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of coins."""

    utxos: list[Utxo]
    cursor: str | None
    """Ask for the next page with it; null at the end."""
    height: int
    hash: str
    """Of the tip."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An output of a waiting transaction to an address, or a coin of it that one spends."""

    address: str
    txid: str
    index: int
    """Of the output, or of the input."""
    asset: str
    satoshis: int
    """Negative of what is spent."""
    timestamp: int
    """When it came."""
    prevtxid: str | None = None
    """Of what is spent: where it comes from."""
    prevout: int | None = None


class WaitingPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what waits."""

    entries: list[Waiting]
    cursor: str | None
    """Ask for the next page with it; null at the end."""


class AddressesMethods(Caller):
    """Methods of the category addresses."""

    async def validateaddress(self, address: str) -> AddressCheck:
        """Whether a text is an address of this network, and the lock it stands for."""
        found: AddressCheck = await self.ask(AddressCheck, "validateaddress", address)
        return found

    async def getaddressbalance(self, addresses: Addresses) -> AddressBalance:
        """What addresses hold, added up.

        `balance` and `received` are confirmed base units of the native coin, `immature` the part of the
        balance that cannot be spent in the next block yet. `unconfirmed` is what the mempool adds, or
        takes away if negative. `assets` has the same for every other asset.
        """
        found: AddressBalance = await self.ask(AddressBalance, "getaddressbalance", addresses)
        return found

    async def getaddressutxos(
        self, addresses: Addresses, limit: int | None = None, cursor: str | None = None
    ) -> UtxoPage:
        """Confirmed coins of addresses, at most 1 000 at once, whether the mempool spends them or not.

        `delayed` coins mature like those of a coinbase: from height `mature_height` on.
        """
        found: UtxoPage = await self.ask(UtxoPage, "getaddressutxos", addresses, limit, cursor)
        return found

    async def getaddresstxids(
        self, addresses: Addresses, limit: int | None = None, cursor: str | None = None
    ) -> list[str] | TxidPage:
        """Txids of confirmed transactions that touch addresses, oldest first.

        Without `limit` and `cursor` a plain list of the first 1 000; with one of them an object with
        `txids` and `cursor`.
        """
        found: list[str] | TxidPage = await self.ask(
            list[str] | TxidPage, "getaddresstxids", addresses, limit, cursor
        )
        return found

    async def getaddressdeltas(
        self, addresses: Addresses, limit: int | None = None, cursor: str | None = None
    ) -> list[Delta] | DeltaPage:
        """What confirmed transactions did to addresses, oldest first.

        One entry for each transaction, address and asset: `satoshis` is received less spent. Without
        `limit` and `cursor` a plain list of the first 1 000; with one of them an object with `deltas`
        and `cursor`. A page ends with a whole transaction, so it may be a little longer than `limit`.
        """
        found: list[Delta] | DeltaPage = await self.ask(
            list[Delta] | DeltaPage, "getaddressdeltas", addresses, limit, cursor
        )
        return found

    async def getaddressmempool(
        self, addresses: Addresses, limit: int | None = None, cursor: str | None = None
    ) -> list[Waiting] | WaitingPage:
        """What waiting transactions do to addresses, in order of arrival.

        One entry for each output, and with negative `satoshis` for each coin that is spent, whose
        outpoint is `prevtxid` and `prevout`. Without `limit` and `cursor` a plain list of at most
        10 000; with one of them an object with `entries` and `cursor`.
        """
        found: list[Waiting] | WaitingPage = await self.ask(
            list[Waiting] | WaitingPage, "getaddressmempool", addresses, limit, cursor
        )
        return found
