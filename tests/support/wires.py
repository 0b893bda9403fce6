"""Connections in memory, between addresses that a test makes up."""

from __future__ import annotations

import asyncio

from p2p.messages import Message, decode_message, encode_message
from p2p.ports import Accept, Endpoint, Wire


class MemoryWire:
    """One end of a connection; what is sent comes out at `other`."""

    def __init__(self, local: Endpoint, remote: Endpoint) -> None:
        self.local = local
        self.remote = remote
        self.is_encrypted = False
        self.certificate = ""
        self.farewell = ""
        self.other: MemoryWire
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._is_open = True

    async def send(self, frame: bytes) -> None:
        if not self._is_open:
            raise ConnectionError("closed")
        self.other._inbox.put_nowait(frame)
        await asyncio.sleep(0)

    async def receive(self) -> bytes | None:
        return await self._inbox.get() if self._is_open else None

    async def close(self, reason: str) -> None:
        if self._is_open:
            self._is_open = self.other._is_open = False
            self.other.farewell = reason
            self._inbox.put_nowait(None)
            self.other._inbox.put_nowait(None)

    async def say(self, message: Message) -> None:
        await self.send(encode_message(message))

    async def hear(self) -> Message:
        frame = await self.receive()
        assert frame is not None, self.farewell
        return decode_message(frame)


def wire_pair(first: Endpoint, second: Endpoint) -> tuple[MemoryWire, MemoryWire]:
    """The two ends of a connection between two addresses."""
    a, b = MemoryWire(first, second), MemoryWire(second, first)
    a.other, b.other = b, a
    return a, b


class MemoryTransport:
    """The transport of a node at `here`, in a world of listeners."""

    def __init__(self, here: Endpoint, world: dict[Endpoint, Accept]) -> None:
        self._here = here
        self._world = world
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, endpoint: Endpoint, accept: Accept) -> Endpoint:
        self._world[self._here] = accept
        return self._here

    async def dial(self, endpoint: Endpoint, pin: bytes | None = None) -> Wire:
        accept = self._world.get(endpoint)
        if accept is None:
            raise ConnectionRefusedError(str(endpoint))
        near, far = wire_pair(self._here._replace(port=9), endpoint)

        async def serve() -> None:
            await accept(far)

        task = asyncio.get_running_loop().create_task(serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return near

    async def close(self) -> None:
        self._world.pop(self._here, None)
        await asyncio.gather(*self._tasks)
