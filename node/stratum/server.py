"""The Stratum server: gives out jobs, and has blocks connected.

A new tip makes all jobs worthless, so every miner is told at once. In between jobs are given anew when
the mempool pays more, and every now and then for the time in them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from consensus.address import AddressError, decode_address, encode_address
from consensus.errors import Refused as RefusedByPolicy
from consensus.errors import StorageError, Violation
from consensus.hashes import BlockHash, LockHash
from consensus.params import NETWORKS
from consensus.pow import target_of
from node.events import TipChanged
from node.rpc import ports
from node.rpc.listener import Listener
from node.stratum.connection import Connection, Turns
from node.stratum.difficulty import EXPONENT_MAX, exponent_within
from node.stratum.messages import Refusal, Refused
from node.stratum.session import Session
from node.stratum.workers import Worker
from node.template import Mined, Template
from p2p.ports import Endpoint

log = logging.getLogger(__name__)

TICK_S = 5.0
"""Time between two looks at every miner."""
CHOICE_AGE_S = 5.0
"""Jobs that are given out within this time hold the same transactions."""
SESSIONS_PER_TURN = 20
"""Miners that get a job before others get a turn: about a millisecond."""
SUBMISSIONS_MAX = 8
"""Blocks that wait to be connected. They are of one tip, so all but the first are spare."""


class StratumServer:
    """Speaks Stratum to miners; is the office of their sessions."""

    option = "stratum"

    def __init__(
        self, node: ports.Node, endpoint: Endpoint, payout: LockHash | None,
        fallback: LockHash | None, now: Callable[[], float], pace_s: float, connections_max: int,
    ) -> None:  # fmt: skip
        """`payout` is paid for all work; without it, the address that a worker has for its name,
        and `fallback` if it is none. `now`: seconds that never go back. `pace_s`: least time between
        two blocks where they cost nothing."""
        self.endpoint = endpoint
        self.now = now
        self.retargets = node.ledger.params.retarget
        self._node = node
        self._ledger = node.ledger
        self._payout = payout
        self._fallback = fallback
        self._hrp = node.ledger.params.hrp.decode()
        self._pace_s = pace_s
        self._connections_max = connections_max
        self._easiest = exponent_within(target_of(node.ledger.params.pow_limit_bits))
        self._connections: dict[Connection, None] = {}
        """In the order in which they came."""
        self._turns = Turns(lambda call: asyncio.get_running_loop().call_soon(call))
        # From the time on, so that no job of the last run has the name of one of this.
        self._jobs = int(node.started)
        self._base: tuple[Template, float] | None = None
        """What was chosen for the next block, and when."""
        self._tip_changed = asyncio.Event()
        self._submissions: set[asyncio.Task[None]] = set()
        self._found_on: BlockHash | None = None
        """The tip on which a block was found that is being connected."""
        self._found_at = now() - pace_s
        self._obstacle: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe: Callable[[], None] | None = None
        self._listener = Listener(self._make_room, self._connection)

    async def start(self) -> None:
        """Raises: OSError (the port is taken)."""
        port = await self._listener.start(*self.endpoint)
        self.endpoint = self.endpoint._replace(port=port)
        self._node.stratum.endpoint = str(self.endpoint)
        self._unsubscribe = self._ledger.bus.subscribe(TipChanged, self._on_tip_changed)
        self._tasks = [
            asyncio.create_task(self._follow_tip()),
            asyncio.create_task(self._look_after_miners()),
        ]

    async def close(self) -> None:
        await self._listener.close()
        if self._unsubscribe is not None:
            self._unsubscribe()
        for connection in tuple(self._connections):
            connection.end("the node stops")
        tasks = [*self._tasks, *self._submissions]
        for task in self._tasks:
            task.cancel()
        if tasks:
            # A block that was found is connected before the ledger closes.
            await asyncio.wait(tasks)

    # Connections

    def _make_room(self) -> bool:
        """Whether one more may connect; a miner that has shown no work gives way."""
        if len(self._connections) < self._connections_max:
            return True
        idle = (each for each in self._connections if not each.session.shares)
        oldest = next(idle, None)
        if oldest is None:
            return False
        oldest.end("another one wants its place")
        self._leave(oldest)
        return True

    def _connection(self) -> Connection:
        def make_session(send: Callable[[bytes], None]) -> Session:
            return Session(self, self._node.extranonces.lease(), send)

        return Connection(make_session, self.now, self._turns, self._enter, self._leave)

    def _enter(self, connection: Connection) -> None:
        self._connections[connection] = None
        self._node.stratum.connections = len(self._connections)

    def _leave(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        self._node.stratum.connections = len(self._connections)

    def _on_tip_changed(self, _: TipChanged) -> None:
        self._tip_changed.set()

    async def _follow_tip(self) -> None:
        while True:
            await self._tip_changed.wait()
            self._tip_changed.clear()
            await self._for_each(lambda session: session.renew(is_clean=True))

    async def _look_after_miners(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for connection in tuple(self._connections):
                connection.check()
            await self._for_each(Session.adjust)
            await self._for_each(Session.refresh)

    async def _for_each(self, act: Callable[[Session], None]) -> None:
        for number, connection in enumerate(tuple(self._connections), 1):
            if connection.session.is_at_work:
                connection.act(act)
            if number % SESSIONS_PER_TURN == 0:
                await asyncio.sleep(0)

    # What sessions ask

    def time(self) -> float:
        return self._node.clock()

    def time_max(self) -> int:
        return int(self.time()) + self._ledger.params.future_s

    def payee(self, name: str) -> tuple[LockHash, str]:
        """By the name ADDRESS, or ADDRESS.WORKER. Raises: Refused."""
        lock = self._payout
        if lock is None:
            lock = self._named(name.partition(".")[0]) or self._fallback
        if lock is None:
            raise Refused(
                Refusal.UNAUTHORIZED,
                "your user name must be the address to be paid, or ADDRESS.WORKER",
            )
        return lock, encode_address(self._hrp, lock)

    def _named(self, name: str) -> LockHash | None:
        try:
            return decode_address(self._hrp, name)
        except AddressError as error:
            # With a typing mistake in it, or of another network, somebody else would be paid.
            prefixes = {self._hrp, *(params.hrp.decode() for params in NETWORKS.values())}
            if name.lower().startswith(tuple(f"{prefix}1" for prefix in prefixes)):
                raise Refused(Refusal.UNAUTHORIZED, f"not an address here: {error}") from None
            return None

    def arrive(self, name: str, address: str) -> Worker:
        return self._node.stratum.arrive(name, address, self.time())

    def exponents(self, template: Template) -> tuple[int, int]:
        hardest = exponent_within(template.target) if self.retargets else EXPONENT_MAX
        return self._easiest, hardest

    def template(self, payout: LockHash) -> Template | None:
        ledger = self._ledger
        if ledger.is_syncing:
            return None
        base, built_at = self._base or (None, 0.0)
        # Chosen anew now and then only: with a mempool that changes, each time takes milliseconds.
        if base is None or base.parent is not ledger.tip or self.now() - built_at >= CHOICE_AGE_S:
            try:
                base = self._node.templates.build(ledger.tip, payout)
            except RefusedByPolicy as refused:
                if str(refused.rule) != self._obstacle:
                    log.warning("stratum: %s", refused)
                self._obstacle = str(refused.rule)
                return None
            self._obstacle = None
            self._base = base, self.now()
        now = int(self.time())
        time = max(now, base.time_min)
        # Blocks that were found too fast have times ahead of the clock: others would not take one yet.
        if time > now + ledger.params.future_s:
            return None
        return msgspec.structs.replace(base, payout=payout, time=time, now=now)

    def next_number(self) -> str:
        self._jobs += 1
        return f"{self._jobs:x}"

    def is_current(self, template: Template) -> bool:
        return template.parent is self._ledger.tip

    def found(self, mined: Mined, worker: Worker) -> None:
        parent = mined.header.previous
        if not self.retargets:
            if self.now() - self._found_at < self._pace_s:
                return
            self._found_at = self.now()
        if self._found_on == parent or len(self._submissions) >= SUBMISSIONS_MAX:
            return
        self._found_on = parent
        task = asyncio.create_task(self._submit(mined, worker))
        self._submissions.add(task)
        task.add_done_callback(self._submissions.discard)

    async def _submit(self, mined: Mined, worker: Worker) -> None:
        height = mined.coinbase.body.expiry
        name = mined.header.hash[::-1].hex()
        try:
            await self._ledger.submit_known(*mined)
        except (Violation, StorageError) as error:
            self._found_on = None
            log.warning("stratum: block %d %s refused: %s", height, name, error)
            return
        worker.blocks += 1
        log.info("stratum: found block %d %s, paid to %s", height, name, worker.address)
