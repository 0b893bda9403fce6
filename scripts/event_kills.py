"""Kills a node and a consumer of its event log, again and again: `python -m scripts.event_kills --kills 100`.

The node is told of blocks, of branches that win, and of payments that are replaced, that conflict and that
expire; the consumer writes every event to sqlite and acknowledges it. Either, or both, are ended by SIGKILL
at random moments, at work and while they start. In between and at the end every event must be there once,
each must make sense after the one before it, and all together must say exactly what the chain and the
mempool say.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from consensus.address import encode_address
from consensus.block import Block
from consensus.params import REGTEST
from consensus.tx import decode_tx
from scripts.event_consumer import NAME
from tests.support.daemon import ROOT, Daemon, RpcFailure, wait_for
from tests.support.economy import (
    LOCKS,
    Economy,
    Traders,
    blocks_of,
    rewind,
    ripe_chain,
    whole_chain,
)
from tests.support.event_fold import Fold, Outpoint, Paid, paid_by, paid_in

COMPARED_EVERY = 20
"""Kills between two comparisons."""
OPTIONS = (
    "--events", "--verify-processes", "0", "--outbound", "0", "--no-listen", "--min-fee-rate", "0",
)  # fmt: skip
WORK_S_MAX = 0.8
"""Longest time that everybody works before somebody is killed."""
STARTING = 0.3
"""Share of the node's kills that find it before, or while, it starts to answer."""
DEPTHS = (0, 0, 1, 2, 6)
"""Blocks that a new branch takes off the one before."""
FEE = 200
TX_BYTES_MAX = 400_000
FIRST_WATCHED = 4
"""Addresses that are watched from the beginning; the others follow, with their past."""
VICTIMS = ("node", "node", "consumer", "both")
SEEN_BEFORE = 0.5
"""Share of the blocks whose payments the node hears of first."""
FAILURES_KEPT = 1_000
INTERNAL_ERROR = -32603
SILENT = object()
"""The node did not answer."""
_ANSWERS = "app: event log"


