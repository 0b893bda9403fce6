"""Methods of a node: events. Written by `python -m scripts.make_client`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wallet.rpc.caller import Caller


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who acknowledges events."""

    consumer: str
    acknowledged: int
    """Of the newest event up to which all are dealt with."""
    behind: int
    """Events that are newer than that."""
    lost: bool
    """Whether some of them are not kept any more."""
    time: int
    """Of the last acknowledgement."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened; which members it has follows from its kind."""

    number: int
    kind: str
    time: int
    """When it was written down."""
    height: int | None = None
    """Of the block; not of what waits."""
    hash: str | None = None
    """Of the block that was connected or disconnected."""
    previousblockhash: str | None = None
    blocktime: int | None = None
    payments: int | None = None
    """Payments of the block that are told next."""
    reversals: int | None = None
    """Payments that are taken back next."""
    txid: str | None = None
    """This and what follows: of payments."""
    vout: int | None = None
    address: str | None = None
    label: str | None = None
    asset: str | None = None
    units: int | None = None
    memo: str | None = None
    blockhash: str | None = None
    """Where the payment stands, or stood."""
    coinbase: bool | None = None
    delayed: bool | None = None
    """Whether it matures like one of a coinbase."""
    past: bool | None = None
    """Whether it happened before the address was watched."""
    reverses: int | None = None
    """Number of the event that is taken back."""
    reason: str | None = None
    """Why it does not wait any more."""
    by: str | None = None
    """Txid of what took its place."""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events, oldest first."""

    log: str
    """Name of the log; under another, numbers mean other events."""
    events: list[Event]
    next: int
    """Ask with it as `after`, and acknowledge it."""
    last: int
    """Number of the newest event."""


class EventsInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The event log."""

    log: str
    """Name of the log; under another, numbers mean other events."""
    first: int
    """Number of the oldest event that is kept."""
    last: int
    """Number of the newest event."""
    height: int
    """Of the block at which the log stands."""
    hash: str
    watched: int
    """Addresses."""
    scanning: int
    """Addresses whose past is still looked through."""
    waiting: int
    """Transactions in the mempool that were told."""
    consumers: int
    webhooks: int


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """An address whose payments are told."""

    address: str
    label: str
    since: int
    """Height from which on they are."""
    scanning: bool
    """Whether its past is still looked through."""


class WatchedCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many addresses are watched."""

    count: int


class WatchedPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of addresses."""

    count: int
    """Of all of them."""
    addresses: list[Watched]
    cursor: str | None
    """Ask for the next page with it; null at the end."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that events are sent to."""

    webhook: str
    """Its name."""
    url: str
    kinds: list[str]
    """Of events that are sent; empty for all."""
    acknowledged: int
    """Of the newest event up to which all are dealt with."""
    behind: int
    """Events that are newer than that."""
    state: str
    failures: int
    """Tries since the last that was taken."""
    error: str | None
    """Of the last try."""
    time: int
    """Of the last try since the start; 0 for none."""
    created: int


class WebhookAdded(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is new."""

    webhook: str
    """Its name."""
    url: str
    secret: str
    """With which requests are signed; shown this once."""
    after: int
    """Events with a higher number are sent."""


class EventsMethods(Caller):
    """Methods of the category events."""

    async def watchaddress(
        self, address: str, label: str | None = None, height: int | None = None
    ) -> Watched:
        """Have payments to an address told as events, from now on or from `height` on.

        What the address was paid between `height` and the tip is told with `past` true, as fast as it
        is found in the index; `scanning` of `listwatched` is false when that is done. To watch an
        address again changes its label, if one is given, and may reach further back. What waits in the
        mempool is told too.
        """
        found: Watched = await self.ask(Watched, "watchaddress", address, label, height)
        return found

    async def watchaddresses(
        self, addresses: Sequence[str], label: str | None = None, height: int | None = None
    ) -> WatchedCount:
        """Like `watchaddress` for up to 1,000 at once, which takes no longer; says how many are watched
        now.
        """
        found: WatchedCount = await self.ask(
            WatchedCount, "watchaddresses", addresses, label, height
        )
        return found

    async def unwatchaddress(self, address: str) -> bool:
        """Tell no more payments to an address; false if it was not watched.

        What was told of it is still taken back when its block is disconnected or it leaves the mempool.
        """
        found: bool = await self.ask(bool, "unwatchaddress", address)
        return found

    async def listwatched(self, limit: int | None = None, cursor: str | None = None) -> WatchedPage:
        """Watched addresses in the order of their locks, `limit` at a time."""
        found: WatchedPage = await self.ask(WatchedPage, "listwatched", limit, cursor)
        return found

    async def getevents(
        self,
        after: int | None = None,
        limit: int | None = None,
        wait: int | None = None,
        kinds: Sequence[str] | None = None,
        consumer: str | None = None,
    ) -> EventPage:
        """Events with a number above `after`, oldest first, of all `kinds` or of those named.

        Without `after`, from where `consumer` has acknowledged; without both, from the oldest that is
        kept. −1 stands for the newest. If there is none yet, the answer waits up to `wait` seconds for
        it. Go on with `next` as `after`, and acknowledge it: of other kinds there may be events in
        between. `log` names the log: under another name numbers mean other events. `last` is the newest
        event. Error −32003 means that events behind `after` are not kept any more.
        """
        found: EventPage = await self.ask(
            EventPage, "getevents", after, limit, wait, kinds, consumer
        )
        return found

    async def geteventsinfo(self) -> EventsInfo:
        """The event log: its name, the numbers that it keeps, and the block at which it stands.

        Everything that happened before the call is on the disk when it is answered, and `last` includes
        it.
        """
        found: EventsInfo = await self.ask(EventsInfo, "geteventsinfo")
        return found

    async def ackevents(self, consumer: str, number: int) -> int:
        """Say that a consumer has dealt with all events up to `number`, and get the number that is known.

        It is written before the answer comes, and never goes back. A name that is new makes a consumer:
        from then on what it has not acknowledged is kept, for up to 90 days and 1,000,000 events.
        """
        found: int = await self.ask(int, "ackevents", consumer, number)
        return found

    async def listconsumers(self) -> list[Consumer]:
        """Consumers, and how far each has come; `lost` if some of what is behind that is not kept any
        more.
        """
        found: list[Consumer] = await self.ask(list[Consumer], "listconsumers")
        return found

    async def removeconsumer(self, consumer: str) -> bool:
        """Forget a consumer; false if there is none of that name. Nothing is kept for it any more."""
        found: bool = await self.ask(bool, "removeconsumer", consumer)
        return found

    async def addwebhook(self, url: str, kinds: Sequence[str] | None = None) -> WebhookAdded:
        """Have events sent to a URL from now on, of all `kinds` or of those named.

        The `secret` is shown this once: the receiver tells by it that a request comes from this node
        (docs/events.md). The node calls any http or https URL that it can reach, its own network
        included.
        """
        found: WebhookAdded = await self.ask(WebhookAdded, "addwebhook", url, kinds)
        return found

    async def removewebhook(self, webhook: str) -> bool:
        """Send nothing to a webhook any more; false if there is none of that name."""
        found: bool = await self.ask(bool, "removewebhook", webhook)
        return found

    async def listwebhooks(self) -> list[Webhook]:
        """Webhooks: what each was sent and took, and if the last try failed, `error` and since how many
        tries.

        `time` is that of the last try since the node started, 0 for none.
        """
        found: list[Webhook] = await self.ask(list[Webhook], "listwebhooks")
        return found
