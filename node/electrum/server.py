"""The Electrum server: a door of the node (node/doors.py)."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from consensus.errors import StorageError
from node.database import Database
from node.electrum import limits
from node.electrum.merkle import HeaderProofs, TxProofs
from node.electrum.methods import Service
from node.electrum.scripts import LockIndex
from node.electrum.session import Session
from node.electrum.watch import Watch
from node.rpc import ports
from node.rpc.listener import Listener
from p2p.ports import Endpoint

log = logging.getLogger(__name__)


class ElectrumServer:
    """Answers clients of the Electrum protocol over TCP."""

    option = "electrum"

    def __init__(
        self, node: ports.Node, endpoint: Endpoint, connections_max: int,
        open_database: Callable[[], Database],
    ) -> None:  # fmt: skip
        """`open_database` raises StorageError."""
        self.endpoint = endpoint
        self._node = node
        self._connections_max = connections_max
        self._index = LockIndex(node.ledger, open_database)
        self._service: Service | None = None
        self._sessions: OrderedDict[Session, asyncio.Task[None]] = OrderedDict()
        """Who asked last stands last."""
        self._listener = Listener(self._make_room, self._begin)
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Know every lock, then listen. Raises: OSError (the port is taken), StorageError."""
        # First of all, since it hears from here on of what the index has not seen.
        watch = Watch(self._node.ledger, self._index, self._node.ledger.bus)
        self._service = Service(
            self._node, watch, HeaderProofs(), TxProofs(self._node.ledger),
            asyncio.Semaphore(limits.CALLS_MAX),
        )  # fmt: skip
        await self._index.start()
        self._telling = asyncio.create_task(self._tell(watch))
        port = await self._listener.start(*self.endpoint)
        self.endpoint = self.endpoint._replace(port=port)

    async def _tell(self, watch: Watch) -> None:
        try:
            await watch.run()
        except StorageError as error:
            log.error("the Electrum server ends: %s", error)
            await self._listener.close()
            for session in self._sessions:
                session.drop()

    async def close(self) -> None:
        """Raises: StorageError."""
        await self._listener.close()
        for session in self._sessions:
            session.drop()
        tasks = [*self._sessions.values()]
        if self._telling is not None:
            tasks.append(self._telling)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._service is not None:
            self._service.watch.close()
        await self._index.close()

    def _make_room(self) -> bool:
        """Whether one more may come in. Of those that rest, who never asked anything goes first, then
        who asked longest ago."""
        if len(self._sessions) < self._connections_max:
            return True
        resting = [session for session in self._sessions if not session.is_busy]
        if not resting:
            return False
        oldest = next((each for each in resting if not each.has_asked), resting[0])
        oldest.drop()
        self._sessions.pop(oldest).cancel()
        self._leave(oldest)
        return True

    def _begin(self) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limits.LINE_BYTES_MAX)
        return asyncio.StreamReaderProtocol(reader, self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._service is not None
        task = asyncio.current_task()
        assert task is not None
        session = Session(self._service, reader, writer, self._may_send)
        self._sessions[session] = task
        try:
            with suppress(asyncio.CancelledError):
                await session.run(self._sessions.move_to_end)
                await session.end()
        finally:
            session.drop()
            self._sessions.pop(session, None)
            self._leave(session)

    def _leave(self, session: Session) -> None:
        assert self._service is not None
        self._service.watch.leave(session)

    def _may_send(self, session: Session, size: int) -> bool:
        unread = sum(each.unread_bytes for each in self._sessions)
        return unread + size <= limits.UNREAD_BYTES_MAX
