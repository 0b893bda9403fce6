"""What a workload is: the quantities it yields, and for each system a function that measures them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from scripts.bench.chains import Sizes
from scripts.bench.rows import Quantity
from scripts.bench.server import Server
from scripts.bench.systems import System, copy


class Kit(NamedTuple):
    """What a workload works with."""

    system: System
    sizes: Sizes
    base: Path
    """A data directory of the system at the tip of its chain, not in use. Copied, never changed."""
    directory: Path
    """An empty directory of this run."""

    @contextmanager
    def node(
        self, name: str = "node", *, connect: tuple[Server, ...] = (), delay: bool = True
    ) -> Iterator[Server]:
        """A node that has the whole chain, ready to answer."""
        datadir = copy(self.base, self.directory / name)
        ports = [peer.p2p_port for peer in connect]
        with self.system.start(datadir, connect=ports, delay=delay) as server:
            server.wait_ready(self.system.prepared.height)
            yield server


class Benchmark(msgspec.Struct, frozen=True):
    """One workload."""

    name: str
    quantities: tuple[Quantity, ...]
    runs: Mapping[str, Callable[[Kit], dict[str, float]]]
    """By the name of the system."""
