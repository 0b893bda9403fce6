"""Makes room for another connection by ending the one that rests the longest.

aiohttp waits for ever for a first request, and half a minute for the next: whoever opens connections and
says nothing would leave no place for readers.
"""

from __future__ import annotations

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from p2p.sips import Sipping


class Room:
    """Counts connections, and knows which of them nothing is done for."""

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._server: Server | None = None
        self._turn = 0
        self._rests_since: dict[RequestHandler, int] = {}
        """When each connection came or was answered last, as a number that grows."""
        self._busy: dict[RequestHandler, int] = {}
        """How many requests each is being answered: one as a rule."""

    def open(self, server: Server) -> None:
        self._server = server

    def arrive(self) -> Sipping:
        """The protocol of a connection that was just accepted."""
        assert self._server is not None
        connection = self._server()
        self._rest(connection)
        return Sipping(connection, lambda: self._leave(connection))

    def _leave(self, connection: RequestHandler) -> None:
        """It has ended, and what it was sent last is not to be kept with it."""
        self._rests_since.pop(connection, None)

    def _rest(self, connection: RequestHandler) -> None:
        self._turn += 1
        self._rests_since[connection] = self._turn

    def begin(self, connection: RequestHandler) -> None:
        """Something is being done for it."""
        self._busy[connection] = self._busy.get(connection, 0) + 1

    def end(self, connection: RequestHandler) -> None:
        left = self._busy.pop(connection) - 1
        if left:
            self._busy[connection] = left
        elif connection in self._rests_since:  # not gone meanwhile
            self._rest(connection)

    def make(self) -> bool:
        """Whether one more may come; ends one that rests if there are too many."""
        assert self._server is not None
        there = self._server.connections
        self._forget(set(there))
        if len(there) < self._connections_max:
            return True
        resting = [each for each in there if each not in self._busy]
        if not resting:
            return False
        # At once: what is only asked to close may take its time.
        transport = min(resting, key=lambda each: self._rests_since.get(each, 0)).transport
        if transport is not None:
            transport.abort()
        return True

    def _forget(self, there: set[RequestHandler]) -> None:
        """Forget who is gone. Who came a moment ago may not be there yet."""
        young = self._turn - self._connections_max
        gone = [
            each for each, turn in self._rests_since.items() if each not in there and turn < young
        ]
        for each in gone:
            del self._rests_since[each]
