"""Miners that mine real blocks at a real node, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chain import ALICE, BOB
from tests.support.daemon import Daemon, running, wait_for
from tests.support.stratum_miner import StratumMiner

STALE, DUPLICATE, LOW, UNAUTHORIZED, UNSUBSCRIBED = 21, 22, 23, 24, 25


def make_daemon(folder: Path, *options: str, network: str = "regtest") -> Daemon:
    return Daemon(
        folder, "--stratum", "127.0.0.1:0", "--verify-processes", "0", *options, network=network
    )


def port(daemon: Daemon) -> int:
    return wait_for(lambda: daemon.doors.get("stratum", 0), "the node listens to miners")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Blocks of a network where they cost nothing, as fast as they are found."""
    found = make_daemon(tmp_path, "--mine-interval", "0")
    with running(found):
        yield found


def balance(daemon: Daemon, address: str) -> int:
    return int(daemon.call("getaddressbalance", {"addresses": [address]})["received"])


def worker(daemon: Daemon, name: str) -> dict[str, Any]:
    (found,) = [w for w in daemon.call("getstratuminfo")["workers"] if w["name"] == name]
    return dict(found)


def mine_blocks(daemon: Daemon, miner: StratumMiner, count: int) -> None:
    """Each on the one before."""
    for _ in range(count):
        miner.work()
        known = len(miner.works)
        assert miner.mine_block()
        assert miner.work(after=known).is_clean


def test_miner_is_paid_for_blocks_by_the_address_that_is_its_name(daemon: Daemon) -> None:
    with StratumMiner(port(daemon), ALICE.address()) as miner:
        mine_blocks(daemon, miner, 3)
        assert all(work.is_clean for work in miner.works)
    assert daemon.call("getblockcount") == 3
    assert balance(daemon, ALICE.address()) == 3 * daemon.call("getblocktemplate")["coinbasevalue"]
    wait_for(lambda: any("stratum: found block 3" in line for line in daemon.log), "it is told")


def test_payment_that_waits_is_in_the_block_that_a_miner_finds(daemon: Daemon) -> None:
    daemon.call("generatetoaddress", 1, BOB.address())
    with StratumMiner(port(daemon), ALICE.address()) as miner:
        mine_blocks(daemon, miner, 1)
        assert len(daemon.call("getblock", daemon.tip)["tx"]) == 1