class EventKills:
    """One run. `counts` says what it contained."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._directory = directory
        self._rng = random.Random(seed)
        self._toy = ripe_chain()
        self._economy = Economy(self._toy, self._rng)
        self._node = Daemon(directory / "node", *OPTIONS)
        self._consumer: subprocess.Popen[bytes] | None = None
        self._to_tell: deque[Block] = deque(blocks_of(self._toy))
        self._unwatched = list(LOCKS)
        self._failures: deque[RpcFailure] = deque(maxlen=FAILURES_KEPT)
        self._start_s = 1.0

    def run(self, kills: int, told: Callable[[str], None] = lambda line: None) -> None:
        """Kill that often; compare in between and at the end.

        Raises: AssertionError, with what differs.
        """
        try:
            self._be_there()
            for _ in range(FIRST_WATCHED):
                self._watch()
            while self.counts["kills"] < kills:
                self._new_branch()
                self._round()
                if self.counts["kills"] // COMPARED_EVERY > self.counts["comparisons"]:
                    self._compare()
                    told(self.summary())
            self._compare()
        finally:
            self._kill_consumer()
            if self._node.is_running:
                self._node.kill()

    def summary(self) -> str:
        """One line."""
        counts = self.counts
        return (
            f"{counts['kills']} kills: node {counts['node']}, of them {counts['starting']} while it "
            f"started, consumer {counts['consumer']}; {counts['events']} events, "
            f"{counts['doubles']} came twice and were told by their number; "
            + ", ".join(f"{counts[kind]} {kind}" for kind in sorted(self._kinds))
            + f"; {counts['comparisons']} comparisons, nothing missing and nothing twice"
        )

    @property
    def _kinds(self) -> list[str]:
        return [name for name in self.counts if "_" in name]

    # Lives

    def _be_there(self) -> None:
        """Have both run, and know each other's place."""
        if not self._node.is_running:
            began = time.monotonic()
            # Others may have been given its ports while it was down.
            self._node.rpc_port = self._node.p2p_port = 0
            self._node.start()
            self._start_s = time.monotonic() - began
            (self._directory / "port.new").write_text(str(self._node.rpc_port))
            (self._directory / "port.new").replace(self._directory / "port")
        if self._consumer is None:
            command = [sys.executable, "-m", "scripts.event_consumer", str(self._directory)]
            self._consumer = subprocess.Popen(command, cwd=ROOT)

    def _kill_consumer(self) -> None:
        if self._consumer is not None:
            self._consumer.kill()
            code = self._consumer.wait()
            self._consumer = None
            assert code < 0, "the consumer ended by itself: see what it wrote"

    def _kill_node(self) -> None:
        self._node.kill()
        self._read_log()

    def _round(self) -> None:
        victim = self._rng.choice(VICTIMS)
        if victim != "consumer" and self._rng.random() < STARTING:
            self._kill_starting_node()
            return
        self._be_there()
        killing = threading.Timer(self._rng.uniform(0, WORK_S_MAX), self._end, (victim,))
        killing.start()
        while killing.is_alive():
            self._act()
        killing.join()
        if victim != "node":
            self._kill_consumer()
            self._count("consumer")
        if victim != "consumer":
            self._node.wait()
            self._read_log()
            self._count("node")

    def _end(self, victim: str) -> None:
        """In the middle of whatever they do."""
        if victim != "node" and self._consumer is not None:
            self._consumer.kill()
        if victim != "consumer":
            self._node.kill()

    def _read_log(self) -> None:
        assert not any("Traceback" in line for line in self._node.log), "\n".join(self._node.log)

    def _kill_starting_node(self) -> None:
        if self._node.is_running:
            self._kill_node()
            self._count("node")
        self._node.rpc_port = self._node.p2p_port = 0
        self._node.start(ready=False)
        time.sleep(self._rng.uniform(0, 1.2 * self._start_s))
        self._kill_node()
        self._count("node")
        self.counts["starting"] += not any(_ANSWERS in line for line in self._node.log)

    def _count(self, victim: str) -> None:
        self.counts["kills"] += 1
        self.counts[victim] += 1

    # What goes on

    def _new_branch(self) -> None:
        """Blocks that beat those before."""
        if len(self._to_tell) > 20:
            return
        depth = self._rng.choice(DEPTHS)
        rewind(self._toy, depth)
        base = self._toy.tip.height
        self._economy.blocks(depth + 1 + self._rng.randint(0, 2), txs=3)
        self._to_tell.extend(blocks_of(self._toy, base))

    def _act(self) -> None:
        choice = self._rng.random()
        if choice < 0.35 and self._to_tell:
            self._tell_block()
        elif choice < 0.8:
            self._pay()
        elif choice < 0.83 and self._unwatched:
            self._watch()
        elif choice < 0.86:
            self._ask("backup", str(self._directory / f"backup{self.counts['backups']}"))
            self.counts["backups"] += 1
        else:
            time.sleep(self._rng.uniform(0, 0.02))

    def _tell_block(self) -> None:
        """The next of those that the node has not said it has."""
        block = self._to_tell[0]
        if self._rng.random() < SEEN_BEFORE:
            for tx in block.txs[1:]:
                self._ask("sendrawtransaction", tx.raw.hex(), 0)
        if self._ask("submitblock", block.raw.hex()) is not SILENT:
            self._to_tell.popleft()

    def _pay(self) -> None:
        """Something for the mempool, which the next branch may not like."""
        fee = FEE * self._rng.randint(1, 9)
        traders = Traders(self._toy.chain_id, self._rng, fee, expiry_max=6)
        tx = traders.trade(self._toy.coins, self._toy.records, self._toy.tip.height + 1)
        if tx is not None:
            self._ask("sendrawtransaction", tx.raw.hex(), 0)

    def _watch(self) -> None:
        address = encode_address(REGTEST.hrp.decode(), self._unwatched[-1])
        if self._ask("watchaddress", address, "", 0) is not SILENT:
            self._unwatched.pop()

    def _ask(self, method: str, *params: Any) -> Any:
        """What the node answers, which may end at any moment; SILENT if it does not."""
        try:
            return self._node.call(method, *params)
        except RpcFailure as failure:
            self._failures.append(failure)
            return failure
        except (OSError, http.client.HTTPException, ValueError):
            return SILENT

    # What must hold

    def _compare(self) -> None:
        self._be_there()
        while self._to_tell:
            self._tell_block()
        while self._unwatched:
            self._watch()
        assert self._node.call("getbestblockhash") == self._toy.tip.hash[::-1].hex()
        assert all(failure.code != INTERNAL_ERROR for failure in self._failures)
        wait_for(self._has_caught_up, "the consumer has acknowledged everything")
        self._kill_consumer()
        with contextlib.closing(sqlite3.connect(self._directory / "events.sqlite")) as database:
            rows = database.execute("SELECT body FROM events ORDER BY number").fetchall()
            (doubles,) = database.execute("SELECT total(doubles) FROM lives").fetchone()
        events = [json.loads(body) for (body,) in rows]
        fold = Fold().take_all(events)
        assert fold.tip == (self._toy.tip.height, self._toy.tip.hash[::-1].hex())
        assert fold.confirmed == paid_in(whole_chain(self._toy), LOCKS)
        waiting: dict[Outpoint, Paid] = {}
        for txid in self._node.call("getrawmempool"):
            raw = bytes.fromhex(self._node.call("getrawtransaction", txid))
            waiting |= paid_by(decode_tx(raw, TX_BYTES_MAX), LOCKS)
        assert fold.waiting == waiting
        for kind in self._kinds:
            self.counts[kind] = 0
        self.counts.update(event["kind"] for event in events)
        self.counts.update(
            f"{event['kind']}:{event['reason']}" for event in events if "reason" in event
        )
        self.counts["events"], self.counts["doubles"] = len(events), int(doubles)
        self.counts["comparisons"] += 1

    def _has_caught_up(self) -> bool:
        info = self._node.call("geteventsinfo")
        (consumer,) = self._node.call("listconsumers")
        assert consumer["consumer"] == NAME
        return not info["scanning"] and consumer["acknowledged"] == info["last"]


@click.command()
@click.option("--kills", type=click.IntRange(min=1), default=100, show_default=True, metavar="N")
@click.option("--seed", type=int, default=1, show_default=True, help="What chance draws from.")
def main(kills: int, seed: int) -> None:
    """Kill a node and a consumer of its events N times, and see that no event is missing or there twice."""
    with tempfile.TemporaryDirectory() as directory:
        run = EventKills(Path(directory), seed)
        try:
            run.run(kills, lambda line: click.echo(line, err=True))
        except AssertionError as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            click.echo(
                f"FAILED after {run.counts['kills']} kills, seed {seed}: {where.line}: {error}"
            )
            sys.exit(1)
    click.echo(f"{run.summary()} (seed {seed})")


if __name__ == "__main__":
    main()
