"""Who attacks: connections made by hand, from any address of this machine, cheaper than a library's."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import NamedTuple

from consensus.errors import DecodeError
from p2p.messages import Hello, Message, decode_message, encode_message
from p2p.ports import Endpoint, NodePort
from tests.support.raw_peer import LIMIT_S, RawSocket, hello_of

PER_ADDRESS = 15
"""Connections from one address; 16 are allowed."""
GONE = (OSError, EOFError, TimeoutError)
"""What a peer that was cut off meets when it goes on."""
_CLOSE, _TWO_BYTES, _EIGHT_BYTES = 0x88, 126, 127


class Target(NamedTuple):
    """The node that is attacked, as a process of its own has to be told."""

    p2p_port: int
    rpc_port: int
    cookie: bytes
    """What `.cookie` holds."""

    @property
    def address(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.p2p_port)


class Outcome(NamedTuple):
    """What an attacker has to tell."""

    figures: str
    failures: tuple[str, ...] = ()


def source(number: int, per_address: int = PER_ADDRESS) -> str:
    """The address of the connection of that number."""
    host = number // per_address
    return f"127.0.{1 + host // 250}.{1 + host % 250}"


class Stranger(RawSocket):
    """A WebSocket to a node that says whatever it is told to."""

    def __init__(self, target: Target, number: int) -> None:
        super().__init__(target.address, source(number))

    async def greet(self, chain: NodePort, hello: Hello | None = None) -> None:
        """Upgrade and exchange hellos. Raises: OSError, EOFError, TimeoutError."""
        await self.upgrade()
        self.say(hello or hello_of(chain))
        async with asyncio.timeout(LIMIT_S):
            while not isinstance(await self.receive(), Hello):
                pass

    def say(self, message: Message) -> None:
        self.write_frame(encode_message(message))

    async def receive(self) -> Message:
        """The next message. Raises: OSError, EOFError when the node has ended the connection."""
        while True:
            first, size = await self.reader.readexactly(2)
            if first == _CLOSE:
                raise ConnectionError((await self.reader.readexactly(size))[2:].decode())
            if size in (_TWO_BYTES, _EIGHT_BYTES):
                more = 2 if size == _TWO_BYTES else 8
                size = int.from_bytes(await self.reader.readexactly(more), "big")
            body = await self.reader.readexactly(size)
            try:
                return decode_message(body)
            except DecodeError as error:
                raise ConnectionError(f"the node sent no message: {error}") from None

    async def listen(self) -> None:
        """Take what comes until the end."""
        while await self.reader.read(65_536):
            pass


def parted(count: int, parts: int) -> Iterable[range]:
    """The numbers below `count` in `parts` runs."""
    bounds = [count * part // parts for part in range(parts + 1)]
    return itertools.starmap(range, itertools.pairwise(bounds))
