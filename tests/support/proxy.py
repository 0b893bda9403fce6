"""Lines between real nodes that a test can slow down, hold up and cut.

Everything runs on an event loop in a thread of its own, so that a test may call nodes meanwhile. What
a line does is drawn from its seed.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
CHUNK_BYTES = 16_384
CALL_S = 10.0


class Line:
    """Forwards TCP connections to `to`, each piece after a random delay."""

    def __init__(self, to: tuple[str, int], delay_s: tuple[float, float], seed: int) -> None:
        self.port = 0
        """Where it listens on 127.0.0.1."""
        self.forwarded_bytes = 0
        self.cuts = 0
        self._to = to
        self._delay_s = delay_s
        self._rng = random.Random(seed)
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def hold(self) -> None:
        """Let nothing through, and tell nobody, as when a cable is pulled."""
        self._open.clear()

    async def release(self) -> None:
        self._open.set()

    async def cut(self) -> None:
        """End every connection that is open now."""
        for writer in tuple(self._writers):
            writer.transport.abort()
            self.cuts += 1

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        onward = None
        try:
            with suppress(OSError):
                await self._open.wait()
                there, onward = await asyncio.open_connection(*self._to)
                self._writers.add(onward)
                await asyncio.gather(self._pump(reader, onward), self._pump(there, writer))
        finally:
            for end in (writer, onward):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Raises: OSError at the end, so that the other direction ends too."""
        while chunk := await reader.read(CHUNK_BYTES):
            await asyncio.sleep(self._rng.uniform(*self._delay_s))
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
            self.forwarded_bytes += len(chunk)
        raise ConnectionResetError


class Lines:
    """Every line of a network, by the pair of nodes that it joins."""

    def __init__(self) -> None:
        self.between: dict[tuple[int, int], Line] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    def join(
        self, pair: tuple[int, int], to: tuple[str, int], delay_s: tuple[float, float], seed: int
    ) -> Line:
        line = self.between[pair] = Line(to, delay_s, seed)
        self.run(line.start())
        return line

    def across(self, side: frozenset[int]) -> list[Line]:
        """Lines with one end in `side` and the other outside."""
        return [line for (a, b), line in self.between.items() if (a in side) != (b in side)]

    def close(self) -> None:
        for line in self.between.values():
            self.run(line.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()


@contextmanager
def lines() -> Iterator[Lines]:
    made = Lines()
    try:
        yield made
    finally:
        made.close()
