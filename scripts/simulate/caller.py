"""How a stranger lives on the network: addresses, connections, and answers to what nodes ask."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from consensus.block import Block, Header
from consensus.hashes import BlockHash, Wtxid
from consensus.params import Params
from node.ledger import Ledger
from p2p.messages import (
    PROTOCOL_VERSION,
    Addr,
    AddrEntry,
    BlockMessage,
    BlockTxs,
    GetAddr,
    GetBlocks,
    GetBlockTxs,
    GetHeaders,
    GetTxs,
    Headers,
    Hello,
    Message,
    Ping,
    Pong,
    Txs,
    decode_message,
    encode_message,
    encode_work,
)
from p2p.peer import Reason
from p2p.ports import Endpoint, Wire
from scripts.simulate.host import P2P_PORT, Host
from scripts.simulate.loop import Domain
from scripts.simulate.model import Model
from scripts.simulate.network import VirtualNetwork

GREETING_S = 5.0
STAY_S = (5.0, 90.0)
"""How long a connection is kept after what was to be done over it."""
BOGUS = 3
"""Addresses at which nobody is, told each time that one is asked."""
NOBODY = bytes((10, 240, 0))
"""Where a network begins in which there is nobody."""
NOBODIES = 30
"""Addresses of it that are told. With ever new ones, nodes do little but dial them."""


class Street(NamedTuple):
    """What every stranger finds."""

    network: VirtualNetwork
    hosts: Sequence[Host]
    model: Model
    blocks: dict[bytes, bytes]
    """Every block ever made, for whoever has to judge it."""
    params: Params
    now: Callable[[], float]
    """Seconds since 1970, without the error of any clock."""
    counts: Counter[str]
    tell: Callable[[str, str, str], None]


class Line:
    """A connection to a node."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.greeted = asyncio.Event()
        """The node said hello, or the connection has ended."""

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.wire.send(encode_message(message))


class Caller:
    """A stranger, as far as it answers. It keeps what it may be asked for."""

    def __init__(self, number: int, street: Street, rng: random.Random) -> None:
        self.name = f"s{number}"
        self._number = number
        self._street = street
        self._rng = rng
        self._lives = 0
        self._domain = Domain(self.name)
        self._blocks: dict[BlockHash, bytes] = {}
        self._bodies: dict[BlockHash, Block] = {}
        """What it made, by what it is asked for."""
        self._txs: dict[Wtxid, bytes] = {}
        self._headers: Sequence[Header] = ()
        """Its answer to whoever asks for headers."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._hosts: list[str] = []

    # Its life

    def start(self) -> None:
        self._move()

    def stop(self) -> None:
        """It is gone, and all that it was."""
        network = self._street.network
        network.loop.kill(self._domain)
        for host in self._hosts:
            network.unplug(host)

    def _spawn(self, work: object) -> None:
        loop = self._street.network.loop
        task: asyncio.Task[None] = loop.create_task(work, context=self._domain.context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _move(self) -> None:
        """Take another address, at which nobody is known."""
        self._lives += 1
        self._host = self._new_host(self._lives)
        here = Endpoint(self._host, P2P_PORT)
        self._street.network.listen(here, self._on_dialled, self._domain)

    def _new_host(self, number: int) -> str:
        host = f"10.{100 + self._number}.{number // 250}.{number % 250 + 1}"
        self._hosts.append(host)
        return host

    # Connections

    def _hello(self, ledger: Ledger | None, boast: int = 0, port: int = P2P_PORT) -> Hello:
        street = self._street
        tip = ledger.tip if ledger is not None else None
        return Hello(
            PROTOCOL_VERSION, 0, street.model.chain_id, self._rng.randbytes(8), street.params.name,
            b"/stranger/", port, tip.height if tip else 0,
            tip.hash if tip else street.model.chain_id,
            encode_work((tip.work if tip else 1) + boast),
        )  # fmt: skip

    async def _dial(self, host: Host, source: str = "") -> Wire:
        """Raises: OSError."""
        return await self._street.network.dial(source or self._host, host.address)

    async def _meet(self, host: Host, boast: int = 0) -> Line:
        """A connection over which hellos went. Raises: OSError."""
        line = Line(await self._dial(host))
        api = host.api
        await line.send(self._hello(api.ledger if api is not None else None, boast))
        self._spawn(self._serve(line))
        async with asyncio.timeout(GREETING_S):
            await line.greeted.wait()
        self._spawn(self._leave(line))
        return line

    async def _leave(self, line: Line) -> None:
        await asyncio.sleep(self._rng.uniform(*STAY_S))
        await line.wire.close(Reason.REQUESTED)

    async def _on_dialled(self, wire: Wire) -> None:
        """A node found the address in its book."""
        self._street.counts["stranger: dialled"] += 1
        await self._serve(Line(wire), is_dialled=True)

    async def _serve(self, line: Line, is_dialled: bool = False) -> None:
        try:
            while (frame := await line.wire.receive()) is not None:
                message = decode_message(frame)
                if isinstance(message, Hello):
                    if is_dialled:
                        await line.send(self._hello(None, 1 << 40))
                    line.greeted.set()
                await self._answer(line, message)
        except OSError:
            pass
        line.greeted.set()
        if line.wire.farewell in (Reason.MISBEHAVING, Reason.DISCOURAGED):
            self._street.tell(self.name, "cut off", line.wire.farewell)
            if line.wire.local.host == self._host:
                self._street.network.stop_listening(Endpoint(self._host, P2P_PORT))
                self._move()

    async def _answer(self, line: Line, message: Message) -> None:
        match message:
            case Ping(nonce):
                await line.send(Pong(nonce))
            case GetHeaders():
                raws = tuple(header.raw for header in self._headers)
                await line.send(Headers(raws))
            case GetBlocks(hashes):
                for block_hash in hashes:
                    raw = self._blocks.get(block_hash)
                    if raw is not None:
                        self._street.counts["block of a stranger sent"] += 1
                        await line.send(BlockMessage(raw))
            case GetTxs(wtxids):
                raws = tuple(self._txs[wtxid] for wtxid in wtxids if wtxid in self._txs)
                if raws:
                    await line.send(Txs(raws))
            case GetBlockTxs(block_hash, indexes):
                await self._complete(line, block_hash, indexes)
            case GetAddr():
                await line.send(Addr(self._addresses()))
            case _:
                pass

    async def _complete(
        self, line: Line, block_hash: BlockHash, indexes: Sequence[int]
    ) -> None:  # fmt: skip
        block = self._bodies.get(block_hash)
        if block is None or self._rng.random() < 0.3:
            return
        raws = [tx.raw for tx in block.txs[1:]]
        wanted = [raws[index] for index in indexes if index < len(raws)]
        if self._rng.random() < 0.5:
            self._rng.shuffle(wanted)
        if self._rng.random() < 0.2:
            wanted.append(block.txs[0].raw)
        await line.send(BlockTxs(block_hash, tuple(wanted) or (b"\0",)))

    def _addresses(self) -> tuple[AddrEntry, ...]:
        """Its own and some at which nobody is."""
        seen = int(self._street.now())
        mine = bytes(map(int, self._host.split(".")))
        places = [mine, *(NOBODY + bytes((self._rng.randrange(NOBODIES),)) for _ in range(BOGUS))]
        return tuple(AddrEntry(place, P2P_PORT, seen) for place in places)
