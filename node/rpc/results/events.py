"""Shapes: the event log, who follows it, and where it is sent."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

from node.rpc.described import AddressText, AssetText, Hash, Hex, Says, Seconds, Shown, Units

EventKind = Literal[
    "block_connected",
    "block_disconnected",
    "payment_seen",
    "payment_confirmed",
    "payment_reversed",
    "payment_dropped",
]
Number = Annotated[int, Says("of the newest event up to which all are dealt with")]
Behind = Annotated[int, Says("events that are newer than that")]


class Event(TypedDict):
    """Something that happened; which members it has follows from its kind."""

    number: int
    kind: EventKind
    time: Annotated[Seconds, Says("when it was written down")]
    height: NotRequired[Annotated[int, Says("of the block; not of what waits")]]
    hash: NotRequired[Annotated[Hash, Says("of the block that was connected or disconnected")]]
    previousblockhash: NotRequired[Hash]
    blocktime: NotRequired[Seconds]
    payments: NotRequired[Annotated[int, Says("payments of the block that are told next")]]
    reversals: NotRequired[Annotated[int, Says("payments that are taken back next")]]
    txid: NotRequired[Annotated[Hash, Says("this and what follows: of payments")]]
    vout: NotRequired[int]
    address: NotRequired[AddressText]
    label: NotRequired[str]
    asset: NotRequired[AssetText]
    units: NotRequired[Units]
    memo: NotRequired[Hex]
    blockhash: NotRequired[Annotated[Hash, Says("where the payment stands, or stood")]]
    coinbase: NotRequired[bool]
    delayed: NotRequired[Annotated[bool, Says("whether it matures like one of a coinbase")]]
    past: NotRequired[Annotated[bool, Says("whether it happened before the address was watched")]]
    reverses: NotRequired[Annotated[int, Says("number of the event that is taken back")]]
    reason: NotRequired[Annotated[str, Says("why it does not wait any more")]]
    by: NotRequired[Annotated[str | None, Says("txid of what took its place")]]


class EventPage(TypedDict):
    """Events, oldest first."""

    log: Annotated[str, Says("name of the log; under another, numbers mean other events")]
    events: list[Annotated[msgspec.Raw, Shown(Event)]]
    next: Annotated[int, Says("ask with it as `after`, and acknowledge it")]
    last: Annotated[int, Says("number of the newest event")]


class EventsInfo(TypedDict):
    """The event log."""

    log: Annotated[str, Says("name of the log; under another, numbers mean other events")]
    first: Annotated[int, Says("number of the oldest event that is kept")]
    last: Annotated[int, Says("number of the newest event")]
    height: Annotated[int, Says("of the block at which the log stands")]
    hash: Hash
    watched: Annotated[int, Says("addresses")]
    scanning: Annotated[int, Says("addresses whose past is still looked through")]
    waiting: Annotated[int, Says("transactions in the mempool that were told")]
    consumers: int
    webhooks: int


class Watched(TypedDict):
    """An address whose payments are told."""

    address: AddressText
    label: str
    since: Annotated[int, Says("height from which on they are")]
    scanning: Annotated[bool, Says("whether its past is still looked through")]


class WatchedPage(TypedDict):
    """A page of addresses."""

    count: Annotated[int, Says("of all of them")]
    addresses: list[Watched]
    cursor: Annotated[str | None, Says("ask for the next page with it; null at the end")]


class WatchedCount(TypedDict):
    """How many addresses are watched."""

    count: int


class Consumer(TypedDict):
    """Somebody who acknowledges events."""

    consumer: str
    acknowledged: Number
    behind: Behind
    lost: Annotated[bool, Says("whether some of them are not kept any more")]
    time: Annotated[Seconds, Says("of the last acknowledgement")]


class WebhookAdded(TypedDict):
    """A webhook that is new."""

    webhook: Annotated[str, Says("its name")]
    url: str
    secret: Annotated[str, Says("with which requests are signed; shown this once")]
    after: Annotated[int, Says("events with a higher number are sent")]


class Webhook(TypedDict):
    """A URL that events are sent to."""

    webhook: Annotated[str, Says("its name")]
    url: str
    kinds: Annotated[list[str], Says("of events that are sent; empty for all")]
    acknowledged: Number
    behind: Behind
    state: Literal["ok", "failing"]
    failures: Annotated[int, Says("tries since the last that was taken")]
    error: Annotated[str | None, Says("of the last try")]
    time: Annotated[Seconds, Says("of the last try since the start; 0 for none")]
    created: Seconds
