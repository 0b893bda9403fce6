"""The machine that a node really runs on: its clock, random numbers, disk, network and processors."""

from __future__ import annotations

import gc
import os
import random
import resource
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from node import db
from node.descriptors import share_out
from node.disk import SYSTEM_DISK
from node.doors import Door, House, make_doors
from node.eventlog.post import HttpPoster
from node.operations.service import Service, watchdog_s
from node.rpc.auth import User
from node.rpc.dispatch import Dispatcher
from node.rpc.limits import Limits
from node.rpc.server import RpcServer
from node.verify import Verifier
from p2p.config import NetworkConfig
from p2p.network import WebSocketTransport
from p2p.tls import Tls

YOUNG_OBJECTS_MAX = 10_000
"""New objects after which garbage among them is freed: some 10 ms, if all of it is garbage."""

_MONOTONIC = time.monotonic
DESCRIPTORS_MAX = 1 << 20
"""More than anything here takes, where there is no limit."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> int:
        """Seconds since 1970."""
        return int(time.time())

    def time(self) -> float:
        """Seconds since 1970, with fractions."""
        return time.time()

    monotonic = staticmethod(_MONOTONIC)
    """Seconds since some moment; never goes back. The function itself: each call is timed by it."""


class System:
    """This machine, as `node.machine.Machine` describes one."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.disk = SYSTEM_DISK
        self.rng = random.Random(secrets.randbits(256))

    @property
    def descriptors(self) -> int:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return DESCRIPTORS_MAX if limit == resource.RLIM_INFINITY else limit

    def open_service(self) -> Service:
        """The service manager that started this process, if one did. What it gave us to speak to it
        is no business of the processes that we start."""
        patience_s = watchdog_s(os.environ, os.getpid())
        address = os.environ.pop("NOTIFY_SOCKET", "")
        return Service(_sender(address) if address else None, patience_s, time.monotonic)

    def secret(self, size: int) -> bytes:
        return secrets.token_bytes(size)

    def free_bytes(self, path: Path) -> int:
        found = os.statvfs(path)
        return 0 if found.f_flag & os.ST_RDONLY else found.f_bavail * found.f_frsize

    def tune(self) -> None:
        """Collect old garbage rarely: blocks are many objects without cycles, and the collector looks at
        each. Collect young garbage often: what a connection leaves has cycles, and that of thousands
        would stop the node for as long as it takes to free it all."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 2_000)

    def open_database(self, path: Path) -> db.Database:
        return db.Database(path)

    def destroy_database(self, path: Path) -> None:
        db.destroy(path)

    def make_writer(self) -> Executor:
        return ThreadPoolExecutor(1, thread_name_prefix="writer")

    def make_verifier(self, processes: int) -> Verifier:
        return Verifier((os.cpu_count() or 1) - 1 if processes < 0 else processes)

    def make_transport(self, config: NetworkConfig, tls: Tls | None) -> WebSocketTransport:
        return WebSocketTransport(config, self.clock, tls)

    def make_rpc_server(
        self, dispatcher: Dispatcher[Any], users: Iterable[User], hosts: Iterable[str]
    ) -> RpcServer:
        limits = Limits(connections=share_out(self.descriptors).rpc)
        return RpcServer(dispatcher, users, time.time, hosts, limits)

    def make_poster(self) -> HttpPoster:
        return HttpPoster()

    def make_doors(self, house: House) -> list[Door]:
        return make_doors(house)


def _sender(address: str) -> Callable[[bytes], None]:
    """Sends datagrams to a unix socket; a name that begins with @ is none of the file system."""
    name = "\0" + address[1:] if address.startswith("@") else address
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    connection.setblocking(False)

    def send(data: bytes) -> None:
        connection.sendto(data, name)

    return send
