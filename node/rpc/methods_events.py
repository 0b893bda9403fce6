"""Methods: the event log, who follows it, and where it is sent.

`units` are base units of an asset, whose id is empty for the native coin. An event is told when it lies on
the disk, and what was acknowledged is written before that is answered.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Annotated

import msgspec

from consensus.hashes import LockHash, to_text
from consensus.tx import BURN_LOCK
from node.eventlog import desk, layout
from node.eventlog.layout import KINDS, Kinds, Watch
from node.eventlog.log import LABEL_BYTES_MAX
from node.eventlog.service import Events
from node.rpc.errors import Code, RpcError
from node.rpc.params import PAGE, Bounds
from node.rpc.ports import Node
from node.rpc.results.events import (
    Consumer,
    EventPage,
    EventsInfo,
    Watched,
    WatchedCount,
    WatchedPage,
    Webhook,
    WebhookAdded,
)
from node.rpc.shapes import address_of

WAIT_S_MAX = 60
WAITING_MAX = 16
"""Calls of `getevents` that wait at once; one more is answered at once. Half of all calls that the server
works on at a time (`node.rpc.limits`), or those who wait would leave no place for others."""
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{desk.NAME_LENGTH_MAX}}}")


def _log_of(node: Node) -> Events:
    if node.events is None:
        raise RpcError(Code.MISC, "the event log is off: start the node with --events")
    return node.events


def _kinds_of(names: list[str] | None) -> Kinds:
    for name in names or ():
        if name not in KINDS:
            raise RpcError(Code.PARAMETER, f"`kinds` knows {', '.join(KINDS)}")
    return frozenset(KINDS[name] for name in names or ())


def _name_of(consumer: str) -> str:
    if not _NAME.fullmatch(consumer):
        raise RpcError(
            Code.PARAMETER,
            f"`consumer` must be 1 to {desk.NAME_LENGTH_MAX} of A-Z, a-z, 0-9 and . _ -",
        )
    return consumer


def _refused(refused: desk.Refused) -> RpcError:
    return RpcError(Code.PARAMETER, str(refused))


def _stopping() -> RpcError:
    return RpcError(Code.WARMING_UP, "stopping")


# Addresses


async def watchaddress(
    node: Node, address: LockHash, label: str | None = None, height: int | None = None
) -> Watched:
    """Have payments to an address told as events, from now on or from `height` on.

    What the address was paid between `height` and the tip is told with `past` true, as fast as it is found
    in the index; `scanning` of `listwatched` is false when that is done. To watch an address again changes
    its label, if one is given, and may reach further back. What waits in the mempool is told too.
    """
    events = _log_of(node)
    _watch(events, [address], label, height)
    await _settled(events)
    return _show_watch(node, address, events.log.watched[address])


async def watchaddresses(
    node: Node, addresses: list[LockHash], label: str | None = None, height: int | None = None
) -> WatchedCount:
    """Like `watchaddress` for up to 1,000 at once, which takes no longer; says how many are watched now."""
    events = _log_of(node)
    _watch(events, addresses, label, height)
    await _settled(events)
    return {"count": len(events.log.watched)}


def _watch(
    events: Events, addresses: list[LockHash], label: str | None, height: int | None
) -> None:  # fmt: skip
    """Raises: RpcError; with room for some only, those before are watched."""
    if BURN_LOCK in addresses:
        raise RpcError(Code.PARAMETER, "`address` destroys what it is paid")
    if label is not None and len(label.encode()) > LABEL_BYTES_MAX:
        raise RpcError(Code.PARAMETER, f"`label` has at most {LABEL_BYTES_MAX} bytes")
    if height is not None and height < 0:
        raise RpcError(Code.PARAMETER, "`height` must not be negative")
    try:
        for address in addresses:
            events.follower.watch(address, label, height)
    except desk.Refused as refused:
        raise _refused(refused) from None


async def _settled(events: Events) -> None:
    try:
        await events.desk.settled()
    except desk.Stopping:
        raise _stopping() from None


def _show_watch(node: Node, lock: LockHash, watch: Watch) -> Watched:
    return {
        "address": address_of(lock, node.ledger.params),
        "label": watch.label,
        "since": watch.since,
        "scanning": watch.end >= 0,
    }


async def unwatchaddress(node: Node, address: LockHash) -> bool:
    """Tell no more payments to an address; false if it was not watched.

    What was told of it is still taken back when its block is disconnected or it leaves the mempool.
    """
    events = _log_of(node)
    if address not in events.log.watched:
        return False
    events.log.put_watch(address, None)
    await _settled(events)
    return True


async def listwatched(
    node: Node, limit: Annotated[int, PAGE] = PAGE.high, cursor: bytes | None = None
) -> WatchedPage:
    """Watched addresses in the order of their locks, `limit` at a time."""
    events = _log_of(node)
    await _settled(events)
    found = events.log.journal.scan(layout.WATCH, layout.WATCH + (cursor or b""))
    locks = [LockHash(key[1:]) for key, _ in islice(found, limit)]
    return {
        "count": len(events.log.watched),
        "addresses": [
            _show_watch(node, lock, events.log.watched[lock])
            for lock in locks
            if lock in events.log.watched
        ],
        "cursor": locks[-1].hex() if len(locks) == limit else None,
    }


# Reading


async def getevents(
    node: Node, after: int | None = None, limit: Annotated[int, PAGE] = 100,
    wait: Annotated[int, Bounds(0, WAIT_S_MAX)] = 0, kinds: list[str] | None = None,
    consumer: str = "",
) -> EventPage:  # fmt: skip
    """Events with a number above `after`, oldest first, of all `kinds` or of those named.

    Without `after`, from where `consumer` has acknowledged; without both, from the oldest that is kept.
    −1 stands for the newest. If there is none yet, the answer waits up to `wait` seconds for it. Go on
    with `next` as `after`, and acknowledge it: of other kinds there may be events in between. `log` names the
    log: under another name numbers mean other events. `last` is the newest event. Error −32003 means
    that events behind `after` are not kept any more.
    """  # fmt: skip
    events = _log_of(node)
    wanted = _kinds_of(kinds)
    try:
        if after is None and consumer:
            after = events.desk.position(_name_of(consumer))
        elif after is None:
            after = events.log.first - 1
        elif after < 0:
            after = events.desk.written
        if wait == 0 or events.waiters >= WAITING_MAX:
            page = events.desk.read(after, limit, wanted)
        else:
            page = await events.wait(after, limit, wanted, wait)
    except desk.Refused as refused:
        raise _refused(refused) from None
    except desk.Stopping:
        raise _stopping() from None
    except desk.Lost as lost:
        raise RpcError(
            Code.EVENTS_LOST,
            f"lost from {lost.first} to {lost.last}: these events are not kept any more; compare what "
            f"you know with the node, then go on behind {lost.last}",
        ) from None
    return {
        "log": events.log.name,
        "events": [msgspec.Raw(event) for event in page.events],
        "next": page.next,
        "last": events.desk.written,
    }


async def geteventsinfo(node: Node) -> EventsInfo:
    """The event log: its name, the numbers that it keeps, and the block at which it stands.

    Everything that happened before the call is on the disk when it is answered, and `last` includes it.
    """
    events = _log_of(node)
    await _settled(events)
    return {
        "log": events.log.name,
        "first": events.log.first,
        "last": events.desk.written,
        "height": events.log.tip.height,
        "hash": to_text(events.log.tip.hash),
        "watched": len(events.log.watched),
        "scanning": len(events.log.scanning),
        "waiting": len(events.log.waiting),
        "consumers": len(events.desk.consumers),
        "webhooks": len(events.webhooks.rows),
    }


async def ackevents(node: Node, consumer: str, number: int) -> int:
    """Say that a consumer has dealt with all events up to `number`, and get the number that is known.

    It is written before the answer comes, and never goes back. A name that is new makes a consumer: from
    then on what it has not acknowledged is kept, for up to 90 days and 1,000,000 events.
    """
    events = _log_of(node)
    if number < 0:
        raise RpcError(Code.PARAMETER, "`number` must not be negative")
    try:
        return await events.desk.acknowledge(_name_of(consumer), number)
    except desk.Refused as refused:
        raise _refused(refused) from None
    except desk.Stopping:
        raise _stopping() from None


def listconsumers(node: Node) -> list[Consumer]:
    """Consumers, and how far each has come; `lost` if some of what is behind that is not kept any more."""
    events = _log_of(node)
    return [
        {
            "consumer": name,
            "acknowledged": row.acknowledged,
            "behind": events.desk.written - row.acknowledged,
            "lost": row.acknowledged + 1 < events.log.first,
            "time": row.at,
        }
        for name, row in sorted(events.desk.consumers.items())
    ]


async def removeconsumer(node: Node, consumer: str) -> bool:
    """Forget a consumer; false if there is none of that name. Nothing is kept for it any more."""
    try:
        return await _log_of(node).desk.remove(consumer)
    except desk.Stopping:
        raise _stopping() from None


# Webhooks


async def addwebhook(node: Node, url: str, kinds: list[str] | None = None) -> WebhookAdded:
    """Have events sent to a URL from now on, of all `kinds` or of those named.

    The `secret` is shown this once: the receiver tells by it that a request comes from this node
    (docs/events.md). The node calls any http or https URL that it can reach, its own network included.
    """
    events = _log_of(node)
    wanted = _kinds_of(kinds)
    try:
        name, row = await events.webhooks.add(url, wanted)
    except desk.Refused as refused:
        raise _refused(refused) from None
    except desk.Stopping:
        raise _stopping() from None
    return {"webhook": name, "url": row.url, "secret": row.secret, "after": row.acknowledged}


async def removewebhook(node: Node, webhook: str) -> bool:
    """Send nothing to a webhook any more; false if there is none of that name."""
    try:
        return await _log_of(node).webhooks.remove(webhook)
    except desk.Stopping:
        raise _stopping() from None


def listwebhooks(node: Node) -> list[Webhook]:
    """Webhooks: what each was sent and took, and if the last try failed, `error` and since how many tries.

    `time` is that of the last try since the node started, 0 for none.
    """
    events = _log_of(node)
    texts = {kind: text for text, kind in KINDS.items()}
    return [
        {
            "webhook": name,
            "url": row.url,
            "kinds": [texts[kind] for kind in sorted(KINDS.values()) if kind in row.kinds],
            "acknowledged": row.acknowledged,
            "behind": events.desk.written - row.acknowledged,
            "state": "failing" if events.webhooks.states[name].failures else "ok",
            "failures": events.webhooks.states[name].failures,
            "error": events.webhooks.states[name].error or None,
            "time": events.webhooks.states[name].at,
            "created": row.created,
        }
        for name, row in events.webhooks.rows.items()
    ]
