"""What one batch holds: all that was made until it began, and nothing of what came after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from node.db import Database
from node.eventlog import layout
from node.eventlog.layout import HeadRow
from tests.events.event_kit import open_life
from tests.support.economy import ripe_chain, whole_chain
from tests.support.node_chain import within_limit


class Noted(Database):
    """Remembers of each batch what its head says, and the last event in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[tuple[int, int]] = []

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        batch = dict(rows)
        head = batch[layout.KEY_HEAD]
        assert head is not None
        events = [int.from_bytes(key[1:], "big") for key in batch if key[:1] == layout.EVENT]
        if events:
            self.batches.append((layout.decode_row(HeadRow, head).last, max(events)))
        super().write(batch.items())


def test_no_batch_holds_an_event_that_came_after_its_head(tmp_path: Path) -> None:
    toy = ripe_chain()
    made: list[Noted] = []

    def open_noted(path: Path) -> Noted:
        made.append(Noted(path))
        return made[-1]

    async def scenario() -> None:
        async with open_life(tmp_path, is_killed=True, database_of=open_noted) as life:
            await life.told()
            log = life.events.log
            # One in every turn, so that every step of a batch meets a new one.
            for height, block in enumerate(whole_chain(toy)):
                if height:
                    log.connect(toy.tip.ancestor(height), block)
                    await asyncio.sleep(0)
                if height % 10 == 0:
                    await life.events.desk.settled()

    within_limit(scenario())
    assert len(made[0].batches) > 1
    assert all(last == newest for last, newest in made[0].batches)
