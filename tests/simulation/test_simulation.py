"""The simulation itself: equal seeds give equal stories, and a few fresh ones pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from consensus.errors import StorageError
from node.check import RESTORE_FILE
from node.datadir import LEDGER_FOLDERS
from node.rpc import ports
from scripts.simulate import batch
from scripts.simulate.__main__ import play_many
from scripts.simulate.batch import NEEDED, NEEDED_FROM, missing
from scripts.simulate.disk import Image
from scripts.simulate.host import Host
from scripts.simulate.loop import run
from scripts.simulate.world import World

ROOT = Path(__file__).resolve().parents[2]
SEED = "7"
SEEDS = "5"
QUIET_SEED = 3
"""One without a crash in recovery."""


def simulate(*options: str, hash_seed: str = "random") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.simulate", *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )  # fmt: skip


def test_the_same_seed_tells_the_same_story_in_every_process(tmp_path: Path) -> None:
    drawn = tmp_path / "run.svg"
    first = simulate("--seed", SEED, "--svg", str(drawn), hash_seed="1")
    second = simulate("--seed", SEED, hash_seed="2")
    assert first.returncode == second.returncode == 0, first.stdout + first.stderr
    assert re.findall("^trace .*", first.stdout, re.M) == re.findall(
        "^trace .*", second.stdout, re.M
    )
    assert "agreement" in second.stdout
    assert ET.fromstring(drawn.read_text()).tag.endswith("svg")


def test_seeds_that_failed_once_and_a_few_others_pass() -> None:
    played = simulate("--seeds", SEEDS, "--processes", "1")
    assert played.returncode == 0, played.stdout
    found = re.search(r"(\d+) seeds, 0 failed", played.stdout)
    assert found is not None
    assert int(found[1]) >= int(SEEDS)


@pytest.mark.parametrize("name", NEEDED)
def test_a_large_batch_that_contained_none_of_what_it_should_fails(name: str) -> None:
    everything = Counter(dict.fromkeys(NEEDED, 1))
    assert missing(everything, NEEDED_FROM) == []
    assert missing(everything - Counter({name: 1}), NEEDED_FROM) == [name]
    assert missing(Counter(), NEEDED_FROM - 1) == []


def test_a_command_whose_batch_contained_too_little_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batch, "NEEDED_FROM", 1)
    assert play_many([QUIET_SEED], 1, None) == 1
    assert "FAILED: 1 seeds contained no crash in recovery" in capsys.readouterr().out


def test_a_command_without_seeds_says_what_to_give() -> None:
    refused = simulate()
    assert refused.returncode == 2
    assert "--seeds" in refused.stderr


def test_a_node_that_wants_a_repair_of_a_disk_that_did_nothing_wrong_fails_its_seed() -> None:
    world = World(1)

    async def start() -> None:
        world.hosts[0].give_up(StorageError("a bit is wrong", "start once with --reindex"))

    run(world.loop, start())
    assert len(world.failures) == 1
    assert "did nothing wrong" in world.failures[0]
    world.close()


def test_an_operator_who_is_told_to_sync_again_removes_the_ledger_and_nothing_else() -> None:
    world = World(1)
    host = world.hosts[0]
    before = set(host.disk.files)
    assert any("/blocks/" in name for name in before)

    async def start() -> None:
        host.disk.load(Image({"/n/peers.dat": b"kept"}, host.disk.database.rows), "/n0")
        host.is_damaged = True
        host.remedy = RESTORE_FILE
        host.start()
        assert not [name for name in host.disk.files if name.split("/")[2] in LEDGER_FOLDERS]
        assert not host.disk.database.rows
        assert bytes(host.disk.files["/n0/peers.dat"].data) == b"kept"

    run(world.loop, start())
    assert not world.failures
    world.close()


def test_a_task_that_breaks_fails_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(world: World, host: Host, api: ports.Node) -> None:
        raise KeyError("nobody awaits this")

    monkeypatch.setattr(World, "_pay_at", broken)
    world = World(1)
    assert any("nobody awaits this" in failure for failure in world.play().failures)
    world.close()
