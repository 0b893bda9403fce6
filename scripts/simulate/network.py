"""A network of virtual hosts: latency, bandwidth, partitions of one direction or both, and cut lines.

A line keeps the order of what is sent over it, as TCP does, and loses nothing until it is cut: a packet
that is lost shows as delay. What stands behind a partition waits there.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from p2p.ports import Accept, Endpoint
from scripts.simulate.loop import Domain, VirtualLoop

WINDOW_BYTES = 256 << 10
"""What may be sent over one direction of a line and not yet read, before the sender has to wait."""
RETRY_S = 0.25
"""How often a line behind a partition looks whether it is gone."""
LATENCY_S = (0.005, 0.3)
BYTES_PER_S = (20_000, 20_000_000)


class _Listener:
    def __init__(self, accept: Accept, domain: Domain) -> None:
        self.accept = accept
        self.domain = domain


class _Way:
    """One direction of a line."""

    def __init__(self, network: VirtualNetwork, source: str, target: str) -> None:
        self._network = network
        self._source, self._target = source, target
        self._under_way: deque[tuple[float, bytes | None]] = deque()
        self._bytes = 0
        self._last = 0.0
        self._is_armed = False
        self._room = asyncio.Event()
        self._room.set()
        self.inbox: deque[bytes | None] = deque()
        self.arrived = asyncio.Event()

    async def send(self, frame: bytes | None) -> None:
        size = len(frame or b"")
        loop = self._network.loop
        delay = self._network.delay(self._source, self._target, size)
        self._last = max(self._last, loop.time() + delay)
        self._under_way.append((self._last, frame))
        self._bytes += size
        self._arm(self._last)
        if self._bytes > WINDOW_BYTES:
            self._room.clear()
            await self._room.wait()

    def open_up(self) -> None:
        """Whoever waits for room waits no more: the line is closed."""
        self._room.set()

    def end(self) -> None:
        """Nothing more comes."""
        loop = self._network.loop
        self._last = max(
            self._last, loop.time() + self._network.delay(self._source, self._target, 0)
        )
        self._under_way.append((self._last, None))
        self._arm(self._last)

    def _arm(self, when: float) -> None:
        if not self._is_armed:
            self._is_armed = True
            # In the world's own context: it happens whether or not sender and receiver live.
            self._network.loop.call_at(when, self._deliver, context=self._network.context)

    def _deliver(self) -> None:
        self._is_armed = False
        loop = self._network.loop
        if self._network.is_blocked(self._source, self._target):
            self._arm(loop.time() + RETRY_S)
            return
        while self._under_way and self._under_way[0][0] <= loop.time():
            _, frame = self._under_way.popleft()
            self.inbox.append(frame)
            self.arrived.set()
            self._network.tell(self._source, self._target, frame)
        if self._under_way:
            self._arm(self._under_way[0][0])

    def take(self) -> bytes | None:
        """Read what arrived first."""
        frame = self.inbox.popleft()
        self._bytes -= len(frame or b"")
        if self._bytes <= WINDOW_BYTES:
            self._room.set()
        return frame

    def cut(self) -> None:
        """What is under way is lost, and both sides notice."""
        self._under_way.clear()
        self._bytes = 0
        self._room.set()
        self.inbox.append(None)
        self.arrived.set()


class VirtualWire:
    """One end of a line."""

    def __init__(
        self, network: VirtualNetwork, local: Endpoint, remote: Endpoint, out: _Way, back: _Way
    ) -> None:  # fmt: skip
        self.local = local
        self.remote = remote
        self.is_encrypted = False
        self.certificate = ""
        self.farewell = ""
        self.sent = 0
        """Messages."""
        self._network = network
        self.other: VirtualWire
        self._out = out
        self._in = back
        self.is_open = True

    async def send(self, frame: bytes) -> None:
        if not self.is_open:
            raise ConnectionError("closed")
        self.sent += 1
        await self._out.send(frame)
        if not self.is_open:
            raise ConnectionError("closed")

    async def receive(self) -> bytes | None:
        while not self._in.inbox:
            if not self.is_open:
                return None
            self._in.arrived.clear()
            await self._in.arrived.wait()
        frame = self._in.inbox[0]
        if frame is None:
            self.is_open = False
            return None
        return self._in.take()

    async def close(self, reason: str) -> None:
        if self.is_open:
            self._network.on_end(self, reason)
            self.is_open = False
            self._out.open_up()
            self.other.farewell = self.other.farewell or reason
            self._out.end()
            self._in.inbox.append(None)
            self._in.arrived.set()

    def cut(self) -> None:
        """End the line at once, both ways."""
        for end in (self, self.other):
            end.is_open = False
        self._out.cut()
        self._in.cut()


class VirtualNetwork:
    """Hosts and the lines between them."""

    def __init__(
        self, loop: VirtualLoop, rng: random.Random,
        on_delivery: Callable[[str, str, bytes | None], None],
    ) -> None:  # fmt: skip
        self.loop = loop
        self.domain = Domain("world")
        self.context = self.domain.context
        self.on_end: Callable[[VirtualWire, str], None] = lambda wire, reason: None
        """Told of the end of a line that one side closes, by the end of that side, and why."""
        self._rng = rng
        self._on_delivery = on_delivery
        self._listeners: dict[Endpoint, _Listener] = {}
        self._latency: dict[tuple[str, str], float] = {}
        self._speed: dict[tuple[str, str], float] = {}
        self._blocked: set[tuple[str, str]] = set()
        self._clogged: dict[tuple[str, str], float] = {}
        self._lines: list[VirtualWire] = []
        self._healed = asyncio.Event()
        self._port = 40_000

    def delay(self, source: str, target: str, size: int) -> float:
        """Seconds until something of that size has arrived."""
        way = source, target
        if way not in self._latency:
            low, high = LATENCY_S
            self._latency[way] = low * (high / low) ** self._rng.random()
            slow, fast = BYTES_PER_S
            self._speed[way] = slow * (fast / slow) ** self._rng.random()
        latency = self._latency[way] * self._rng.uniform(1.0, 1.5) + self._clogged.get(way, 0.0)
        if self._rng.random() < 0.01:
            latency += 3 * self._latency[way] + 0.2  # lost, and sent again
        return latency + size / self._speed[way]

    def tell(self, source: str, target: str, frame: bytes | None) -> None:
        self._on_delivery(source, target, frame)

    # Faults

    @property
    def is_parted(self) -> bool:
        return bool(self._blocked)

    def is_blocked(self, source: str, target: str) -> bool:
        return (source, target) in self._blocked

    def block(self, source: str, target: str) -> None:
        """From now on nothing of `source` reaches `target`."""
        self._blocked.add((source, target))
        self._healed.clear()

    def clog(self, source: str, target: str, extra_s: float) -> None:
        """Everything takes so much longer."""
        self._clogged[source, target] = extra_s

    def heal(self) -> None:
        """Everything reaches everybody again."""
        self._blocked.clear()
        self._clogged.clear()
        self._healed.set()

    def lines_of(self, host: str | None = None) -> list[VirtualWire]:
        """Open lines, each by the end of the side that dialled."""
        self._lines = [line for line in self._lines if line.is_open or line.other.is_open]
        return [
            line
            for line in self._lines
            if host is None or host in (line.local.host, line.remote.host)
        ]

    def unplug(self, host: str) -> None:
        """The process at `host` ended: its lines are cut, nobody listens."""
        for line in self.lines_of(host):
            line.cut()
        for endpoint in [known for known in self._listeners if known.host == host]:
            del self._listeners[endpoint]

    # What transports ask for

    def listen(self, endpoint: Endpoint, accept: Accept, domain: Domain) -> None:
        self._listeners[endpoint] = _Listener(accept, domain)

    def stop_listening(self, endpoint: Endpoint) -> None:
        self._listeners.pop(endpoint, None)

    async def dial(self, host: str, endpoint: Endpoint) -> VirtualWire:
        """Open a line. Raises: OSError."""
        there, back = (host, endpoint.host), (endpoint.host, host)
        await asyncio.sleep(self.delay(*there, 60))
        while there in self._blocked or back in self._blocked:
            await self._healed.wait()
        await asyncio.sleep(self.delay(*back, 60))
        listener = self._listeners.get(endpoint)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {endpoint}")
        self._port = self._port % 60_000 + 1
        here = Endpoint(host, self._port)
        out, back_way = _Way(self, *there), _Way(self, *back)
        near = VirtualWire(self, here, endpoint, out, back_way)
        far = VirtualWire(self, endpoint, here, back_way, out)
        near.other, far.other = far, near
        self._lines.append(near)
        context = listener.domain.context.copy()
        self.loop.create_task(_serve(listener.accept, far), context=context)
        return near


async def _serve(accept: Accept, wire: VirtualWire) -> None:
    await accept(wire)


class VirtualTransport:
    """The transport of the process `domain` at `host`."""

    def __init__(self, network: VirtualNetwork, host: str, domain: Domain) -> None:
        self._network = network
        self._host = host
        self._domain = domain
        self._listening: Endpoint | None = None

    async def listen(self, endpoint: Endpoint, accept: Accept) -> Endpoint:
        self._network.listen(endpoint, accept, self._domain)
        self._listening = endpoint
        return endpoint

    async def dial(self, endpoint: Endpoint, pin: bytes | None = None) -> VirtualWire:
        return await self._network.dial(self._host, endpoint)

    async def close(self) -> None:
        if self._listening is not None:
            self._network.stop_listening(self._listening)
