"""Performs what the planners want done, and tells them what happened.

Knows tasks and time, but no sockets: wires come from a `Transport`. A message of a peer is worked on
in the task that reads from that peer, so who sends much waits, and nobody else does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import assert_never

from consensus.errors import DecodeError, StorageError, Violation
from consensus.header_tree import HeaderNode
from consensus.tx import Tx
from p2p.actions import (
    AcceptBlock,
    Action,
    Blame,
    Close,
    Dial,
    LedgerAction,
    Send,
    ServeBlocks,
    ServeTxs,
    SubmitTx,
)
from p2p.addrbook import Scope, load_book, scope_of
from p2p.config import NetworkConfig
from p2p.dialer import Dialer
from p2p.link import Link
from p2p.messages import PROTOCOL_VERSION, Hello, decode_message, encode_work
from p2p.peer import SCORE_MAX, ConnectionType, Fault, Peer, PeerInfo, Reason, Totals
from p2p.ports import AddressStore, Clock, Endpoint, NodePort, RandomSource, Transport, Wire
from p2p.report import peer_info
from p2p.router import Router
from p2p.session import Session
from p2p.tasks import TaskSet
from p2p.work import change_ledger

TXS_SLICE = 8
FRAMES_SLICE = 8
SAVE_INTERVAL_S = 600.0
CLOSE_S = 5.0
"""How long the end of the network may take before tasks are cancelled."""

log = logging.getLogger(__name__)


class Hub:
    """The peers of one node, over any transport."""

    def __init__(
        self,
        node: NodePort,
        transport: Transport,
        config: NetworkConfig,
        clock: Clock,
        rng: RandomSource,
        store: AddressStore,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """`on_failure` is told of an error after which the node should stop."""
        self._node = node
        self._transport = transport
        self._config = config
        self._clock = clock
        self._rng = rng
        self._store = store
        self._on_failure = on_failure
        self._book = load_book(rng, store.load())
        self._router = Router(node, config, self._book, clock, rng)
        self._dialer = Dialer(config, self._book, rng)
        self._links: dict[int, Link] = {}
        self._next_id = 0
        self._local: Endpoint | None = None
        self._is_closing = False
        self._tasks = TaskSet(on_failure)
        self._gone_bytes = [0, 0]
        """Sent and received over connections that have ended."""
        self._deferred: deque[LedgerAction] = deque()
        """What changes the ledger and was decided while the ledger told us of a change."""
        self._has_deferred = asyncio.Event()
        self._timer = asyncio.Event()
        self._sleeps_until = 0.0

    # What the node asks and tells

    async def start(self) -> None:
        """Listen, connect, relay. Raises: OSError if the address is taken."""
        if self._config.listen is not None:
            self._local = await self._transport.listen(self._config.listen, self._accept)
        self._tasks.spawn(self._run_timers(), endless=True)
        self._tasks.spawn(self._run_deferred(), endless=True)

    async def close(self) -> None:
        """End every connection and every task."""
        self._is_closing = True
        for link in tuple(self._links.values()):
            self._drop(link, Reason.CLOSING)
        await self._tasks.close(CLOSE_S)
        await self._transport.close()
        self._store.save(self._book.dump())

    @property
    def local_address(self) -> Endpoint | None:
        """Where connections are accepted."""
        return self._local

    @property
    def added_nodes(self) -> tuple[Endpoint, ...]:
        """Peers that are always kept."""
        return self._dialer.added

    @property
    def known_addresses(self) -> int:
        return len(self._book)

    def peers(self) -> list[PeerInfo]:
        """Every peer with which hellos were exchanged."""
        now = self._clock.monotonic()
        return [
            peer_info(link, self._router, self._node, now)
            for link in self._links.values()
            if link.is_ready
        ]

    def totals(self) -> Totals:
        peers = [link.peer for link in self._links.values()]
        sent = sum(peer.bytes_sent for peer in peers) + self._gone_bytes[0]
        return Totals(sent, sum(peer.bytes_received for peer in peers) + self._gone_bytes[1])

    def connect(self, host: str, port: int) -> None:
        """Try once to connect to a peer."""
        self._apply([Dial(Endpoint(host, port), ConnectionType.MANUAL)])

    def add_node(self, host: str, port: int) -> None:
        """Always keep a connection to a peer."""
        self._dialer.add(Endpoint(host, port))
        self._poke()

    def remove_node(self, host: str, port: int) -> bool:
        """Undo `add_node`; an open connection stays. Returns whether it had been added."""
        return self._dialer.remove(Endpoint(host, port))

    def disconnect(self, peer: int) -> bool:
        """End the connection to a peer; returns whether there was one."""
        link = self._links.get(peer)
        if link is None:
            return False
        self._drop(link, Reason.REQUESTED)
        return True

    def ping(self) -> None:
        """Measure the round trip to every peer anew."""
        for link in self._links.values():
            link.session.ping_soon()
        self._poke()

    def on_tx_added(self, tx: Tx) -> None:
        self._apply(self._router.on_tx_added(tx))

    def on_tip_changed(self, tip: HeaderNode) -> None:
        self._apply(self._router.on_tip_changed())

    def on_header_added(self, node: HeaderNode) -> None:
        self._apply(self._router.on_header_added())

    def on_block_invalid(self, node: HeaderNode, violation: Violation) -> None:
        self._apply(self._router.on_block_invalid(node, violation))

    # Actions

    def _apply(self, actions: Iterable[Action]) -> None:
        """Perform what takes no time; what changes the ledger follows by itself."""
        for action in actions:
            if isinstance(action, LedgerAction):
                self._deferred.append(action)
                self._has_deferred.set()
            else:
                self._perform_now(action)
        self._poke()

    async def _perform(self, actions: Iterable[Action], link: Link | None = None) -> None:
        """Perform everything, also what follows from it; `link` is where it came from."""
        waiting = deque(actions)
        submitted = 0
        while waiting:
            action = waiting.popleft()
            if isinstance(action, SubmitTx) and link is not None and link.reason is not None:
                continue  # no more work for a peer that was dropped
            if isinstance(action, LedgerAction):
                waiting.extend(await self._change_ledger(action))
                if isinstance(action, SubmitTx):
                    submitted += 1
                    if submitted % TXS_SLICE == 0:
                        await asyncio.sleep(0)
            else:
                self._perform_now(action)
        self._poke()

    def _perform_now(self, action: Send | Close | Blame | ServeBlocks | ServeTxs | Dial) -> None:
        if isinstance(action, Dial):
            if not self._is_closing:
                self._tasks.spawn(self._dial(action), endless=True)
            return
        link = self._links.get(action.peer)
        if link is None:
            return
        match action:
            case Send(_, message):
                link.send(message)
                if link.queued_bytes > self._config.send_queue_bytes_max:
                    self._drop(link, Reason.SLOW)
            case Close(_, reason):
                self._drop(link, reason)
            case Blame(_, fault, detail):
                self._blame(link, fault, detail)
            case ServeBlocks(_, hashes):
                if not link.serve_blocks(self._node, hashes):
                    self._blame(link, Fault.TOO_MANY_REQUESTS, "blocks")
            case ServeTxs(_, wtxids, missing):
                if not link.serve_txs(self._node, wtxids, missing):
                    log.debug("%s: too many transactions asked for", link.peer)
            case _:
                assert_never(action)

    async def _change_ledger(self, action: LedgerAction) -> list[Action]:
        violation, actions = await change_ledger(action, self._node, self._router)
        link = self._links.get(action.peer)
        if link is not None and violation is None:
            if isinstance(action, AcceptBlock):
                link.peer.last_block = self._clock.now()
            elif isinstance(action, SubmitTx):
                link.peer.last_tx = self._clock.now()
        return actions

    def _blame(self, link: Link, fault: Fault, detail: str) -> None:
        peer = link.peer
        score = peer.blame(fault, self._clock.monotonic())
        log.info("%s: %s (%s), score %d", peer, fault, detail, score)
        if score < SCORE_MAX:
            return
        is_local = scope_of(peer.endpoint.host) is Scope.LOOPBACK
        if peer.kind is not ConnectionType.MANUAL and not is_local:
            self._book.discourage(peer.endpoint.host, self._clock.now())
        self._drop(link, Reason.MISBEHAVING)

    # Connections

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
        inbound = [link for link in self._links.values() if link.peer.is_inbound]
        same = [link for link in inbound if link.peer.endpoint.host == remote.host]
        strangers = [link for link in inbound if not link.is_ready]
        if len(same) >= self._config.per_address_max:
            return Reason.FULL
        crowded = len(strangers) >= self._config.handshaking_max
        if crowded or len(inbound) >= self._config.inbound_max:
            if not strangers:
                return Reason.FULL
            self._drop(strangers[0], Reason.FULL)
        return None

    async def _dial(self, action: Dial) -> None:
        endpoint, kind = action.endpoint, action.kind
        try:
            async with asyncio.timeout(self._config.handshake_s):
                wire = await self._transport.dial(endpoint)
        except (OSError, TimeoutError) as error:
            log.debug("cannot connect to %s: %s", endpoint, error)
            now = self._clock.now()
            self._dialer.on_ended(endpoint, kind, None, self._clock.monotonic(), now)
            return
        self._tasks.let_finish()
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
            lambda nonce: any(link.peer.nonce == nonce for link in self._links.values()),
            lambda: int.from_bytes(self._rng.randbytes(8), "big"),
            self._config,
            now,
        )
        link = self._links[peer.id] = Link(peer, wire, session)
        return link

    def _greet(self, peer: Peer) -> Hello:
        peer.nonce = self._rng.randbytes(8)
        tip = self._node.tip
        return Hello(
            PROTOCOL_VERSION, 0, self._node.chain_id, peer.nonce, self._node.params.name,
            self._config.agent, self._local.port if self._local else 0, tip.height, tip.hash,
            encode_work(tip.work),
        )  # fmt: skip

    async def _run_link(self, link: Link) -> None:
        """Serve one connection until it ends."""
        writer = self._tasks.spawn(self._write(link))
        try:
            self._apply(link.session.start())
            await self._read(link)
        except OSError:
            log.debug("%s: the line broke", link.peer)
        except StorageError as error:
            self._on_failure(error)
        except Exception:
            log.exception("%s: dropped for an error of ours", link.peer)
            self._drop(link, Reason.INTERNAL)
        finally:
            self._drop(link, Reason.LOST)
            writer.cancel()
            await link.wire.close(link.reason or Reason.LOST)

    async def _write(self, link: Link) -> None:
        try:
            await link.write(self._clock)
        except OSError:
            self._drop(link, Reason.LOST)

    async def _read(self, link: Link) -> None:
        frames = 0
        while link.reason is None:
            try:
                frame = await link.wire.receive()
                if frame is None:
                    return
                link.is_busy = True
                await self._on_frame(link, frame)
            except DecodeError as error:
                self._blame(link, Fault.MALFORMED, str(error))
            link.is_busy = False
            link.session.heard(self._clock.monotonic())
            frames += 1
            # A queue of small messages would otherwise be worked off without a pause.
            if frames % FRAMES_SLICE == 0:
                await asyncio.sleep(0)

    async def _on_frame(self, link: Link, frame: bytes) -> None:
        peer, now = link.peer, self._clock.monotonic()
        peer.bytes_received += len(frame)
        peer.last_receive = self._clock.now()
        message = decode_message(frame)
        if not peer.within_budget(message, now):
            self._blame(link, Fault.FLOOD, type(message).__name__)
            return
        deliver, actions = link.session.on_message(message, now)
        self._apply(actions)
        if not deliver or link.reason is not None:
            return
        if isinstance(message, Hello):
            await self._perform(self._on_hello(link, message), link)
        else:
            await self._perform(self._router.on_message(peer, message), link)

    def _on_hello(self, link: Link, hello: Hello) -> list[Action]:
        peer = link.peer
        peer.hello = hello
        link.ready_at = self._clock.monotonic()
        if not peer.is_inbound:
            self._dialer.on_ready(peer.endpoint, self._clock.now())
        log.info("%s: ready, %s, height %d", peer, hello.agent.decode("ascii"), hello.height)
        return self._router.on_ready(peer, hello)

    def _drop(self, link: Link, reason: Reason) -> None:
        """End a connection; the first reason counts."""
        if link.reason is not None:
            return
        link.reason = reason
        peer = link.peer
        link.session.close()
        del self._links[peer.id]
        self._gone_bytes[0] += peer.bytes_sent
        self._gone_bytes[1] += peer.bytes_received
        farewell = link.wire.farewell
        log.info("%s: ended, %s %s", peer, reason, f"({farewell})" if farewell else "")
        now = self._clock.monotonic()
        if not peer.is_inbound:
            if Reason.SELF in (reason, farewell):
                self._dialer.on_self(peer.endpoint)
            lasted = None if link.ready_at is None else now - link.ready_at
            self._dialer.on_ended(peer.endpoint, peer.kind, lasted, now, self._clock.now())
        if link.ready_at is not None:
            self._apply(self._router.on_gone(peer))
        self._tasks.spawn(link.wire.close(reason))

    # Tasks

    async def _run_deferred(self) -> None:
        while True:
            await self._has_deferred.wait()
            self._has_deferred.clear()
            while self._deferred:
                await self._perform([self._deferred.popleft()])
                await asyncio.sleep(0)

    def _poke(self) -> None:
        """Have the timers run if something became due sooner than they know."""
        if self._router.wake_at < self._sleeps_until:
            self._timer.set()

    async def _run_timers(self) -> None:
        next_tick = next_save = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if now >= next_tick:
                next_tick = now + self._config.tick_s
                self._tick(now)
            if now >= next_save:
                next_save = now + SAVE_INTERVAL_S
                self._store.save(self._book.dump())
            if now >= self._router.wake_at:
                self._apply(self._router.on_wake())
            self._sleeps_until = min(next_tick, self._router.wake_at)
            self._timer.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._sleeps_until - self._clock.monotonic())):
                    await self._timer.wait()

    def _tick(self, now: float) -> None:
        for link in tuple(self._links.values()):
            since = link.sending_since
            if since is not None and now - since >= self._config.send_timeout_s:
                self._drop(link, Reason.SLOW)
            elif not link.is_busy:
                self._apply(link.session.on_tick(now))
        self._apply(self._router.on_tick())
        connected = [link.peer.listens_at() for link in self._links.values()]
        self._apply(
            self._dialer.plan([e for e in connected if e is not None], now, self._clock.now())
        )
