"""Killed at random moments while it fetches, connects and starts again, a node loses nothing."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.blockfiles import RecordFiles
from node.check import check
from node.config import load_params
from scripts.bench.workload import Workload
from scripts.kills import Kills
from tests.support.daemon import Daemon, running, wait_for

PAYMENTS, PER_BLOCK = 12_000, 100
EMPTY_BLOCKS = 99
"""Before the first payment."""
KILLS = 6
"""While it fetches, and as many while it starts again."""
LIVES_MAX = 30
"""Of a node that is made again, until enough of them ended amid that."""
SEED = 20_261_124
_TIP = re.compile(r"\bblock (\d+), [0-9a-f]{64}")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """The file of a network, a directory with its blocks alone, and how high they reach."""
    directory = tmp_path_factory.mktemp("chain")
    workload = Workload(PAYMENTS, PER_BLOCK)
    (directory / "network.toml").write_text(workload.network_toml())
    files = RecordFiles(directory / "source" / "blocks", "blk")
    files.append(workload.genesis.raw)
    height = 0
    for block in workload.blocks():
        files.append(block.raw)
        height += 1
    files.close()
    return directory / "network.toml", directory / "source", height


def tips(daemon: Daemon) -> Iterator[int]:
    """Heights that it told since it was started."""
    for line in list(daemon.log):
        if found := _TIP.search(line):
            yield int(found[1])


def wait_for_line(daemon: Daemon, text: str) -> None:
    wait_for(lambda: any(text in line for line in daemon.log), f"it tells {text}", pause_s=0.002)


def test_random_kills_while_blocks_connect_end_in_the_state_of_an_uncrashed_twin(
    tmp_path: Path, network: tuple[Path, Path, int]
) -> None:
    file, blocks, height = network
    rng = random.Random(SEED)
    twin = Daemon(blocks, "--reindex", network=str(file))
    # Signatures in the node itself, so that it takes longer and more kills find it at work.
    node = Daemon(tmp_path / "node", "--verify-processes", "0", network=str(file))
    syncing = starting = 0
    with running(twin):
        try:
            for _ in range(KILLS):
                node.start("--connect", twin.p2p, ready=False)
                # The first after a start is told when what lay in the files is connected again.
                wait_for(lambda: any(tips(node)), "a block is connected")
                time.sleep(rng.uniform(0, 0.03))
                node.kill()
                syncing += EMPTY_BLOCKS < max(tips(node)) < height
            for _ in range(KILLS):
                node.start("--connect", twin.p2p, ready=False)
                wait_for(lambda: any("stored blocks" in line for line in node.log), "it reads on")
                time.sleep(rng.uniform(0, 0.2))
                node.kill()
                starting += not any(tips(node))
            node.start("--connect", twin.p2p)
            wait_for(lambda: node.call("getblockcount") == height, "it is at the tip")
            wanted = twin.call("gettxoutsetinfo")
            assert node.call("gettxoutsetinfo") == wanted
            assert wanted["height"] == height
            assert syncing >= 3, f"of {KILLS} kills with seed {SEED}"
            assert starting >= 3, f"of {KILLS} kills with seed {SEED}"
            assert node.stop() == 0
        finally:
            if node.is_running:
                node.kill()


def test_a_reindex_killed_at_many_points_ends_in_the_state_of_before(
    tmp_path: Path, network: tuple[Path, Path, int]
) -> None:
    file, blocks, height = network
    rng = random.Random(SEED)
    node = Daemon(shutil.copytree(blocks, tmp_path / "node"), network=str(file))
    rebuilding = reading_on = 0
    try:
        node.start(ready=False)
        wait_for_line(node, "JSON-RPC at")
        began = time.monotonic()
        wait_for_line(node, "app: at block")
        took_s = time.monotonic() - began
        wait_for(lambda: node.call("getblockcount") == height, "it is at the tip")
        wanted = node.call("gettxoutsetinfo")
        node.kill()  # much of its database is still in the log of LevelDB
        for number in range(LIVES_MAX):
            if number >= KILLS and rebuilding >= 3 and reading_on >= 1:
                break
            is_plain = number % 3 == 2  # whoever was killed may also be started as ever
            node.start(*() if is_plain else ("--reindex",), ready=False)
            wait_for_line(node, "JSON-RPC at")
            time.sleep(rng.uniform(0, took_s))
            assert node.is_running, "\n".join(node.log)
            node.kill()
            is_amid = not any("app: at block" in line for line in node.log)
            rebuilding += is_amid and any("rebuilding" in line for line in node.log)
            reading_on += is_amid and is_plain
        for more in ((), ("--reindex",)):
            node.start(*more)
            assert node.call("gettxoutsetinfo") == wanted
            assert not any("Traceback" in line for line in node.log)
            assert node.stop() == 0
    finally:
        if node.is_running:
            node.kill()
    assert rebuilding >= 3, f"of {LIVES_MAX} kills with seed {SEED}"
    assert reading_on >= 1, f"of {LIVES_MAX} kills with seed {SEED}"
    assert not check(node.datadir, load_params(str(file)), rng, lambda text: None).findings


def test_a_node_killed_while_it_mines_reorganises_and_recovers_has_the_coins_of_its_twin(
    tmp_path: Path,
) -> None:
    run = Kills(tmp_path, seed=SEED)
    counts = run.counts

    def is_over() -> bool:
        return counts["kills"] >= 6 and counts["in recovery"] > 0 and counts["reorganisations"] > 0

    run.run(60, told=lambda line: None, is_over=is_over)
    assert is_over(), counts
    assert counts["comparisons"] > 0
