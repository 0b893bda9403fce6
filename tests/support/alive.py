"""Whether a real node holds while it is attacked: one check that every attack shares.

The node holds if JSON-RPC answers in under a second during the attack and after it, an honest peer's
ping comes back in under two, memory grows by less than 64 MiB, the log shows no traceback, and tip
and coin set are as they were.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from p2p.messages import Ping, Pong
from p2p.ports import Endpoint
from tests.support.daemon import Daemon
from tests.support.p2p_node import ToyNode
from tests.support.raw_peer import RawPeer, raw_peer

RPC_S_MAX = 1.0
PING_S_MAX = 2.0
GROWTH_BYTES_MAX = 64 * 2**20
LOG_BYTES_MAX = 10 * 2**20
PAUSE_S = 0.1
_RSS = "VmRSS:"
_KIB = 1_024


def memory_bytes(pid: int) -> int:
    """What the process holds of the machine's memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(_RSS):
            return int(line.split()[1]) * _KIB
    raise AssertionError(f"no process {pid}")


class _Caller:
    """Asks by JSON-RPC again and again, in a thread, and keeps the longest time an answer took."""

    def __init__(self, node: Daemon) -> None:
        self.longest_s = 0.0
        self.answers = 0
        self.errors: list[str] = []
        self._node = node
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._end.wait(PAUSE_S):
            began = time.monotonic()
            try:
                self._node.call("getblockcount")
            except Exception as error:  # a thread's error would be lost
                self.errors.append(repr(error))
                return
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.answers += 1


class Attack:
    """A node that is being attacked."""

    def __init__(self, node: Daemon) -> None:
        self.daemon = node
        self.address = Endpoint("127.0.0.1", node.p2p_port)
        self.longest_ping_s = 0.0
        self.pings = 0

    async def watch(self, friend: RawPeer) -> None:
        """Be an honest peer that measures its round trip, until cancelled."""
        number = 0
        while True:
            number += 1
            began = time.monotonic()
            await friend.send(Ping(number))
            while await friend.receive() != Pong(number):
                pass
            self.longest_ping_s = max(self.longest_ping_s, time.monotonic() - began)
            self.pings += 1
            # 60 a minute are allowed.
            await asyncio.sleep(1.1)


@asynccontextmanager
async def alive(node: Daemon, growth_bytes_max: int = GROWTH_BYTES_MAX) -> AsyncIterator[Attack]:
    """What happens inside must not make `node`, which runs on regtest, worse for anybody else."""
    tip, coins = node.tip, node.call("gettxoutsetinfo")
    memory, lines = memory_bytes(node.pid), len(node.log)
    attack, caller = Attack(node), _Caller(node)
    async with raw_peer(attack.address) as friend:
        await friend.greet(ToyNode())
        watching = asyncio.create_task(attack.watch(friend))
        caller.start()
        try:
            yield attack
            # Once more after the attack.
            pings, answers = attack.pings, caller.answers
            async with asyncio.timeout(10):
                while not watching.done() and (
                    attack.pings <= pings or caller.answers <= answers + 1
                ):
                    await asyncio.wait([watching], timeout=PAUSE_S)
        finally:
            watching.cancel()
            await asyncio.to_thread(caller.stop)
            ended = (await asyncio.gather(watching, return_exceptions=True))[0]
    assert isinstance(ended, asyncio.CancelledError), f"the honest peer failed: {ended!r}"
    assert not caller.errors, caller.errors
    assert caller.longest_s < RPC_S_MAX, f"an answer took {caller.longest_s:.2f} s"
    assert attack.longest_ping_s < PING_S_MAX, f"a ping took {attack.longest_ping_s:.2f} s"
    grown = memory_bytes(node.pid) - memory
    assert grown < growth_bytes_max, f"{grown / 2**20:.0f} MiB more memory"
    said = node.log[lines:]
    assert not [line for line in said if "Traceback" in line], said
    assert sum(map(len, said)) < LOG_BYTES_MAX
    assert node.tip == tip
    assert node.call("gettxoutsetinfo") == coins
