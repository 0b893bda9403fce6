"""Whatever happens to the chain, the mempool and the node: events folded are what the ledger says."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from consensus.errors import Violation
from consensus.header_tree import HeaderNode
from node.eventlog import follower
from tests.events.event_kit import FOLDERS, Life, open_life
from tests.support.economy import (
    LOCKS,
    Economy,
    Traders,
    blocks_of,
    rewind,
    ripe_chain,
    whole_chain,
)
from tests.support.event_fold import Fold
from tests.support.node_chain import within_limit

ENDS = ("stop", "kill", "kill", "ledger lost")
STEPS = ("blocks", "blocks", "branch", "branch", "pay", "pay", "pay", "watch", "pause")


class Story:
    """A node over several lives, and the chain that it is told of."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._directory = directory / "node"
        self._copy = directory / "copy"
        self._rng = random.Random(seed)
        self._toy = ripe_chain()
        self._economy = Economy(self._toy, self._rng, expiry_max=8)
        self._watched = list(LOCKS[:3])
        self._known: list[dict[str, Any]] = []
        self._told: HeaderNode = self._toy.tree.genesis

    def live(self, steps: list[str], end: str) -> None:
        within_limit(self._live(steps, end))
        if end == "ledger lost":
            # What was not synced is gone, as after a loss of power: the log was, each time.
            for folder in FOLDERS:
                shutil.rmtree(self._directory / folder)
                if (self._copy / folder).exists():
                    shutil.copytree(self._copy / folder, self._directory / folder)

    async def _live(self, steps: list[str], end: str) -> None:
        async with open_life(self._directory, is_killed=end != "stop") as life:
            for lock in self._watched:
                life.watch(lock, 0)
            self._compare(life, await life.told(), whole=False)
            await life.give(whole_chain(self._toy)[1:])
            for step in steps:
                await self._step(life, step)
            self._compare(life, await life.told(), whole=True)
            await life.ledger.chain.flush()
            if not self._copy.exists():
                for folder in FOLDERS:
                    shutil.copytree(self._directory / folder, self._copy / folder)
            # Some that may never reach the disk.
            for step in steps[:2]:
                await self._step(life, step)

    async def _step(self, life: Life, step: str) -> None:
        match step:
            case "blocks":
                self._economy.blocks(self._rng.randint(1, 3))
            case "branch":
                depth = self._rng.randint(1, 4)
                rewind(self._toy, depth)
                self._economy.blocks(depth + 1)
            case "watch" if len(self._watched) < len(LOCKS):
                self._watched.append(LOCKS[len(self._watched)])
                life.watch(self._watched[-1], 0)
            case "pay":
                self._pay(life)
            case _:
                await life.events.desk.settled()
        await life.give(blocks_of(self._toy, self._toy.tip.height - 6))

    def _pay(self, life: Life) -> None:
        fee = self._rng.choice((300, 3_000, 9_000))
        traders = Traders(self._toy.chain_id, self._rng, fee, expiry_max=8)
        tx = traders.trade(self._toy.coins, self._toy.records, self._toy.tip.height + 1)
        if tx is not None:
            with suppress(Violation):
                life.ledger.submit_tx(tx.raw)

    def _compare(self, life: Life, events: list[dict[str, Any]], whole: bool) -> None:
        """What was once told stays, and all of it together is right."""
        assert events[: len(self._known)] == self._known
        self._known = events
        fold = Fold().take_all(events)
        if events:
            life.check(fold, self._watched)
        self.counts = Counter(
            event["kind"] + event.get("reason", "") for event in events
        )  # fmt: skip


LIVES = st.lists(
    st.tuples(st.lists(st.sampled_from(STEPS), max_size=6), st.sampled_from(ENDS)),
    min_size=2,
    max_size=4,
)


@settings(
    max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(seed=st.integers(0, 10**6), lives=LIVES, room=st.sampled_from([0, 3, 50_000]))
@example(  # an address was watched while the log stood behind a reorganisation
    seed=237,
    lives=[
        (["branch", "branch", "pause", "watch", "pause", "pay"], "stop"),
        (["blocks", "blocks", "watch", "pause", "branch", "pause"], "kill"),
        (["blocks", "watch", "pause", "branch", "watch", "pay"], "kill"),
    ],
    room=3,
)
def test_events_folded_are_what_the_ledger_says_of_watched_addresses(
    monkeypatch: pytest.MonkeyPatch,
    seed: int, lives: list[tuple[list[str], str]], room: int,
) -> None:  # fmt: skip
    # With little room the log falls behind again and again, and walks after the ledger.
    monkeypatch.setattr(follower, "ROWS_MAX", room)
    with tempfile.TemporaryDirectory() as directory:
        story = Story(Path(directory), seed)
        for steps, end in lives:
            story.live(steps, end)


def test_a_story_has_everything_in_it(tmp_path: Path) -> None:
    story = Story(tmp_path, seed=5)
    for end in ("stop", "kill", "ledger lost", "stop"):
        story.live(["watch", "blocks", "pay", "pay", "blocks", "branch", "pay", "branch"] * 3, end)
    kinds = {kind for kind in story.counts if story.counts[kind]}
    assert kinds >= {
        "block_connected", "block_disconnected", "payment_seen", "payment_confirmed",
        "payment_reversed",
    }, story.counts  # fmt: skip
    assert any(kind.startswith("payment_dropped") for kind in kinds), story.counts
