"""The machine that a simulated node runs on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from node.doors import Door, House
from node.rpc.auth import User
from node.rpc.dispatch import Dispatcher
from node.verify import Verifier
from p2p.config import NetworkConfig
from p2p.tls import Tls
from scripts.simulate.disk import VirtualDatabase, VirtualDisk
from scripts.simulate.loop import Domain, Slow, VirtualLoop
from scripts.simulate.network import VirtualNetwork, VirtualTransport

DESCRIPTORS = 1_024
"""What most systems let a process have; nothing here takes any."""

FREE_BYTES = 1 << 40


class VirtualClock:
    """Virtual time, and what the clock of one node is off by."""

    def __init__(self, loop: VirtualLoop, epoch: float) -> None:
        """`epoch`: seconds since 1970 at which virtual time begins."""
        self._loop = loop
        self._epoch = epoch
        self.error_s = 0.0

    def now(self) -> int:
        return int(self.time())

    def time(self) -> float:
        return self._epoch + self._loop.time() + self.error_s

    def monotonic(self) -> float:
        return self._loop.time()


class Desk:
    """Stands for the JSON-RPC server: calls reach the dispatcher without a socket."""

    port = 0

    def __init__(self, dispatcher: Dispatcher[Any]) -> None:
        self.dispatcher = dispatcher

    async def start(self, host: str, port: int) -> None:
        """There is nothing to listen at."""

    def set_users(self, users: Iterable[User]) -> None:
        """Likewise nobody to let in."""

    async def close(self) -> None:
        """Likewise."""


class Nowhere:
    """A network beside that of the nodes, in which nobody answers."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Raises: OSError, always."""
        raise ConnectionRefusedError("nobody listens in a simulation")

    async def close(self) -> None:
        """There is nothing to close."""


class VirtualMachine:
    """Clock, randomness, disk and network of one process of a node."""

    def __init__(
        self, network: VirtualNetwork, host: str, domain: Domain, clock: VirtualClock,
        disk: VirtualDisk, seed: int, write_s: Callable[[], float],
    ) -> None:  # fmt: skip
        self.clock = clock
        self.disk = disk
        self.rng = random.Random(seed)
        self.desk: Desk | None = None
        self._secrets = random.Random(seed + 1)
        self._network = network
        self._host = host
        self._domain = domain
        self._write_s = write_s

    @property
    def descriptors(self) -> int:
        return DESCRIPTORS

    def secret(self, size: int) -> bytes:
        return self._secrets.randbytes(size)

    def free_bytes(self, path: Path) -> int:
        """A virtual disk that is full says so when it is written to."""
        return FREE_BYTES

    def tune(self) -> None:
        """The process belongs to the simulation."""

    def open_database(self, path: Path) -> VirtualDatabase:
        assert path.name == "state", (
            "a simulated node has the database of its ledger, and no event log"
        )
        assert path.name == "state", "a simulated disk has room for one database"
        return self.disk.database

    def destroy_database(self, path: Path) -> None:
        self.disk.database.wipe()

    def make_writer(self) -> Slow:
        return Slow(self._write_s)

    def make_verifier(self, processes: int) -> Verifier:
        return Verifier(0)

    def make_transport(self, config: NetworkConfig, tls: Tls | None) -> VirtualTransport:
        assert tls is None, "a simulated network is plain"
        return VirtualTransport(self._network, self._host, self._domain)

    def make_rpc_server(
        self, dispatcher: Dispatcher[Any], users: Iterable[User], hosts: Iterable[str]
    ) -> Desk:
        self.desk = Desk(dispatcher)
        return self.desk

    def make_poster(self) -> Nowhere:
        return Nowhere()

    def make_doors(self, house: House) -> Sequence[Door]:
        """Nobody outside asks a simulated node anything but JSON-RPC."""
        return ()
