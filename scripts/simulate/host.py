"""One node over all its lives: its disk, its process, and the operator who starts it again."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from consensus.errors import StorageError
from consensus.params import Params
from node.app import Node
from node.config import Config, Settings
from node.datadir import MEMPOOL_FILE, PEERS_FILE, SYNC_AGAIN
from node.rpc import ports
from node.rpc.dispatch import Dispatcher
from node.versions import VERSIONS_FILE
from p2p.hub import Hub
from p2p.ports import Endpoint
from scripts.simulate.disk import VirtualDisk
from scripts.simulate.loop import Crashed, Domain, VirtualLoop
from scripts.simulate.machine import VirtualClock, VirtualMachine
from scripts.simulate.network import VirtualNetwork

P2P_PORT = 9_932
WRITE_S = 0.003
"""Mean time that a flush takes."""
BLAMES_DISK = ("--reindex", "restore", SYNC_AGAIN, "remove it")
"""What a message recommends if the node thinks that its files are damaged."""


class Trap(NamedTuple):
    """Something that happens at a write to the disk."""

    countdown: int
    error: int
    """An errno, or 0 for the end of the process."""
    lasts: bool
    """Every later write fails too, until somebody mends it."""


class Host:
    """A node, and what it runs on."""

    def __init__(
        self, number: int, params: Params, network: VirtualNetwork, rng: random.Random, epoch: float,
        connect: tuple[Endpoint, ...], tell: Callable[[Host, str, str], None],
        report: Callable[[Host, str], None],
    ) -> None:  # fmt: skip
        """`tell` hears what happens to it: kind and detail; `report` of what must not happen."""
        self.number = number
        self.address = address_of(number)
        self.network = network
        self.loop: VirtualLoop = network.loop
        self.rng = rng
        self.clock = VirtualClock(self.loop, epoch)
        self.disk = VirtualDisk(rng, self._before_write, self.crash)
        self.write_s = WRITE_S
        self.trap: Trap | None = None
        self.lives = 0
        self.node: Node | None = None
        """The process, while it runs."""
        self.is_recovering = False
        self.is_wanted = True
        self.remedy = ""
        """What the last process said before it gave up."""
        self.is_damaged = False
        """Whether its disk was at fault. No crash and no loss of power makes it so."""
        self._is_refused = False
        """Whether its process met a disk that refused something."""
        self.began_anew = False
        """Whether it ever had fewer blocks than all begin with: then it believes in less work."""
        self._tell = tell
        self._report = report
        self._params = params
        self._connect = connect
        self._domain = Domain("none")
        self._must_reindex = False
        self._machine: VirtualMachine | None = None

    # Its life

    def start(self) -> None:
        """Start a process, if none runs."""
        if self.node is not None:
            return
        self._obey()
        self.lives += 1
        self._domain = domain = Domain(f"n{self.number}.{self.lives}")
        machine = self._machine = VirtualMachine(
            self.network, self.address.host, domain, self.clock, self.disk, self.rng.getrandbits(64),
            lambda: self.write_s * self.rng.uniform(0.5, 2.0),
        )  # fmt: skip
        settings = Settings(
            Config(network="simulated", reindex=self._must_reindex, verify_processes=0, p2p_tls="off"),
            self._params, Path(f"/n{self.number}"), Endpoint("127.0.0.1", 0), self.address,
            self._connect, None,
        )  # fmt: skip
        self._must_reindex = False
        self.is_recovering = True
        self._is_refused = False
        self._tell(self, "start", f"life {self.lives}")
        context = domain.context.copy()
        self.node = node = context.run(Node, settings, machine)
        self.loop.create_task(self._live(node), context=context)

    def _obey(self) -> None:
        """Do what the last message of the node told its operator to do."""
        remedy, self.remedy = self.remedy, ""
        if "--reindex" in remedy:
            self._must_reindex = self.began_anew = True
            self._tell(self, "operator", "reindex")
        elif SYNC_AGAIN in remedy:
            self.disk.remove_ledger(f"/n{self.number}")
            self.is_damaged = False
            self.began_anew = True
            self._tell(self, "operator", "blocks, undo and state removed")
        elif "remove it" in remedy:
            for name in (MEMPOOL_FILE, PEERS_FILE, VERSIONS_FILE):
                self.disk.files.pop(f"/n{self.number}/{name}", None)
            self._tell(self, "operator", "small files removed")

    async def _live(self, node: Node) -> None:
        try:
            await node.run()
        except (StorageError, OSError) as error:
            self._ended(f"{error}", getattr(error, "remedy", ""))
        else:
            self._ended("stopped", "")

    def _ended(self, what: str, remedy: str) -> None:
        self._tell(self, "ended", what)
        self._suspect(what, remedy)
        self.remedy = remedy
        self._clean_up()

    def _clean_up(self) -> None:
        self.loop.kill(self._domain)
        self.node = None
        self.trap = self.trap if self.trap and self.trap.lasts else None
        self.network.unplug(self.address.host)
        self.disk.release()

    def kill(self) -> None:
        """End the process, as SIGKILL does."""
        if self.node is not None:
            self._tell(self, "killed", "in recovery" if self.is_recovering else "")
            self._clean_up()

    def give_up(self, error: StorageError) -> None:
        """The operator sees an error of the disk in an answer, and does what it says."""
        self._tell(self, "answered", str(error))
        self._suspect(str(error), error.remedy)
        self.loop.call_soon(self._follow, self.node, error.remedy, context=self.network.context)

    def _suspect(self, what: str, remedy: str) -> None:
        """See whether a node finds damage on a disk that never had any: its peers would mend it."""
        if not self.is_damaged and any(text in remedy for text in BLAMES_DISK):
            self._report(self, f"finds damage, and its disk did nothing wrong: {what}")

    def _follow(self, node: Node | None, remedy: str) -> None:
        if node is self.node:
            self.kill()
            self.remedy = remedy

    def crash(self) -> None:
        """End the process from inside. Raises: Crashed."""
        self.kill()
        raise Crashed

    def stop(self) -> None:
        """End the process in an orderly way."""
        if self.node is not None:
            self.node.stop()

    @property
    def api(self) -> ports.Node | None:
        """What JSON-RPC would reach, once the node answers."""
        machine = self._machine
        if self.node is None or machine is None or machine.desk is None:
            return None
        return machine.desk.dispatcher.node

    @property
    def hub(self) -> Hub:
        """Its network, once the node answers."""
        assert self.node is not None
        return self.node.network

    @property
    def dispatcher(self) -> Dispatcher[ports.Node]:
        """What the requests of clients reach, once the process runs."""
        assert self._machine is not None
        assert self._machine.desk is not None
        return self._machine.desk.dispatcher

    @property
    def may_end(self) -> bool:
        """Whether its process has reason to end for its disk; a slow one lets it take a while."""
        return self._is_refused or self.is_damaged

    @property
    def tasks(self) -> int:
        """Tasks of the process that have not ended."""
        return len(self._domain.running())

    def forget_ended(self) -> None:
        """Let go of tasks that have ended."""
        self._domain.forget_ended()

    async def pause(self) -> None:
        """Let some time pass."""
        await asyncio.sleep(0.1)

    def mend(self) -> None:
        """Whatever is wrong with disk and clock is wrong no more."""
        self.trap = None
        self.write_s = WRITE_S
        self.clock.error_s = 0.0

    def call(self, work: Callable[[], object]) -> None:
        """Run something inside the process, now."""
        self._domain.context.copy().run(work)

    def spawn(self, work: Callable[[], object]) -> None:
        """Run something inside the process."""
        self.loop.create_task(_call(work), context=self._domain.context.copy())

    # Its disk

    def _before_write(self, what: str) -> float | None:
        trap = self.trap
        if trap is None:
            return None
        if trap.countdown > 1:
            self.trap = trap._replace(countdown=trap.countdown - 1)
            return None
        if trap.error == 0:
            self.trap = None
            return self.rng.random()
        if not trap.lasts:
            self.trap = None
        self.is_damaged = self.is_damaged or trap.error != errno.ENOSPC
        self._is_refused = True
        name = errno.errorcode[trap.error]
        self._tell(self, "disk", f"{name} at {what}")
        raise OSError(trap.error, os.strerror(trap.error))


async def _call(work: Callable[[], object]) -> None:
    result = work()
    if asyncio.iscoroutine(result):
        await result


def address_of(number: int) -> Endpoint:
    """Where node `number` listens: each in a network of its own."""
    return Endpoint(f"10.{number + 1}.0.1", P2P_PORT)


def simulated_params(base: Params, **changes: object) -> Params:
    """A network whose difficulty moves, and whose blocks are found at once."""
    return msgspec.structs.replace(base, **changes)
