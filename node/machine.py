"""What a node needs of the machine that it runs on, and is handed: nothing below `node.system` and
the commands reads a clock, draws random numbers, opens a socket or a file by itself.

A simulation hands over another machine, and runs the very same node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Protocol

from node.database import Database
from node.disk import Disk
from node.doors import Door, House
from node.eventlog.webhooks import Poster
from node.rpc.auth import User
from node.rpc.dispatch import Dispatcher
from node.verify import Verifier
from p2p.config import NetworkConfig
from p2p.ports import Clock, RandomSource, Transport
from p2p.tls import Tls


class RpcServer(Protocol):
    """Answers JSON-RPC."""

    @property
    def port(self) -> int:
        """Where it answers."""

    async def start(self, host: str, port: int) -> None:
        """Raises: OSError if the port is taken."""

    def set_users(self, users: Iterable[User]) -> None:
        """Let these in from now on, and no others."""

    async def close(self) -> None: ...


class SystemTime(Clock, Protocol):
    """The clock of a node."""

    def time(self) -> float:
        """Seconds since 1970, with fractions."""


class Machine(Protocol):
    """Clock, randomness, disk, network and processors of one node."""

    @property
    def clock(self) -> SystemTime: ...

    @property
    def disk(self) -> Disk: ...

    @property
    def rng(self) -> RandomSource:
        """For what need not be secret but should not be foreseen: which peer, which delay."""

    @property
    def descriptors(self) -> int:
        """How many files and sockets the process may have open at once."""

    def secret(self, size: int) -> bytes:
        """Bytes that nobody can guess."""

    def free_bytes(self, path: Path) -> int:
        """How much more can be written where `path` lies; 0 if nothing may be. Raises: OSError."""

    def tune(self) -> None:
        """Prepare the process for the work of a node, once."""

    def open_database(self, path: Path) -> Database:
        """Raises: StorageError."""

    def destroy_database(self, path: Path) -> None:
        """Raises: StorageError."""

    def make_writer(self) -> Executor:
        """Something that runs one thing at a time, beside the event loop."""

    def make_verifier(self, processes: int) -> Verifier:
        """`processes`: how many check signatures; −1 leaves that to the machine."""

    def make_transport(self, config: NetworkConfig, tls: Tls | None) -> Transport:
        """Without `tls` everything is plain."""

    def make_rpc_server(
        self, dispatcher: Dispatcher[Any], users: Iterable[User], hosts: Iterable[str]
    ) -> RpcServer: ...

    def make_poster(self) -> Poster:
        """Something that sends webhooks."""

    def make_doors(self, house: House) -> Sequence[Door]:
        """The servers beside the JSON-RPC that the settings ask for."""
