"""Killed at random moments, node and consumer, no event is missing and none is there twice."""

from __future__ import annotations

from pathlib import Path

from scripts.event_kills import EventKills

KILLS, SEED = 3, 20_261_127


def test_a_consumer_has_every_event_once_though_it_and_the_node_are_killed(tmp_path: Path) -> None:
    run = EventKills(tmp_path, SEED)
    run.run(KILLS)
    assert run.counts["kills"] >= KILLS
    assert run.counts["comparisons"] == 1
    assert run.counts["payment_confirmed"] > 0
