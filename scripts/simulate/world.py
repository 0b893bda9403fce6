"""The world of one seed: hosts, miners, payers, faults; then peace, and what must hold in it."""

from __future__ import annotations

import asyncio
import errno
import gc
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from consensus.errors import Rule, StorageError, Violation
from consensus.hashes import AssetId
from consensus.pow import hash_as_number
from consensus.tx import Coin, OutPoint
from node.rpc import ports
from p2p.peer import Reason
from scripts.simulate.agreement import agree
from scripts.simulate.bounds import Suspicions
from scripts.simulate.caller import Street
from scripts.simulate.checker import Checker
from scripts.simulate.host import Host, Trap, address_of
from scripts.simulate.loop import VirtualLoop, run
from scripts.simulate.network import VirtualNetwork, VirtualWire
from scripts.simulate.past import PARAMS, past
from scripts.simulate.plan import HEAL_INTERVALS, INTERVAL_S, Event, Fault, Plan, draw
from scripts.simulate.strangers import Stranger
from scripts.simulate.trace import Trace
from tests.support.chain import coins_made
from tests.support.economy import LOCKS, Traders

FEE = 20_000
EXPIRY_MAX = 10
"""Few enough blocks that payments expire while they wait."""
READY_S = 600
"""Virtual seconds that a node may take to come up."""
DOWN_S = (1.0, 90.0)
LOOK_S = 1.0
RECOUNTED = 0.01
"""How often a node that is looked at is recounted, and flushed for that."""
ASKED = 0.005
"""How often a client asks it for something."""
REWOUND = 0.02
"""How often its last blocks are taken off and put on again, for nobody to see."""
FLUSH_WRITES = 6
"""What a flush does to the disk, and one more."""
UNCONFIRMED_MAX = 20
CALLBACK_S_MAX = 0.2
"""Processor time of one callback. More would keep peers and clients waiting."""
FAILURES_MAX = 20


class Result(NamedTuple):
    """What became of a seed."""

    seed: int
    failures: tuple[str, ...]
    counts: Counter[str]
    digest: str
    trace: Trace
    plan: Plan
    virtual_s: float


