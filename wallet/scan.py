"""Asking a node what the wallet has: which addresses are used, which coins there are, what happened.

Amounts come from coins and mempool entries, so that every figure can be traced to an outpoint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from consensus.hashes import AssetId, LockHash, Txid, to_text
from consensus.params import COINBASE_MATURITY
from consensus.tx import Coin, Height, OutPoint
from consensus.tx_rules import is_delayed
from wallet.answers import (
    AddressBalance,
    ChainInfo,
    Delta,
    DeltaPage,
    MempoolEntry,
    MempoolPage,
    Node,
    Utxo,
    UtxoPage,
    ask,
    asset_of,
    bytes_of,
    outpoint_of,
)
from wallet.errors import NodeError
from wallet.keys import CHANGE, RECEIVE
from wallet.sign import Spendable
from wallet.tracked import GAP_LIMIT, Keyring, Kind, Place

ADDRESSES_PER_CALL = 100
PAGE_ENTRIES = 1_000
PAGES_MAX = 100_000


class Say(Protocol):
    """Told what is being done, how much of it is, and of how much if that is known."""

    def __call__(self, text: str, done: int = 0, total: int = 0, /) -> None: ...


class Held(msgspec.Struct, frozen=True):
    """A coin under a lock that the wallet asked about."""

    place: Place
    outpoint: OutPoint
    coin: Coin
    is_pending: bool
    """Made by a transaction that is not in a block yet."""
    is_trusted: bool
    """False: pending, and made by somebody else, who may still replace it."""
    is_leaving: bool
    """Spent by a transaction that is not in a block yet."""
    is_mature: bool

    @property
    def spendable(self) -> Spendable | None:
        """For building a transaction; None if it cannot be spent now."""
        if self.place.lock is None or self.is_leaving or not (self.is_mature and self.is_trusted):
            return None
        return Spendable(self.outpoint, self.coin, self.place.lock, self.is_pending)


class Balance(msgspec.Struct):
    """Base units of one asset."""

    confirmed: int = 0
    """In blocks and mature."""
    unconfirmed: int = 0
    """What the mempool adds, or takes away if negative."""
    immature: int = 0
    """In blocks, to be spent only when the coins are older."""


class Event(msgspec.Struct):
    """What one transaction did to the wallet's own coins, or to a shared or watched lock."""

    txid: Txid
    name: str
    """Of the shared or watched lock; empty for the wallet's own coins."""
    height: int | None
    """None: in the mempool."""
    order: tuple[int, int]
    changes: dict[AssetId, int]
    """Base units by asset; negative went out."""
    places: set[LockHash]
    """The locks it touched."""


async def discover(node: Node, keyring: Keyring, say: Say, gap: int = GAP_LIMIT) -> None:
    """Find the used addresses of both chains; stop after `gap` in a row that are not."""
    book = keyring.book
    for chain in (RECEIVE, CHANGE):
        start = book.used_index if chain == RECEIVE else book.next_index[chain]
        end = await _last_used(node, keyring, partial(keyring.own, chain), start, gap, say)
        book.advance(chain, end)
        if chain == RECEIVE:
            book.used_index = max(book.used_index, end)
    for position, entry in enumerate(book.accounts):
        ends = []
        for chain in (RECEIVE, CHANGE):
            place_at = partial(keyring.watched, position, chain)
            start = entry.next_index[chain]
            ends.append(await _last_used(node, keyring, place_at, start, gap, say))
        changed = msgspec.structs.replace(entry, next_index=(ends[0], ends[1]))
        book.accounts[position] = changed


async def _last_used(
    node: Node, keyring: Keyring, place_at: Callable[[int], Place], start: int, gap: int, say: Say
) -> int:
    """The index after the last used address, at least `start`."""
    end = start
    window = start
    while window < end + gap:
        say("looking for used addresses", window)
        indexes = range(window, window + gap)
        addresses = [keyring.address(place_at(index).lock_hash) for index in indexes]
        last = await _highest_used(node, addresses)
        if last is not None:
            end = window + last + 1
        window += gap
    return end


