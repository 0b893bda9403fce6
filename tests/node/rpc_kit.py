"""A real ledger on a temporary directory behind the table of methods, with peers that are made up."""

from __future__ import annotations

import asyncio
import contextlib
import json as standard_json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from consensus.block import Block
from consensus.hashes import to_text
from consensus.params import REGTEST, Params
from consensus.tx import Tx
from node.backup import Backups
from node.blockfiles import RecordFiles
from node.config import Config
from node.db import Database
from node.disk import SYSTEM_DISK
from node.events import EventBus
from node.ledger import Ledger
from node.miner import Extranonces
from node.operations.readiness import Readiness
from node.operations.watch import Watch, demands_of
from node.policy import Policy
from node.recovery import restore
from node.rpc.dispatch import Dispatcher, Reply
from node.rpc.method import Role
from node.rpc.methods import METHODS
from node.rpc.ports import Node, PeerInfo, Totals
from node.store import Store
from node.template import TemplateBuilder
from node.verify import Verifier
from tests.support.chain import ToyChain

STARTED = 1_800_000_000.0


class FakeNetwork:
    """Remembers what it was told."""

    certificate = "ab" * 32

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.added: set[tuple[str, int]] = set()
        self.pins: dict[tuple[str, int], bytes | None] = {}

    def peers(self) -> Sequence[PeerInfo]:
        return [
            PeerInfo(
                id=3, address="10.0.0.9:29932", inbound=False, protocol=1, agent="/tael:0.1.0/",
                connection_type="manual", connected=1_799_999_000, ping_s=0.25, bytes_sent=5,
                is_encrypted=True, certificate="ab" * 32,
            ),
            PeerInfo(
                id=4, address="[2001:db8::1]:5", inbound=True, protocol=1, agent="",
                connection_type="inbound", connected=1_799_999_001,
            ),
        ]  # fmt: skip

    def totals(self) -> Totals:
        return Totals(received=11, sent=22)

    def listening(self) -> Sequence[tuple[str, int]]:
        return [("127.0.0.1", 29932)]

    def add(self, host: str, port: int, pin: bytes | None = None) -> bool:
        self.pins[host, port] = pin
        is_new = (host, port) not in self.added
        self.added.add((host, port))
        return is_new

    def remove(self, host: str, port: int) -> bool:
        is_there = (host, port) in self.added
        self.added.discard((host, port))
        return is_there

    def dial_once(self, host: str, port: int, pin: bytes | None = None) -> None:
        self.told.append(("dial", host, port))

    def disconnect(self, peer_id: int) -> bool:
        self.told.append(("disconnect", peer_id))
        return True

    def ping(self) -> None:
        self.told.append(("ping",))


class Failed(Exception):
    """The error that a call answered."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Bench:
    """A node to ask, and a toy chain that makes its blocks."""

    def __init__(self, ledger: Ledger, chain: ToyChain) -> None:
        self.ledger = ledger
        self.chain = chain
        self.network = FakeNetwork()
        self.backups = Backups(ledger.chain, SYSTEM_DISK, Database)
        self.stopped = False
        self.now = STARTED + 61.5
        self._dispatcher: Dispatcher[Node] = Dispatcher(METHODS, ledger.params)
        self.node = self._dispatcher.node = Node(
            ledger=ledger,
            network=self.network,
            templates=TemplateBuilder(
                ledger.tree, ledger.mempool, ledger.supply, self.clock, allow_stale_genesis=True
            ),
            extranonces=Extranonces(b"test"),
            clock=self.clock,
            started=STARTED,
            backups=self.backups,
            watch=Watch(
                Readiness(ledger, self.clock, Path("/"), lambda path: 1 << 40),
                demands_of(Config()),
                METHODS,
                self.clock,
            ),
            stop=self._stop,
            methods=METHODS,
            p2p_port=29_932,
            version="0.1.0",
        )

    def clock(self) -> float:
        return self.now

    def _stop(self) -> None:
        self.stopped = True

    async def answer(self, method: str, *params: object, **named: object) -> Any:
        """The whole answer, money and all other numbers with a point as text."""
        given: object = named or list(params)
        body = standard_json.dumps({"jsonrpc": "2.0", "method": method, "params": given, "id": 1})
        reply = await self.reply(body.encode())
        return standard_json.loads(reply.body, parse_float=str)

    async def reply(self, body: bytes, role: Role = Role.ADMIN) -> Reply:
        """What a body is answered, byte for byte."""
        return await self._dispatcher.answer(body, role)

    async def call(self, method: str, *params: object, **named: object) -> Any:
        """The result. Raises: Failed."""
        answer = await self.answer(method, *params, **named)
        if "error" in answer:
            raise Failed(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    async def code(self, method: str, *params: object, **named: object) -> int:
        """The code of the error that a call answers; 0 if it answers none."""
        answer = await self.answer(method, *params, **named)
        return int(answer["error"]["code"]) if "error" in answer else 0

    async def mine(self, *txs: Tx, **options: Any) -> Block:
        """Mine a block of `txs` in both chains."""
        block = self.chain.mine(txs, **options)
        await self.ledger.submit_block(block.raw)
        return block

    async def catch_up(self) -> None:
        """Hand every block of the toy chain to the node."""
        for block in list(self.chain.blocks.values())[1:]:
            await self.ledger.submit_block(block.raw)

    def send(self, tx: Tx) -> str:
        """Put `tx` into the mempool; its txid in text form."""
        self.ledger.submit_tx(tx.raw)
        return to_text(tx.txid)


@contextlib.asynccontextmanager
async def open_node(
    path: Path, params: Params, chain: ToyChain, indexed: bool
) -> AsyncIterator[Bench]:
    """A node in `path` that is running, without the blocks of `chain`."""
    for name in ("state", "blocks", "undo"):
        (path / name).mkdir(parents=True)
    writer = ThreadPoolExecutor(1)
    files = RecordFiles(path / "blocks", "blk"), RecordFiles(path / "undo", "undo")
    store = Store(Database(path / "state"), *files, writer, chain.chain_id, indexed)
    verifier = Verifier(0)
    genesis = chain.blocks[chain.chain_id]
    bench_clock = [STARTED + 61.5]
    ledger = Ledger(
        genesis, params, store, verifier, Policy(), lambda: bench_clock[0] + 10**6, EventBus()
    )
    await restore(ledger.chain)
    running = asyncio.create_task(ledger.chain.run())
    await ledger.chain.settled()
    try:
        yield Bench(ledger, chain)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await verifier.close()
        writer.shutdown()
        store.close()


def with_node(
    path: Path, scenario: Callable[[Bench], Awaitable[None]], params: Params = REGTEST,
    chain: ToyChain | None = None, indexed: bool = True,
) -> None:  # fmt: skip
    """Run `scenario` with a node in `path` that has the blocks of `chain`."""

    async def run() -> None:
        async with open_node(path, params, chain or ToyChain(params), indexed) as bench:
            await bench.catch_up()
            await scenario(bench)

    asyncio.run(asyncio.wait_for(run(), 60))
