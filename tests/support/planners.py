"""A node with the planners of its network, in virtual time and without sockets."""

from __future__ import annotations

import asyncio
import random

import msgspec

from consensus.block import Block
from consensus.errors import Violation
from consensus.header_tree import HeaderNode
from consensus.tx import Tx
from p2p.actions import Action, AddBlockTxs, AddCompact, AddHeaders
from p2p.addrbook import AddressBook
from p2p.config import NetworkConfig
from p2p.messages import PROTOCOL_VERSION, Message
from p2p.peer import ConnectionType, Peer
from p2p.ports import Endpoint
from p2p.router import Router
from p2p.work import change_ledger
from tests.support.chain import ALICE, BOB
from tests.support.p2p_node import ToyNode
from tests.support.planning import hello_at

CONFIG = NetworkConfig()


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> int:
        return int(self.time)

    def monotonic(self) -> float:
        return self.time


class Told:
    """Takes the place of the network: hands the planners what the ledger says."""

    def __init__(self, router: Router) -> None:
        self.actions: list[Action] = []
        """What came of it."""
        self.invalid: list[Violation] = []
        self._router = router

    def on_tx_added(self, tx: Tx) -> None:
        self.actions += self._router.on_tx_added(tx)

    def on_tip_changed(self, tip: HeaderNode) -> None:
        self.actions += self._router.on_tip_changed()

    def on_block_stored(self, node: HeaderNode, block: Block) -> None:
        self.actions += self._router.on_block_stored(node, block)

    def on_block_invalid(self, node: HeaderNode, violation: Violation) -> None:
        self.invalid.append(violation)
        self.actions += self._router.on_block_invalid(node, violation)


class Scene:
    """A node with the planners of its network; actions on its ledger are done at once."""

    def __init__(self, blocks: int = 0) -> None:
        self.node = ToyNode()
        self.node.chain.fund(ALICE, 6)
        self.clock = Clock()
        rng = random.Random(5)
        self.router = Router(self.node, CONFIG, AddressBook(rng), self.clock, rng)
        self.told = self.node.network = Told(self.router)
        self.peers: dict[int, Peer] = {}

    def join(
        self, number: int, inbound: bool = True, version: int = PROTOCOL_VERSION,
        tip: HeaderNode | None = None,
    ) -> list[Action]:  # fmt: skip
        """A peer that has our chain, or the one that ends in `tip`."""
        kind = ConnectionType.INBOUND if inbound else ConnectionType.OUTBOUND
        peer = Peer(number, Endpoint(f"10.0.{number}.1", 1), kind, 0, 0.0)
        hello = hello_at(tip or self.node.tip, self.node.chain_id)
        self.peers[number] = peer
        return self.router.on_ready(peer, msgspec.structs.replace(hello, version=version))

    def hear(self, number: int, message: Message) -> list[Action]:
        """A message came: what is done beside changes of the ledger."""
        return self.work(self.router.on_message(self.peers[number], message))

    def work(self, actions: list[Action]) -> list[Action]:
        done: list[Action] = []
        waiting = list(actions)
        while waiting:
            action = waiting.pop(0)
            if isinstance(action, AddCompact | AddBlockTxs | AddHeaders):
                _, more = asyncio.run(change_ledger(action, self.node, self.router))
                waiting += more
            else:
                done.append(action)
        return done

    def pass_time(self, seconds: float) -> list[Action]:
        self.clock.time += seconds
        return self.work(self.router.on_tick())

    def payments(self) -> list[Tx]:
        output = self.node.chain.pay(ALICE, BOB, 1_000).body.outputs[0]
        return [
            self.node.chain.spend([spent], [output]) for spent in self.node.chain.coins_of(ALICE)
        ]

    def wait_with(self, *txs: Tx) -> None:
        """Have `txs` in the mempool."""
        self.node.mempool.update({tx.wtxid: tx for tx in txs})
