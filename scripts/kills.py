"""Kills a node that mines and reorganises, again and again: `python -m scripts.kills --kills 300`.

Two real nodes. One, the twin, is left alone; the other is ended by SIGKILL at random moments, while it
works and while it recovers from the last kill. Both hear of the same branches, with issuance, destruction
and time locks in them, and the one that is killed mines branches of its own, which then lose. Now
and then they are joined until they agree, and then their coin sets must have one hash.
"""

from __future__ import annotations

import http.client
import math
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from consensus.block import Block
from tests.support.chain import BOB
from tests.support.daemon import Daemon, RpcFailure, feed, running, wait_for, wait_for_one_tip
from tests.support.economy import Economy, blocks_of, rewind, ripe_chain

COMPARED_EVERY = 20
"""Kills between two comparisons."""
AIMED_AT_RECOVERY = 0.4
"""Share of the kills."""
AMID_RECOVERY = 0.7
"""Share of those that wait until the node reads on behind its last write; others come earlier too."""
BACKED_UP = 0.3
"""Share of the lives at work in which everything is once written to the database."""
WORK_S_MAX = 0.6
"""Longest time that the node works before it is killed."""
RECOVERY_S = 0.1
"""How long a recovery takes, before one was seen."""
MINED_MAX = 3
"""Blocks that the node mines by itself in one life."""
DEPTHS = (0, 0, 1, 2, 6)
"""Blocks that a new branch takes off the one before."""
LEAST_SHARE = 1 / 15
"""Kills in recovery, and reorganisations, that make a run worth its name."""
_TIP = re.compile(r"\b(?:at )?block (\d+), [0-9a-f]{64}")
_READS_ON = "stored blocks that the database does not know"
_RECOVERED = "app: at block "


