"""Starts a node and an attacker, each in a process of its own, and watches."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from types import TracebackType

from consensus.params import REGTEST
from node.rpc.auth import make_user, user_line
from node.rpc.method import Role
from scripts.attacks.callers import PASSWORD, USER
from scripts.attacks.catalogue import ATTACKS, Attack
from scripts.attacks.headers import PARAMS, network_toml, strong_chain
from scripts.attacks.peers import attacked_chain
from scripts.attacks.stranger import GONE, Outcome, Target
from scripts.attacks.watch import watched
from tests.support.chain import blocks_of
from tests.support.daemon import Daemon, feed
from tests.support.p2p_node import ToyNode

NICENESS = 19


def _give_way() -> None:
    os.nice(NICENESS)


def attacking_process() -> Executor:
    """A process that leaves the processors to the node and to whoever watches it."""
    made = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _give_way)
    made.submit(os.getpid).result()  # what it imports takes a second
    return made


def _attack(name: str, target: Target, count: int) -> Outcome:
    """In the process of the attacker."""
    attack = next(each for each in ATTACKS if each.name == name)

    async def run() -> Outcome:
        return await attack.run(target, count)

    return asyncio.run(run())


class Attacked:
    """A node, for one attack."""

    def __init__(self, directory: Path, attack: Attack, share: float = 1.0) -> None:
        self.failures: list[str] = []
        self._attack = attack
        self._count = max(1, round(attack.size * share))
        datadir = Path(tempfile.mkdtemp(dir=directory))
        network = "regtest"
        if attack.needs_work:
            network = str(directory / "attacked.toml")
            Path(network).write_text(network_toml())
        user = user_line(make_user(USER, PASSWORD, "salt", Role.READ))
        self.node = Daemon(
            datadir, "--verify-processes", "0", "--outbound", "0", "--rpc-user", user,
            network=network,
        )  # fmt: skip

    def __enter__(self) -> Attacked:
        self.node.start()
        try:
            if self._attack.needs_work:
                feed(self.node, list(strong_chain(self._count)))
            else:
                feed(self.node, blocks_of(attacked_chain()))
        except BaseException:
            self.node.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self.node.is_running:
            self.node.kill()

    async def run(self, attacker: Executor) -> str:
        """Attack from `attacker`, and return one line that tells how it went."""
        attack, node = self._attack, self.node
        cookie = (node.datadir / ".cookie").read_bytes()
        target = Target(node.p2p_port, node.rpc_port, cookie)
        guest = ToyNode(PARAMS if attack.needs_work else REGTEST)
        loop = asyncio.get_running_loop()
        async with watched(node, guest, attack.bounds) as seen:
            try:
                outcome = await loop.run_in_executor(
                    attacker, _attack, attack.name, target, self._count
                )
            except GONE as error:
                outcome = Outcome("broken off", (f"the attacker met {error!r}",))
        self.failures = [*outcome.failures, *seen.judge()]
        verdict = "FAILED: " + "; ".join(self.failures) if self.failures else "OK"
        return f"{attack.threat:>3}  {attack.name}: {outcome.figures}; {seen.figures()}. {verdict}"