async def _highest_used(node: Node, addresses: Sequence[str]) -> int | None:
    """Position of the last address that was ever paid, by halving."""
    if not addresses:
        return None
    balance = await ask(node, AddressBalance, "getaddressbalance", {"addresses": addresses})
    if not balance.is_used:
        return None
    if len(addresses) == 1:
        return 0
    middle = len(addresses) // 2
    upper = await _highest_used(node, addresses[middle:])
    if upper is not None:
        return middle + upper
    return await _highest_used(node, addresses[:middle])


def _chunks(addresses: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(addresses), ADDRESSES_PER_CALL):
        yield addresses[start : start + ADDRESSES_PER_CALL]


async def _utxos(node: Node, addresses: Sequence[str], say: Say) -> list[Utxo]:
    found: list[Utxo] = []
    async for page in _pages(node, UtxoPage, "getaddressutxos", addresses):
        found += page.utxos
        say("asking for coins", len(found))
    return found


async def _mempool(node: Node, addresses: Sequence[str]) -> list[MempoolEntry]:
    found: list[MempoolEntry] = []
    async for page in _pages(node, MempoolPage, "getaddressmempool", addresses):
        found += page.entries
    return found


async def _deltas(node: Node, addresses: Sequence[str], say: Say) -> list[Delta]:
    found: list[Delta] = []
    async for page in _pages(node, DeltaPage, "getaddressdeltas", addresses):
        found += page.deltas
        say("asking for history", len(found))
    return found


class _Page(Protocol):
    @property
    def cursor(self) -> str | None: ...


P = TypeVar("P", bound=_Page)


async def _pages(
    node: Node, shape: type[P], method: str, addresses: Sequence[str]
) -> AsyncIterator[P]:
    """Every page of every chunk of addresses. Raises: NodeError."""
    for chunk in _chunks(addresses):
        query: dict[str, object] = {"addresses": chunk, "limit": PAGE_ENTRIES}
        for _ in range(PAGES_MAX):
            page = await ask(node, shape, method, query)
            yield page
            if page.cursor is None:
                break
            query = {**query, "cursor": page.cursor}
        else:
            raise NodeError(f"the node does not come to an end answering {method}")


def _by_address(keyring: Keyring, places: Iterable[Place]) -> dict[str, Place]:
    return {keyring.address(place.lock_hash): place for place in places}


def _place(by_address: dict[str, Place], address: str) -> Place:
    place = by_address.get(address)
    if place is None:
        raise NodeError("the node answered with an address that was not asked for")
    return place


async def holdings(
    node: Node, keyring: Keyring, places: Iterable[Place], info: ChainInfo, say: Say
) -> list[Held]:
    """Every coin under `places`, those that enter and leave by the mempool included."""
    by_address = _by_address(keyring, places)
    addresses = list(by_address)
    utxos = await _utxos(node, addresses, say)
    mempool = await _mempool(node, addresses)
    leaving = {
        outpoint_of(entry.prevtxid, entry.prevout) for entry in mempool if entry.satoshis < 0
    }
    held: dict[OutPoint, Held] = {}
    for utxo in utxos:
        place = _place(by_address, utxo.address)
        spot = outpoint_of(utxo.txid, utxo.outputIndex)
        coin = Coin(
            asset_of(utxo.asset), utxo.satoshis, place.lock_hash, Height(utxo.height), utxo.delayed
        )
        is_mature = not utxo.delayed or info.blocks + 1 - utxo.height >= COINBASE_MATURITY
        held[spot] = Held(place, spot, coin, False, True, spot in leaving, is_mature)
    sent = keyring.book.sent_by_id()
    for entry in mempool:
        spot = outpoint_of(entry.txid, entry.index)
        if entry.satoshis <= 0 or spot in held:
            continue
        place = _place(by_address, entry.address)
        own = sent.get(Txid(bytes_of(entry.txid)))
        height = Height(info.blocks + 1)
        delayed = own is not None and is_delayed(own.tx().body, height)
        coin = Coin(asset_of(entry.asset), entry.satoshis, place.lock_hash, height, delayed)
        held[spot] = Held(place, spot, coin, True, own is not None, spot in leaving, not delayed)
    return list(held.values())


