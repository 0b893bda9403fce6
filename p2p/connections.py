"""Connections from their beginning to their end: admission, dialling, reading, writing.

What the messages mean is up to a `Handler`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from consensus.errors import DecodeError, StorageError
from p2p.actions import Dial
from p2p.addrbook import AddressBook, Scope, network_of, scope_of
from p2p.bounded import WorkBudget
from p2p.config import NetworkConfig
from p2p.dialer import Dialer
from p2p.eviction import Candidate, choose_beginner, choose_victim
from p2p.link import Link
from p2p.messages import PROTOCOL_VERSION, Hello, encode_work
from p2p.peer import ConnectionType, Peer, Reason
from p2p.ports import Clock, Endpoint, NodePort, RandomSource, Transport, Wire
from p2p.session import Session
from p2p.tasks import TaskSet

FRAMES_SLICE = 8
"""Messages of one peer that are worked on before others get their turn."""

_BRIEF = frozenset({ConnectionType.INBOUND, ConnectionType.FEELER})
"""Come and go without a line in the log."""

log = logging.getLogger(__name__)


class Handler(Protocol):
    """Told of what happens on every connection."""

    def on_open(self, link: Link) -> None:
        """A connection begins."""

    async def on_frame(self, link: Link, frame: bytes) -> None:
        """A message came in. Raises: DecodeError."""

    def on_malformed(self, link: Link, error: DecodeError) -> None:
        """What came in is no message."""

    def on_ended(self, link: Link) -> None:
        """A connection has ended; `link.reason` says why."""


class Connections:
    """Every open connection of one node."""

    def __init__(
        self,
        node: NodePort,
        transport: Transport,
        config: NetworkConfig,
        clock: Clock,
        rng: RandomSource,
        book: AddressBook,
        handler: Handler,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.links: dict[int, Link] = {}
        """By the id of the peer."""
        self.local: Endpoint | None = None
        """Where connections are accepted."""
        self.dialer = Dialer(config, book, rng)
        self.tasks = TaskSet(on_failure)
        self.ended_sent = 0
        """Bytes sent over connections that have ended."""
        self.ended_received = 0
        self._node = node
        self._transport = transport
        self._config = config
        self._clock = clock
        self._rng = rng
        self._book = book
        self._handler = handler
        self._on_failure = on_failure
        self._next_id = 0
        self._is_closing = False

    async def listen(self) -> None:
        """Raises: OSError if the address is taken."""
        if self._config.listen is not None:
            self.local = await self._transport.listen(self._config.listen, self._accept)

    async def close(self, timeout_s: float) -> None:
        """End every connection and every task."""
        self._is_closing = True
        for link in tuple(self.links.values()):
            self.drop(link, Reason.CLOSING)
        await self.tasks.close(timeout_s)
        await self._transport.close()

    async def _accept(self, wire: Wire) -> None:
        """Serve an incoming connection until it ends."""
        reason = self._refusal(wire.remote)
        if reason is not None:
            await wire.close(reason)
            return
        await self._run_link(self._make_link(wire, wire.remote, ConnectionType.INBOUND))

    def _refusal(self, remote: Endpoint) -> Reason | None:
        """Why an incoming connection is not wanted, after room was made for it if possible."""
        if self._is_closing:
            return Reason.CLOSING
        if self._book.is_discouraged(remote.host, self._clock.now()):
            return Reason.DISCOURAGED
        inbound = [link for link in self.links.values() if link.peer.is_inbound]
        same = [link for link in inbound if link.peer.endpoint.host == remote.host]
        strangers = [link for link in inbound if not link.is_ready]
        if len(same) >= self._config.per_address_max:
            return Reason.FULL
        network = network_of(remote.host)
        near = [link for link in inbound if network_of(link.peer.endpoint.host) == network]
        if len(near) >= self._config.per_network_max and scope_of(remote.host) is Scope.PUBLIC:
            return Reason.FULL
        crowded = len(strangers) >= self._config.handshaking_max
        if crowded or len(inbound) >= self._config.inbound_max:
            stale = _beginner(strangers) if strangers else self._victim(inbound)
            if stale is None:
                return Reason.FULL
            self.drop(stale, Reason.FULL)
        return None

    def _victim(self, inbound: Sequence[Link]) -> Link | None:
        """Whose place one more may take, when all who are in said hello."""
        victim = choose_victim(
            [
                Candidate(
                    link.peer.id, network_of(link.peer.endpoint.host), link.ready_at or 0.0,
                    link.session.ping_s, link.peer.last_block, link.peer.last_tx,
                )
                for link in inbound
            ]
        )  # fmt: skip
        return None if victim is None else self.links[victim]

    def outbound(self) -> list[Endpoint]:
        """The peers from the address book to which we are connected, the oldest first."""
        return [
            link.peer.endpoint
            for link in self.links.values()
            if link.is_ready and link.peer.kind is ConnectionType.OUTBOUND
        ]

    def dial(self, action: Dial) -> None:
        """Open a connection, and serve it until it ends."""
        if not self._is_closing:
            self.tasks.spawn(self._dial(action), endless=True)

    async def _dial(self, action: Dial) -> None:
        endpoint, kind = action.endpoint, action.kind
        try:
            async with asyncio.timeout(self._config.handshake_s):
                wire = await self._transport.dial(endpoint, action.pin)
        except (OSError, TimeoutError) as error:
            log.debug("cannot connect to %s: %s", endpoint, error)
            if kind is ConnectionType.MANUAL and self.dialer.is_first_failure(endpoint):
                why = str(error) or "no answer in time"
                log.warning(
                    "peer %s cannot be reached; trying again now and then: %s", endpoint, why
                )
            now = self._clock.now()
            self.dialer.on_ended(endpoint, kind, None, self._clock.monotonic(), now)
            return
        self.tasks.let_finish()
        await self._run_link(self._make_link(wire, endpoint, kind))

    def _make_link(self, wire: Wire, endpoint: Endpoint, kind: ConnectionType) -> Link:
        now = self._clock.monotonic()
        self._next_id += 1
        peer = Peer(self._next_id, endpoint, kind, self._clock.now(), now)
        session = Session(
            peer.id,
            not peer.is_inbound,
            self._node.chain_id,
            lambda: self._greet(peer),
            lambda nonce: any(link.peer.nonce == nonce for link in self.links.values()),
            lambda: int.from_bytes(self._rng.randbytes(8), "big"),
            self._config,
            now,
        )
        work = WorkBudget(self._config.work_share, self._config.work_burst_s, now)
        link = self.links[peer.id] = Link(peer, wire, session, work)
        return link

    def _greet(self, peer: Peer) -> Hello:
        peer.nonce = self._rng.randbytes(8)
        tip = self._node.tip
        return Hello(
            PROTOCOL_VERSION, 0, self._node.chain_id, peer.nonce, self._node.params.name,
            self._config.agent, self.local.port if self.local else 0, tip.height, tip.hash,
            encode_work(tip.work),
        )  # fmt: skip

    async def _run_link(self, link: Link) -> None:
        """Serve one connection until it ends."""
        writer = self.tasks.spawn(self._write(link))
        try:
            self._handler.on_open(link)
            await self._read(link)
        except OSError:
            log.debug("%s: the line broke", link.peer)
        except StorageError as error:
            self._on_failure(error)
        except Exception:
            log.exception("%s: dropped for an error of ours", link.peer)
            self.drop(link, Reason.INTERNAL)
        finally:
            self.drop(link, Reason.LOST)
            writer.cancel()
            await link.wire.close(link.reason or Reason.LOST)

    async def _write(self, link: Link) -> None:
        try:
            await link.write(self._clock)
        except OSError:
            self.drop(link, Reason.LOST)

    async def _read(self, link: Link) -> None:
        frames = 0
        while link.reason is None:
            try:
                frame = await link.wire.receive()
                if frame is None:
                    return
                link.is_busy = True
                began, brought = self._clock.monotonic(), link.peer.brought
                await self._handler.on_frame(link, frame)
                # Who keeps us busy for nothing waits, while others are served.
                if link.peer.brought == brought:
                    pause = link.work.spend(self._clock.monotonic() - began, began)
                    if pause:
                        await asyncio.sleep(pause)
            except DecodeError as error:
                self._handler.on_malformed(link, error)
            link.is_busy = False
            link.session.heard(self._clock.monotonic())
            frames += 1
            # A queue of small messages would otherwise be worked off without a pause.
            if frames % FRAMES_SLICE == 0:
                await asyncio.sleep(0)

    def drop(self, link: Link, reason: Reason) -> None:
        """End a connection; the first reason counts."""
        if link.reason is not None:
            return
        link.reason = reason
        peer = link.peer
        link.session.close()
        del self.links[peer.id]
        self.ended_sent += peer.bytes_sent
        self.ended_received += peer.bytes_received
        farewell = link.wire.farewell
        is_brief = link.ready_at is None or peer.kind in _BRIEF
        level = logging.DEBUG if is_brief else logging.INFO
        log.log(level, "%s: ended, %s %s", peer, reason, f"({farewell})" if farewell else "")
        now = self._clock.monotonic()
        if not peer.is_inbound:
            if Reason.SELF in (reason, farewell):
                self.dialer.on_self(peer.endpoint)
            lasted = None if link.ready_at is None else now - link.ready_at
            self.dialer.on_ended(peer.endpoint, peer.kind, lasted, now, self._clock.now())
        self._handler.on_ended(link)
        self.tasks.spawn(link.wire.close(reason))


def _beginner(strangers: Sequence[Link]) -> Link:
    """Whose place one more may take, of those who have not said hello."""
    hosts = [link.peer.endpoint.host for link in strangers]
    return strangers[choose_beginner([network_of(host) for host in hosts])]
