"""Performs what the planners want done, and tells them what happened.

Knows tasks and time, but no sockets: wires come from a `Transport`. A message is worked on in the task
that reads from its peer, so who sends much waits, and nobody else does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import assert_never

from consensus.block import Block
from consensus.errors import DecodeError, Violation
from consensus.header_tree import HeaderNode
from consensus.tx import Tx
from p2p.actions import (
    AcceptBlock,
    Action,
    AddBlockTxs,
    AddCompact,
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
from p2p.bounded import TokenBucket
from p2p.config import NetworkConfig
from p2p.connections import Connections
from p2p.link import Link
from p2p.messages import Hello, decode_message
from p2p.peer import SCORE_MAX, ConnectionType, Fault, PeerInfo, Reason, Totals
from p2p.ports import AddressStore, Clock, Endpoint, NodePort, RandomSource, Transport
from p2p.report import peer_info
from p2p.router import Router
from p2p.work import change_ledger

TXS_SLICE = 8
SAVE_INTERVAL_S = 600.0
LOGGED_FAULTS_PER_S = 1.0
LOGGED_FAULTS_BURST = 100.0
DEFERRED_MAX = 1_000
"""Orphans that are about to be tried again; each change of the mempool may have all of them tried."""
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
        self._config = config
        self._clock = clock
        self._rng = rng
        self._store = store
        self._book = load_book(rng, store.load())
        self._router = Router(node, config, self._book, clock, rng)
        self._connections = Connections(
            node, transport, config, clock, rng, self._book, self, on_failure
        )
        self._deferred: deque[LedgerAction] = deque()
        """What changes the ledger and was decided while the ledger told us of a change."""
        self._has_deferred = asyncio.Event()
        # Who misbehaves on purpose does it often: that must not fill the disk.
        self._log_budget = TokenBucket(LOGGED_FAULTS_PER_S, LOGGED_FAULTS_BURST, clock.monotonic())
        self._timer = asyncio.Event()
        self._sleeps_until = 0.0
        self._discouraged = 0

    # What the node asks and tells

    async def start(self) -> None:
        """Listen, connect, relay. Raises: OSError if the address is taken."""
        await self._connections.listen()
        self._connections.tasks.spawn(self._run_timers(), endless=True)
        self._connections.tasks.spawn(self._run_deferred(), endless=True)

    async def close(self) -> None:
        """End every connection and every task."""
        anchors = self._connections.outbound()
        await self._connections.close(CLOSE_S)
        self._store.save(self._book.dump(anchors))

    @property
    def local_address(self) -> Endpoint | None:
        """Where connections are accepted."""
        return self._connections.local

    @property
    def added_nodes(self) -> tuple[Endpoint, ...]:
        """Peers that are always kept."""
        return self._connections.dialer.added

    @property
    def known_addresses(self) -> int:
        return len(self._book)

    def peers(self) -> list[PeerInfo]:
        """Every peer with which hellos were exchanged."""
        now = self._clock.monotonic()
        return [
            peer_info(link, self._router, self._node, now)
            for link in self._connections.links.values()
            if link.is_ready
        ]

    def totals(self) -> Totals:
        found = self._connections
        peers = [link.peer for link in found.links.values()]
        return Totals(
            found.ended_sent + sum(peer.bytes_sent for peer in peers),
            found.ended_received + sum(peer.bytes_received for peer in peers),
            self._discouraged,
        )

    def connect(self, host: str, port: int, pin: bytes | None = None) -> None:
        """Try once to connect to a peer, which with `pin` has to show that certificate."""
        self._apply([Dial(Endpoint(host, port), ConnectionType.MANUAL, pin)])

    def add_node(self, host: str, port: int) -> None:
        """Always keep a connection to a peer."""
        self._connections.dialer.add(Endpoint(host, port))

    def remove_node(self, host: str, port: int) -> bool:
        """Undo `add_node`; an open connection stays. Returns whether it had been added."""
        return self._connections.dialer.remove(Endpoint(host, port))

    def disconnect(self, peer: int) -> bool:
        """End the connection to a peer; returns whether there was one."""
        link = self._connections.links.get(peer)
        if link is None:
            return False
        self._connections.drop(link, Reason.REQUESTED)
        return True

    def ping(self) -> None:
        """Measure the round trip to every peer anew."""
        for link in self._connections.links.values():
            link.session.ping_soon()

    def on_tx_added(self, tx: Tx) -> None:
        self._apply(self._router.on_tx_added(tx))

    def on_tip_changed(self, tip: HeaderNode) -> None:
        self._apply(self._router.on_tip_changed())

    def on_header_added(self, node: HeaderNode) -> None:
        self._apply(self._router.on_header_added())

    def on_block_stored(self, node: HeaderNode, block: Block) -> None:
        self._apply(self._router.on_block_stored(node, block))

    def on_block_invalid(self, node: HeaderNode, violation: Violation) -> None:
        self._apply(self._router.on_block_invalid(node, violation))

    # Actions

    def _apply(self, actions: Iterable[Action]) -> None:
        """Perform what takes no time; what changes the ledger follows by itself."""
        for action in actions:
            if not isinstance(action, LedgerAction):
                self._perform_now(action)
            elif len(self._deferred) < DEFERRED_MAX:
                self._deferred.append(action)
                self._has_deferred.set()
            else:
                # Nothing but orphans comes to be so many: they are kept, and all tried on a later tick.
                self._router.txs.try_orphans_later()
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
            self._connections.dial(action)
            return
        link = self._connections.links.get(action.peer)
        if link is None:
            return
        match action:
            case Send(_, message):
                link.send(message)
                if link.queued_bytes > self._config.send_queue_bytes_max:
                    self._connections.drop(link, Reason.SLOW)
            case Close(_, reason):
                self._connections.drop(link, reason)
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
        link = self._connections.links.get(action.peer)
        if link is not None and violation is None:
            link.peer.brought += 1
            if isinstance(action, AcceptBlock | AddCompact | AddBlockTxs):
                link.peer.last_block = self._clock.now()
            elif isinstance(action, SubmitTx):
                link.peer.last_tx = self._clock.now()
        return actions

    def _blame(self, link: Link, fault: Fault, detail: str) -> None:
        peer = link.peer
        score = peer.blame(fault, self._clock.monotonic())
        if self._log_budget.take(self._clock.monotonic()):
            log.info("%s: %s (%s), score %d", peer, fault, detail, score)
        if score < SCORE_MAX:
            return
        is_local = scope_of(peer.endpoint.host) is Scope.LOOPBACK
        if peer.kind is not ConnectionType.MANUAL and not is_local:
            self._book.discourage(peer.endpoint.host, self._clock.now())
            self._discouraged += 1
        self._connections.drop(link, Reason.MISBEHAVING)

    # Peers

    def on_open(self, link: Link) -> None:
        self._apply(link.session.start())

    def on_malformed(self, link: Link, error: DecodeError) -> None:
        self._blame(link, Fault.MALFORMED, str(error))

    def on_ended(self, link: Link) -> None:
        if link.ready_at is not None and link.peer.kind is not ConnectionType.FEELER:
            self._apply(self._router.on_gone(link.peer))

    async def on_frame(self, link: Link, frame: bytes) -> None:
        peer, now = link.peer, self._clock.monotonic()
        peer.bytes_received += len(frame)
        peer.last_receive = self._clock.now()
        message = decode_message(frame)
        if not peer.within_budget(message, len(frame), now):
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
            self._connections.dialer.on_ready(peer.endpoint, self._clock.now())
        is_brief = peer.is_inbound or peer.kind is ConnectionType.FEELER
        level = logging.DEBUG if is_brief else logging.INFO
        agent = hello.agent.decode("ascii")
        log.log(level, "%s: ready, %s, height %d", peer, agent, hello.height)
        if peer.kind is ConnectionType.FEELER:
            return [Close(peer.id, Reason.FEELER)]
        return self._router.on_ready(peer, hello)

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
                self._store.save(self._book.dump(self._connections.outbound()))
            if now >= self._router.wake_at:
                self._apply(self._router.on_wake())
            self._sleeps_until = min(next_tick, self._router.wake_at)
            self._timer.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._sleeps_until - self._clock.monotonic())):
                    await self._timer.wait()

    def _tick(self, now: float) -> None:
        for link in tuple(self._connections.links.values()):
            since = link.sending_since
            if since is not None and now - since >= self._config.send_timeout_s:
                self._connections.drop(link, Reason.SLOW)
            elif not link.is_busy:
                self._apply(link.session.on_tick(now))
        self._apply(self._router.on_tick())
        connected = [link.peer.listens_at() for link in self._connections.links.values()]
        self._apply(
            self._connections.dialer.plan(
                [e for e in connected if e is not None], now, self._clock.now()
            )
        )