def balances(held: Iterable[Held]) -> dict[AssetId, Balance]:
    """The balance of each asset, in the order in which the assets turn up."""
    totals: dict[AssetId, Balance] = {}
    for entry in held:
        balance = totals.setdefault(entry.coin.asset, Balance())
        amount = entry.coin.amount
        if entry.is_pending:
            balance.unconfirmed += 0 if entry.is_leaving else amount
        elif entry.is_mature:
            balance.confirmed += amount
            balance.unconfirmed -= amount if entry.is_leaving else 0
        else:
            balance.immature += amount
    return totals


async def events(node: Node, keyring: Keyring, places: Iterable[Place], say: Say) -> list[Event]:
    """What happened to `places`, newest first; what is in the mempool stands before all.

    A transaction between the wallet's own coins and a shared or watched lock is an event of each.
    """
    by_address = _by_address(keyring, places)
    addresses = list(by_address)
    found: dict[tuple[Txid, str], Event] = {}

    def note(entry: Delta | MempoolEntry, height: int | None, order: tuple[int, int]) -> None:
        txid, place = Txid(bytes_of(entry.txid)), _place(by_address, entry.address)
        event = found.setdefault(
            (txid, place.name), Event(txid, place.name, height, order, defaultdict(int), set())
        )
        event.places.add(place.lock_hash)
        event.changes[asset_of(entry.asset)] += entry.satoshis

    for delta in await _deltas(node, addresses, say):
        note(delta, delta.height, (delta.height, delta.blockindex))
    confirmed = {to_text(txid) for txid, _ in found}
    for entry in await _mempool(node, addresses):
        if entry.txid not in confirmed:  # else it was mined between the two questions
            note(entry, None, (2**32, entry.timestamp))
    for event in found.values():
        event.changes = {asset: amount for asset, amount in event.changes.items() if amount}
    return sorted(found.values(), key=lambda event: event.order, reverse=True)


class Incoming(msgspec.Struct, frozen=True):
    """What one transaction paid to one address, of one asset."""

    txid: Txid
    address: str
    asset: AssetId
    amount: int
    """Base units, above 0."""
    height: int | None
    """None: in the mempool."""


async def waiting_for(node: Node, addresses: Sequence[str]) -> list[Incoming]:
    """Every payment to `addresses` that is in the mempool."""
    sums: defaultdict[tuple[Txid, str, AssetId], int] = defaultdict(int)
    for entry in await _mempool(node, addresses):
        if entry.satoshis > 0:
            key = (Txid(bytes_of(entry.txid)), entry.address, asset_of(entry.asset))
            sums[key] += entry.satoshis
    return [Incoming(*key, amount, None) for key, amount in sums.items()]


async def mined_for(node: Node, addresses: Sequence[str], say: Say) -> list[Incoming]:
    """Every payment to `addresses` that is in a block, as they were mined."""
    return [
        Incoming(Txid(bytes_of(e.txid)), e.address, asset_of(e.asset), e.satoshis, e.height)
        for e in await _deltas(node, addresses, say)
        if e.satoshis > 0
    ]


def joined(waiting: Iterable[Incoming], mined: Sequence[Incoming]) -> list[Incoming]:
    """Both, once each: what was mined after it was seen to wait is mined."""
    known = {(entry.txid, entry.address, entry.asset) for entry in mined}
    fresh = [e for e in waiting if (e.txid, e.address, e.asset) not in known]
    return [*fresh, *mined]


async def incoming(node: Node, addresses: Sequence[str], say: Say) -> list[Incoming]:
    """Every payment to `addresses`, those in the mempool first, the others as they were mined."""
    # The mempool first: what is mined between the two questions is in both answers, not in neither.
    waiting = await waiting_for(node, addresses)
    return joined(waiting, await mined_for(node, addresses, say))


def spendables(held: Iterable[Held], kind: Kind, name: str = "") -> list[Spendable]:
    """The coins of one kind (and of one shared lock) that can be spent now."""
    return [
        spendable
        for entry in held
        if entry.place.kind is kind and entry.place.name == name and (spendable := entry.spendable)
    ]