class Kills:
    """One run. `counts` says what it contained."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._toy = ripe_chain()
        self._economy = Economy(self._toy, self._rng)
        self._node = Daemon(directory / "node", "--verify-processes", "0", "--outbound", "0")
        self._twin = Daemon(directory / "twin", "--verify-processes", "0", "--outbound", "0")
        self._backups = directory / "backups"
        self._backups.mkdir()
        self._to_tell: deque[Block] = deque()
        self._highest = 0
        self._recovery_s = RECOVERY_S

    def run(
        self, kills: int, told: Callable[[str], None], is_over: Callable[[], bool] = lambda: False
    ) -> None:
        """Kill that often, or until `is_over`; compare in between and at the end.

        Raises: AssertionError, with what differs.
        """
        with running(self._twin):
            feed(self._twin, blocks_of(self._toy))
            try:
                while self.counts["kills"] < kills and not is_over():
                    self._new_branch()
                    if self._rng.random() < AIMED_AT_RECOVERY:
                        self._recover()
                    else:
                        self._work()
                    if self.counts["kills"] % COMPARED_EVERY == 0:
                        self._compare()
                        told(self.summary())
                self._compare()
            finally:
                if self._node.is_running:
                    self._node.kill()

    def summary(self) -> str:
        """One line."""
        counts = self.counts
        return (
            f"{counts['kills']} kills, {counts['in recovery']} of them in recovery, "
            f"{counts['before recovery']} before it, {counts['at work']} at work; "
            f"{counts['reorganisations']} reorganisations told by the node that was killed, "
            f"{counts['blocks']} blocks, {counts['backups']} backups begun; "
            f"{counts['comparisons']} comparisons with the twin, all equal"
        )

    def lacking(self) -> list[str]:
        """What a run of that many kills should have contained and did not."""
        least = LEAST_SHARE * self.counts["kills"]
        return [what for what in ("in recovery", "reorganisations") if self.counts[what] < least]

    # What both hear of

    def _new_branch(self) -> None:
        """Blocks for both that beat whatever the node has mined by itself."""
        self._tell_all()
        depth = self._rng.choice(DEPTHS)
        rewind(self._toy, depth)
        base = self._toy.tip.height
        least = max(depth, self._highest + MINED_MAX - base) + 1
        self._economy.blocks(least + self._rng.randint(0, 2), txs=3)
        self._to_tell.extend(blocks_of(self._toy, base))
        self.counts["blocks"] += len(self._to_tell)
        # Some while the node is down, some while it works.
        for _ in range(self._rng.randint(0, len(self._to_tell))):
            self._tell_twin()

    def _tell_twin(self) -> None:
        if self._to_tell:
            self._twin.call("submitblock", self._to_tell.popleft().raw.hex())

    def _tell_all(self) -> None:
        while self._to_tell:
            self._tell_twin()

    # Lives of the node

    def _start(self, joined: bool) -> None:
        more = ("--connect", self._twin.p2p) if joined else ()
        # Others may have been given its ports while it was down.
        self._node.rpc_port = self._node.p2p_port = 0
        self._node.start(*more, ready=False)
        self._wait_for_line("JSON-RPC at")

    def _wait_for_line(self, *texts: str) -> None:
        def is_told() -> bool:
            assert self._node.is_running, "the node ended:\n" + "\n".join(self._node.log)
            return any(self._tells(text) for text in texts)

        wait_for(is_told, f"the node tells {texts}", pause_s=0.002)

    def _tells(self, text: str) -> bool:
        return any(text in line for line in self._node.log)

    def _recover(self) -> None:
        """A life that ends about when it has recovered."""
        self._start(joined=True)
        if self._rng.random() < AMID_RECOVERY:
            # It may have nothing to read on, when it wrote everything before the last kill.
            self._wait_for_line(_READS_ON, _RECOVERED)
            time.sleep(self._rng.uniform(0, self._recovery_s / 2))
        else:
            time.sleep(self._rng.uniform(0, self._recovery_s))
        self._node.kill()
        self._count_kill()

    def _work(self) -> None:
        """A life that ends while it mines, fetches, reorganises or writes."""
        self._start(joined=self._rng.random() < 0.7)
        began = time.monotonic()
        self._wait_for_line(_RECOVERED)
        self._recovery_s = time.monotonic() - began
        end = threading.Timer(self._rng.uniform(0, WORK_S_MAX), self._node.kill)
        end.start()
        try:
            mined, may_write = 0, self._rng.random() < BACKED_UP
            while end.is_alive():
                choice = self._rng.random()
                if choice < 0.3 and mined < MINED_MAX:
                    mined += 1
                    self._ask("generatetoaddress", 1, BOB.address())
                elif choice < 0.8 and self._to_tell:
                    raw = self._to_tell[0].raw.hex()
                    self._tell_twin()
                    self._ask("submitblock", raw)
                elif choice < 0.9 and may_write:
                    # Before a backup everything is written to the database.
                    may_write = False
                    self.counts["backups"] += 1
                    self._ask("backup", str(self._backups / str(self.counts["kills"])))
                else:
                    time.sleep(self._rng.uniform(0, 0.02))
        finally:
            end.join()
        self._count_kill()

    def _ask(self, method: str, *params: Any) -> Any:
        """What the node that may end at any moment answers; None if it does not."""
        try:
            return self._node.call(method, *params)
        except (OSError, http.client.HTTPException, RpcFailure, ValueError):
            return None

    def _count_kill(self) -> None:
        """By the log of the life that ended, which is complete."""
        self.counts["kills"] += 1
        if self._tells(_RECOVERED):
            self.counts["at work"] += 1
        elif self._tells(_READS_ON):
            self.counts["in recovery"] += 1
        else:
            self.counts["before recovery"] += 1
        self._read_log()

    def _read_log(self) -> None:
        log = self._node.log
        assert not any("Traceback" in line for line in log), "\n".join(log)
        self.counts["reorganisations"] += sum("reorganised" in line for line in log)
        tips = [int(found[1]) for line in log if (found := _TIP.search(line))]
        self._highest = max([self._highest, *tips])

    def _compare(self) -> None:
        """Join them until they agree, compare, and end the node in good order."""
        # What the node mined last may be as long as the branch of both, and then neither gives way.
        self._new_branch()
        self._tell_all()
        self._start(joined=True)
        wait_for(self._is_ready, "the node answers")
        try:
            wait_for_one_tip([self._node, self._twin])
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._both()}") from None
        wanted, found = (node.call("gettxoutsetinfo") for node in (self._twin, self._node))
        assert found == wanted, f"the coin set of the twin is {wanted}, after kills it is {found}"
        assert self._node.stop() == 0, "\n".join(self._node.log)
        self._read_log()
        self.counts["comparisons"] += 1

    def _both(self) -> str:
        """Where both stand, and what they told last."""
        shown = []
        for name, daemon in (("node", self._node), ("twin", self._twin)):
            head = daemon.call("getblockchaininfo")
            shown += [f"{name}: block {head['blocks']} of {head['headers']}, {daemon.tip}"]
            shown += daemon.log[-12:]
        return "\n".join(shown)

    def _is_ready(self) -> bool:
        return bool(self._ask("getblockcount"))


@click.command()
@click.option("--kills", type=click.IntRange(min=1), default=300, show_default=True, metavar="N")
@click.option("--seed", type=int, default=1, show_default=True, help="What chance draws from.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="End after M minutes.",
)
def main(kills: int, seed: int, minutes: float | None) -> None:
    """Kill a node N times, and compare it with one that was never killed.

    Whether a kill found the node in recovery is read from its log: it had told of stored blocks that the
    database does not know yet, and not yet at which block it stands.
    """
    with tempfile.TemporaryDirectory() as directory:
        run = Kills(Path(directory), seed)
        deadline = time.monotonic() + (60 * minutes if minutes is not None else math.inf)
        try:
            run.run(
                kills, lambda line: click.echo(line, err=True), lambda: time.monotonic() > deadline
            )
        except AssertionError as error:
            click.echo(f"FAILED after {run.counts['kills']} kills, seed {seed}: {error}")
            sys.exit(1)
    click.echo(f"{run.summary()} (seed {seed})")
    for what in run.lacking():
        click.echo(f"FAILED: too few {what}")
    sys.exit(bool(run.lacking()))


if __name__ == "__main__":
    main()
