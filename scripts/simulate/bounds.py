"""What the network of a node must never hold more of, or keep of peers that have gone.

Everything that is kept for each peer is named here, with the limit that the node itself names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sized

from p2p import addrbook, blockrelay, download, link, messages, orphans, presync, relay
from p2p.addrbook import AddressBook
from p2p.hub import DEFERRED_MAX, Hub
from p2p.link import Link
from p2p.router import Router

UNANSWERED_MAX = 8
"""Requests for headers to one peer: a late answer to each may still come."""


def broken_bounds(hub: Hub) -> Iterator[str]:
    """Every limit that does not hold now, in words."""
    links, router = hub._connections.links, hub._router
    ready = {peer for peer, at in links.items() if at.ready_at is not None}
    yield from _connections(hub)
    for peer in links.values():
        yield from _queue(peer, hub._config.send_queue_bytes_max)
    yield from _over("changes of the ledger that wait", hub._deferred, DEFERRED_MAX)
    yield from _leftovers(router, ready)
    yield from _transactions(router.txs)
    yield from _blocks(router)
    for chain in router.headers.chains.values():
        yield from _over("headers asked for", chain.unanswered, UNANSWERED_MAX)
        if chain.presync is not None:
            checkpoints = chain.presync._checkpoints
            yield from _over("checkpoints", checkpoints, presync.CHECKPOINTS_MAX)
    yield from _addresses(hub._book)


def _over(what: str, held: Sized | int, most: int) -> Iterator[str]:
    count = held if isinstance(held, int) else len(held)
    if count > most:
        yield f"{what}: {count}, at most {most}"


def _connections(hub: Hub) -> Iterator[str]:
    config, links = hub._config, hub._connections.links.values()
    inbound = [at for at in links if at.peer.is_inbound]
    yield from _over("inbound connections", inbound, config.inbound_max)
    hosts = Counter(at.peer.endpoint.host for at in inbound)
    yield from _over(
        "connections of a host", max(hosts.values(), default=0), config.per_address_max
    )
    beginners = [at for at in inbound if not at.is_ready]
    yield from _over("connections without a hello", beginners, config.handshaking_max)
    dialled = hub._connections.dialer._automatic
    yield from _over("connections from the book", dialled, config.outbound_target)


def _queue(peer: Link, bytes_max: int) -> Iterator[str]:
    """What waits to be sent: frames, and answers that are made when their turn comes."""
    yield from _over("bytes to send to a peer", peer.queued_bytes, bytes_max)
    yield from _over("blocks asked for", peer._blocks_asked, link.BLOCKS_ASKED_MAX)
    yield from _over("transactions asked for", peer._txs_asked, link.TXS_ASKED_MAX)
    frames = [item for item in peer._queue if isinstance(item, bytes)]
    if sum(map(len, frames)) != peer.queued_bytes:
        yield "the size of a send queue is not that of what is in it"
    answers = link.BLOCKS_ASKED_MAX + link.TXS_ASKED_MAX
    yield from _over("answers to send to a peer", len(peer._queue) - len(frames), answers)


def _leftovers(router: Router, ready: Collection[int]) -> Iterator[str]:
    """Nothing is kept of peers that have gone."""
    blocks, txs = router.blocks, router.txs
    kept: dict[str, Collection[int]] = {
        "the chains of headers": router.headers.chains,
        "the suppliers of blocks": router.download._suppliers,
        "the announcements of blocks": router.announcer._peers,
        "the compact blocks": blocks._peers,
        "those chosen for compact blocks": blocks._chosen,
        "compact blocks that come": {peer for _, peer in blocks._attempts},
        "the transactions known": txs._peers,
        "transactions being submitted": set(txs._submitting.values()),
        "transactions under way": {want.peer for want in txs._wants.values()},
        "blocks under way": {asked.peer for asked in router.download._requests.values()},
    }
    for what, peers in kept.items():
        if not set(peers) <= set(ready):
            yield f"{what} are kept of peers that have gone"


def _transactions(txs: relay.TxRelay) -> Iterator[str]:
    yield from _over("orphans", txs.orphans, orphans.ORPHANS_MAX)
    indexed = {wtxid for waiting in txs.orphans._by_parent.values() for wtxid in waiting}
    if indexed != set(txs.orphans._orphans):
        yield "the orphans by their parents are not the orphans"
    yield from _over("transactions announced lately", txs._recent, relay.RECENT_MAX)
    yield from _over("transactions wanted", txs._wants, relay.IN_FLIGHT_MAX * len(txs._peers))
    submitted_max = 2 * relay.IN_FLIGHT_MAX * len(txs._peers)  # what is under way, and what is late
    yield from _over("transactions being submitted", txs._submitting, submitted_max)
    for want in txs._wants.values():
        yield from _over("others who have a transaction", want.others, relay.OTHERS_MAX)
    for peer in txs._peers.values():
        yield from _over("transactions that a peer knows", peer.known, relay.KNOWN_MAX)
        yield from _over("transactions to announce", peer.to_announce, relay.QUEUE_MAX)
        yield from _over("transactions to ask for", peer.to_ask, relay.QUEUE_MAX)
        yield from _over("transactions asked of a peer", peer.in_flight, relay.IN_FLIGHT_MAX)
        yield from _over("transactions that are late", peer.late, relay.IN_FLIGHT_MAX)


def _blocks(router: Router) -> Iterator[str]:
    blocks = router.blocks
    yield from _over("peers chosen", blocks._chosen, blockrelay.CHOSEN_MAX)
    yield from _over("blocks being put together", blocks._attempts, blockrelay.ATTEMPTS_MAX)
    yield from _over("blocks handed out in parts", blocks._served, blockrelay.SERVED_MAX)
    yield from _over("blocks held back", blocks._held_until, blockrelay.ATTEMPTS_MAX)
    if not router.download.held <= {block_hash for block_hash, _ in blocks._attempts}:
        yield "blocks are held back that nobody puts together"
    yield from _over("senders of blocks", router.download._sources, download.SOURCES_MAX)
    for state in blocks._peers.values():
        yield from _over("blocks of which a peer got parts", state.served, blockrelay.LATE_MAX)
        yield from _over("parts of blocks that are late", state.late, blockrelay.LATE_MAX)
    for supplier in router.download._suppliers.values():
        yield from _over("blocks asked of a peer", supplier.in_flight, messages.GETBLOCKS_MAX)
        yield from _over("blocks that are late", supplier.late, download.LATE_MAX)
        yield from _over("blocks that a peer lacks", supplier.lacks, download.LATE_MAX)
        yield from _over("blocks to ask of a peer", supplier.plan, 2 * download.WINDOW_HEIGHTS)


def _addresses(book: AddressBook) -> Iterator[str]:
    tried = sum(entry.tried for entry in book._entries.values())
    yield from _over("addresses heard of", len(book._entries) - tried, addrbook.NEW_MAX)
    yield from _over("addresses tried", tried, addrbook.TRIED_MAX)
    yield from _over("addresses to be felt for", book._challenges, addrbook.CHALLENGES_MAX)
    yield from _over("addresses discouraged", book._discouraged, addrbook.DISCOURAGED_MAX)
    entries = book._entries.values()
    sources = Counter(entry.source for entry in entries if not entry.tried)
    told = max(sources.values(), default=0)
    yield from _over("addresses of one source", told, addrbook.NEW_PER_SOURCE_MAX)
    groups = Counter(addrbook.group_of(entry.endpoint) for entry in entries if entry.tried)
    most = max(groups.values(), default=0)
    yield from _over("tried ones of one group", most, addrbook.TRIED_PER_GROUP_MAX)


class Suspicions:
    """Sees whether a node holds anything against another one that keeps the rules."""

    def __init__(self, honest: Collection[str]) -> None:
        self._honest = honest
        self._before: list[Link] = []

    def held(self, hub: Hub) -> Iterator[str]:
        """What it holds against whom. A score that has decayed is seen too, and that of a connection
        which ended since this was asked last."""
        links = [
            at for at in hub._connections.links.values() if at.peer.endpoint.host in self._honest
        ]
        for at in {*links, *self._before}:
            if at.peer._score > 0:
                yield f"blames {at.peer}, a good node"
        self._before = links
        for host in hub._book._discouraged:
            if host in self._honest:
                yield f"discourages {host}, a good node"