class World:
    """Everything of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.plan = draw(self.rng)
        self.loop = VirtualLoop()
        self.trace = Trace()
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        before = past()
        self.model = before.model.copy()
        self.blocks = dict(before.blocks)
        self.is_chaos = True
        self.network = VirtualNetwork(
            self.loop, random.Random(self.rng.getrandbits(64)), self._on_delivery
        )
        self._traders = Traders(self.model.chain_id, self.rng, FEE, EXPIRY_MAX)
        self.hosts = [
            Host(
                number, PARAMS, self.network, random.Random(self.rng.getrandbits(64)), before.end,
                tuple(address_of(n) for n in range(number)), self.tell, self._on_broken,
            )
            for number in range(self.plan.nodes)
        ]  # fmt: skip
        for host in self.hosts:
            host.disk.load(before.image, f"/n{host.number}")
        self.checkers = {
            host.number: Checker(host, self.model, self.blocks, self._on_broken, self.tell)
            for host in self.hosts
        }
        self.network.on_end = self._on_end
        self._honest = {host.address.host for host in self.hosts}
        self._suspicions = [Suspicions(self._honest) for _ in self.hosts]
        street = Street(
            self.network, self.hosts, self.model, self.blocks, PARAMS,
            lambda: before.end + self.loop.time(), self.counts,
            lambda who, kind, detail: self.trace.tell(self.loop.time(), who, kind, detail),
        )  # fmt: skip
        self._strangers = [
            Stranger(number, manner, street, random.Random(self.rng.getrandbits(64)))
            for number, manner in enumerate(self.plan.strangers)
        ]
        self._tasks: set[asyncio.Task[None]] = set()

    def play(self) -> Result:
        """Run it to its end."""
        try:
            run(self.loop, self._play())
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")
        self._forget_ended()
        for failure in self.loop.failures:
            self._fail(failure)
        took, what = self.loop.slowest
        if took > CALLBACK_S_MAX:
            self._fail(f"a callback took {took:.2f} s of processor time: {what}")
        for checker in self.checkers.values():
            self.counts += checker.counts
        self.counts["torn file"] += sum(host.disk.torn for host in self.hosts)
        self.counts["torn batch"] += sum(host.disk.database.torn for host in self.hosts)
        return Result(
            self.seed, tuple(self.failures), self.counts, self.trace.digest(), self.trace, self.plan,
            self.loop.time(),
        )  # fmt: skip

    def close(self) -> None:
        """Take everything down."""
        loop = self.loop
        vars(self).clear()
        loop.close()

    def _forget_ended(self) -> None:
        """Hear of every task that broke: the loop is told when the last reference to it has gone."""
        self._tasks = {task for task in self._tasks if not task.done()}
        self.network.domain.forget_ended()
        for host in self.hosts:
            host.forget_ended()
        gc.collect()

    # What is heard

    def tell(self, host: Host, kind: str, detail: str) -> None:
        self.trace.tell(self.loop.time(), f"n{host.number}", kind, detail)
        if kind == "ended" and detail != "stopped":
            self.counts["gave up: " + detail.partition(":")[0][:40]] += 1
        if kind == "killed":
            self.counts["crash in recovery" if detail else "crash"] += 1

    def _on_broken(self, host: Host, what: str) -> None:
        self._fail(f"n{host.number} at {self.loop.time():.1f} s: {what}")

    def _on_end(self, wire: VirtualWire, reason: str) -> None:
        """One side closes a line: `wire` is its end of it."""
        if wire.local.host not in self._honest:
            return
        is_evicted = reason == Reason.FULL and wire.sent > 0
        self.counts["eviction"] += is_evicted
        if wire.remote.host in self._honest:
            self.counts["eviction of a node"] += is_evicted
            if reason in (Reason.MISBEHAVING, Reason.DISCOURAGED):
                self._fail(f"{wire.local} ends its line to {wire.remote}, a good node: {reason}")
        else:
            self.counts[f"stranger cut off: {reason}"] += 1
            self.counts["ban"] += reason == Reason.MISBEHAVING
            if reason == Reason.MISBEHAVING and not self._is_remembered(wire):
                self._fail(f"{wire.local} ends its line to {wire.remote} and forgets why")

    def _is_remembered(self, wire: VirtualWire) -> bool:
        """Whether the node at the end `wire` will have no more to do with the other end."""
        (host,) = (host for host in self.hosts if host.address.host == wire.local.host)
        return host.hub._book.is_discouraged(wire.remote.host, host.clock.now())

    def _fail(self, what: str) -> None:
        if len(self.failures) < FAILURES_MAX:
            self.failures.append(what)
            self.trace.tell(self.loop.time(), "world", "FAILURE", what)

    def _on_delivery(self, source: str, target: str, frame: bytes | None) -> None:
        self.trace.note(self.loop.time(), source, target, frame)
        self.counts["message"] += 1

    # The course of things

    async def _play(self) -> None:
        for host in self.hosts:
            host.start()
            self._spawn(self._look_after(host))
        for event in self.plan.events:
            self.loop.call_later(event.at, self._happen, event)
        self._spawn(self._mine())
        self._spawn(self._pay())
        for stranger in self._strangers:
            stranger.start()
        await asyncio.sleep(self.plan.chaos_s)
        await self._heal()

    def _spawn(self, work: object) -> None:
        task = self.loop.create_task(work, context=self.network.context.copy())
        self._tasks.add(task)

    async def _look_after(self, host: Host) -> None:
        """Be the operator of one node: start it when it is down, look at it when it is up."""
        while True:
            if host.node is None and host.is_wanted:
                if self.is_chaos:
                    await asyncio.sleep(self.rng.uniform(*DOWN_S))
                host.start()
            began = self.loop.time()
            while host.node is not None and host.api is None:
                await asyncio.sleep(LOOK_S)
                if self.loop.time() - began > READY_S:
                    self._fail(f"n{host.number} does not come up")
                    return
            api = host.api
            is_new = api is not None and host.is_recovering
            if api is not None and is_new:
                host.is_recovering = False
                self.checkers[host.number].watch(api)
            if api is not None and (is_new or self.rng.random() < RECOUNTED):
                host.spawn(partial(self.checkers[host.number].recount, api.ledger))
            if api is not None and not host.is_recovering:
                self._look_at(host, api)
            await asyncio.sleep(LOOK_S)

    def _look_at(self, host: Host, api: ports.Node) -> None:
        checker = self.checkers[host.number]
        checker.check_network(host.hub, api.ledger, self._suspicions[host.number])
        if self.rng.random() < ASKED:
            host.spawn(partial(checker.ask, api))
        if self.rng.random() < REWOUND:
            host.spawn(partial(checker.rewind, api.ledger))

    async def _mine(self) -> None:
        rates = self.plan.hash_rates
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / INTERVAL_S))
            host = self.rng.choices(self.hosts, rates)[0]
            api = host.api
            if api is not None and not host.is_recovering and host.clock.error_s <= 0:
                host.spawn(self._mining(host, api))

    def _mining(self, host: Host, api: ports.Node) -> Callable[[], object]:
        payout = self.rng.choice(LOCKS)
        as_bytes = self.rng.random() < 0.3

        async def mine() -> None:
            try:
                template = api.templates.build(api.ledger.tip, payout)
                extranonce = api.extranonces.next()
                nonce = 0
                while True:
                    mined = template.mined(extranonce, template.time, nonce)
                    if hash_as_number(mined.header.hash) <= template.target:
                        break
                    nonce += 1
                self.blocks[mined.header.hash] = mined.block.raw
                self.counts["block"] += 1
                self.tell(host, "mined", f"{template.height} with {len(mined.txs)}")
                if as_bytes:
                    await api.ledger.submit_block(mined.block.raw)
                else:
                    await api.ledger.submit_known(*mined)
            except StorageError as error:
                host.give_up(error)
            except Violation as violation:
                self.tell(host, "not mined", str(violation))
                self.counts[f"not mined: {violation.rule}"] += 1
                if violation.rule is not Rule.HEADER_TIME_TOO_NEW:  # by a clock that went back
                    self._fail(f"n{host.number} refuses a block of its own: {violation}")

        return mine

    async def _pay(self) -> None:
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / self.plan.payments_s))
            host = self.rng.choice(self.hosts)
            api = host.api
            if api is not None and not host.is_recovering and self.model.knows(api.ledger.tip.hash):
                self._pay_at(host, api)

    def _pay_at(self, host: Host, api: ports.Node) -> None:
        ledger = api.ledger
        state = self.model.state(ledger.tip.hash)
        pool = {OutPoint(place): Coin(*coin) for place, coin in state.coins.items()}
        waiting = ledger.waiting_txs()
        keep_conflict = self.rng.random() < 0.1
        for checked in waiting[:UNCONFIRMED_MAX]:
            pool.update(coins_made(checked.tx, ledger.tip.height + 1))
        if not keep_conflict:
            for checked in waiting:
                for spent in checked.tx.body.inputs:
                    pool.pop(spent, None)
        assets = [AssetId(asset) for asset in state.supplies]
        tx = self._traders.trade(pool, assets, ledger.tip.height + 1)
        if tx is None:
            return
        try:
            host.call(lambda: ledger.submit_tx(tx.raw))
            self.counts["payment"] += 1
            self.tell(host, "payment", tx.txid[::-1].hex()[:16])
        except StorageError as error:
            host.give_up(error)
        except Violation as violation:
            self.counts[f"payment refused: {violation.rule}"] += 1

    # Faults

    def _happen(self, event: Event) -> None:
        host = self.hosts[event.node]
        number = event.number
        self.trace.tell(self.loop.time(), f"n{event.node}", "fault", f"{event.fault} {number}")
        self.counts[f"fault: {event.fault}"] += 1
        match event.fault:
            case Fault.PARTITION | Fault.DEAF:
                self._part(event.fault is Fault.DEAF, number * 4.0)
            case Fault.CLOG:
                other = self.rng.choice(self.hosts)
                self.network.clog(host.address.host, other.address.host, min(number, 60) / 2)
                self.loop.call_later(number * 2.0, self.network.heal)
            case Fault.CUT:
                lines = self.network.lines_of(host.address.host)
                if lines:
                    self.rng.choice(lines).cut()
            case Fault.KILL:
                host.kill()
            case Fault.POWER:
                host.kill()
                host.disk.lose_power()
            case Fault.CRASH_AT:
                host.trap = Trap(number, 0, False)
            case Fault.CRASH_IN_FLUSH:
                if host.api is not None and not host.is_recovering:
                    host.trap = Trap(1 + number % FLUSH_WRITES, 0, False)
                    ledger = host.api.ledger
                    host.spawn(partial(self.checkers[event.node].recount, ledger))
            case Fault.CRASH_IN_RECOVERY:
                host.kill()
                if self.rng.random() < 0.5:
                    host.disk.lose_power()
                host.trap = Trap(1 + number % 12, 0, False)
            case Fault.FULL | Fault.BROKEN:
                error = errno.ENOSPC if event.fault is Fault.FULL else errno.EIO
                host.trap = Trap(number, error, event.fault is Fault.FULL)
                self.loop.call_later(number * 3.0, host.mend)
            case Fault.SLOW:
                host.write_s = number / 50
                self.loop.call_later(number * 2.0, host.mend)
            case Fault.FLIP_FILE | Fault.FLIP_ROW:
                host.kill()
                host.is_damaged = True
                is_file = event.fault is Fault.FLIP_FILE
                flipped = host.disk.flip() if is_file else host.disk.database.flip()
                self.tell(host, "flipped", flipped)
            case Fault.CLOCK:
                host.clock.error_s = self.rng.choice(
                    (-3_600.0, -100.0, -10.0, 10.0, 100.0, 3_600.0)
                )
                self.loop.call_later(number * 2.0, host.mend)
            case Fault.STOP:
                host.stop()

    def _part(self, one_way: bool, seconds: float) -> None:
        names = [host.address.host for host in self.hosts]
        self.rng.shuffle(names)
        cut = self.rng.randrange(1, len(names))
        for left in names[:cut]:
            for right in names[cut:]:
                self.network.block(left, right)
                if not one_way:
                    self.network.block(right, left)
        self.trace.tell(self.loop.time(), "world", "parted", f"{seconds:.0f} s")
        self.loop.call_later(seconds, self._join)

    def _join(self) -> None:
        self.network.heal()
        self.trace.tell(self.loop.time(), "world", "healed")

    # Peace

    async def _heal(self) -> None:
        self.is_chaos = False
        self.trace.tell(self.loop.time(), "world", "peace")
        for host in self.hosts:
            host.mend()
        for stranger in self._strangers:
            stranger.stop()
        self._join()
        deadline = self.loop.time() + HEAL_INTERVALS * INTERVAL_S
        while True:
            self.network.heal()
            if self._agree():
                for host in self.hosts:
                    assert host.api is not None
                    await self.checkers[host.number].recount(host.api.ledger)
                await asyncio.sleep(LOOK_S)  # whoever could not read its coins goes down now
                if self._agree():
                    self.trace.tell(self.loop.time(), "world", "agreement")
                    return
            if self.loop.time() > deadline:
                self._fail(
                    f"no agreement {HEAL_INTERVALS} intervals after the last fault: {self._tips()}"
                )
                return
            await asyncio.sleep(LOOK_S)

    def _agree(self) -> bool:
        apis = [host.api for host in self.hosts if not host.is_recovering]
        ledgers = [api.ledger for api in apis if api is not None]
        return len(ledgers) == len(self.hosts) and agree(ledgers)

    def _tips(self) -> str:
        return ", ".join(
            "down"
            if host.api is None
            else f"{host.api.ledger.tip.height} {host.api.ledger.tip.hash[::-1].hex()[:8]}"
            f" +{len(host.api.ledger.mempool)}"
            for host in self.hosts
        )
