"""Miners that mine real blocks at a real node, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from consensus.hashes import to_text
from consensus.params import MAIN
from consensus.tx import NATIVE, TxOut
from node.config import load_params
from tests.support.chain import ALICE, BOB, CAROL, ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, running, wait_for
from tests.support.stratum_miner import Closed, Refusal, StratumMiner

STALE, DUPLICATE, UNAUTHORIZED = 21, 22, 24
MAIN_ADDRESS = ALICE.address(MAIN)


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


def test_jobs_follow_blocks_that_others_mine(daemon: Daemon) -> None:
    with StratumMiner(port(daemon), ALICE.address()) as miner:
        share = miner.search(miner.work())
        daemon.call("generatetoaddress", 1, BOB.address())
        assert miner.work(after=1).is_clean
        with pytest.raises(Refusal) as refused:
            miner.submit(share)
        assert refused.value.code == STALE
        mine_blocks(daemon, miner, 1)
    assert daemon.call("getblockcount") == 2


def test_payment_that_waits_is_in_the_block_that_a_miner_finds(daemon: Daemon) -> None:
    chain = ToyChain()
    coins = chain.fund(ALICE, 1)
    feed(daemon, blocks_of(chain))
    tx = chain.spend(
        coins, [TxOut(NATIVE, chain.coins[coins[0]].amount - 5_000, BOB.lock)], [ALICE]
    )
    assert daemon.call("sendrawtransaction", tx.raw.hex()) == to_text(tx.txid)
    with StratumMiner(port(daemon), CAROL.address()) as miner:
        mine_blocks(daemon, miner, 1)
    assert to_text(tx.txid) in daemon.call("getblock", daemon.tip)["tx"]
    assert balance(daemon, BOB.address()) == chain.coins[coins[0]].amount - 5_000


def test_two_miners_have_spaces_of_their_own_and_are_paid_for_their_own_blocks(
    daemon: Daemon,
) -> None:
    at = port(daemon)
    with StratumMiner(at, ALICE.address()) as first, StratumMiner(at, BOB.address()) as second:
        assert first.extranonce1 != second.extranonce1
        mine_blocks(daemon, first, 1)
        second.work(after=1)
        mine_blocks(daemon, second, 1)
    assert balance(daemon, ALICE.address()) == balance(daemon, BOB.address()) > 0


def test_what_workers_have_done_is_told(daemon: Daemon) -> None:
    name = f"{ALICE.address()}.rig1"
    with StratumMiner(port(daemon), name) as miner:
        mine_blocks(daemon, miner, 1)
        work = miner.work()
        share = miner.search(work, above=work.block_target)
        assert miner.submit(share)
        with pytest.raises(Refusal) as refused:
            miner.submit(share)
        assert refused.value.code == DUPLICATE
        found = worker(daemon, name)
        info = daemon.call("getstratuminfo")
    assert {key: found[key] for key in ("address", "agent", "connections", "accepted")} == {
        "address": ALICE.address(), "agent": "tests/1.0", "connections": 1, "accepted": 2,
    }  # fmt: skip
    assert (found["duplicate"], found["stale"], found["blocks"]) == (1, 0, 1)
    assert found["hashps"] > 0
    assert (info["listening"], info["connections"]) == (f"127.0.0.1:{port(daemon)}", 1)
    wait_for(lambda: worker(daemon, name)["connections"] == 0, "it has left")


def test_name_that_says_not_who_is_paid_is_refused(daemon: Daemon) -> None:
    for name in (MAIN_ADDRESS, ALICE.address()[:-1] + "q", "RTAEL1x.rig", "worker", ""):
        with pytest.raises(Refusal, match="address") as refused:
            StratumMiner(port(daemon), name)
        assert refused.value.code == UNAUTHORIZED
    assert daemon.call("getstratuminfo")["workers"] == []


def test_hostile_clients_are_cut_off_while_a_miner_goes_on(daemon: Daemon) -> None:
    at = port(daemon)
    with StratumMiner(at, ALICE.address()) as miner:
        for data in (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(100_000), b"\n" * 50_000 + b"}\n",
            b'{"id":1,"method":"mining.authorize","params":["' + b"x" * 10_000 + b'"]}\n',
            b"[" * 4_000 + b"\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
            b'{"method":"mining.nothing"}\n' * 150,
        ):  # fmt: skip
            with StratumMiner(at) as hostile:
                with suppress(ConnectionError):
                    hostile.send(data)
                hostile.read_to_the_end()
        mine_blocks(daemon, miner, 1)
    wait_for(lambda: daemon.call("getstratuminfo")["connections"] == 0, "all have left")
    assert not [line for line in daemon.log if "ERROR" in line or "Traceback" in line]


def test_crowd_of_idle_connections_leaves_room_for_a_miner(daemon: Daemon) -> None:
    at = port(daemon)
    with ExitStack() as stack:
        miner = stack.enter_context(StratumMiner(at, ALICE.address()))
        mine_blocks(daemon, miner, 1)
        for _ in range(300):
            stack.enter_context(StratumMiner(at))
        late = stack.enter_context(StratumMiner(at, BOB.address()))
        mine_blocks(daemon, late, 1)
        # Those that were accepted and have not begun yet are not counted.
        assert daemon.call("getstratuminfo")["connections"] <= 256 + 4
        miner.work(after=2)
        mine_blocks(daemon, miner, 1)


def test_miner_goes_on_after_the_node_was_killed(tmp_path: Path) -> None:
    daemon = make_daemon(tmp_path, "--mine-interval", "0")
    with running(daemon):
        with StratumMiner(port(daemon), ALICE.address()) as miner:
            mine_blocks(daemon, miner, 2)
            share = miner.search(miner.work())
            daemon.kill()
            with pytest.raises((Closed, ConnectionError)):
                miner.submit(share)
        daemon.doors.clear()
        daemon.start()
        before = daemon.call("getblockcount")
        with StratumMiner(port(daemon), ALICE.address()) as miner:
            with pytest.raises(Refusal) as refused:
                miner.submit(["x", *share[1:]])
            assert refused.value.code == UNAUTHORIZED
            mine_blocks(daemon, miner, 1)
        assert daemon.call("getblockcount") == before + 1
        assert daemon.stop() == 0


def test_block_that_costs_nothing_is_made_no_faster_than_the_interval(tmp_path: Path) -> None:
    daemon = make_daemon(tmp_path, "--mine-interval", "3600", "--stratum-to", BOB.address())
    with running(daemon), StratumMiner(port(daemon), "any name") as miner:
        mine_blocks(daemon, miner, 1)
        for _ in range(5):
            assert miner.mine_block()
        assert daemon.call("getblockcount") == 1
        assert balance(daemon, BOB.address()) > 0
        assert worker(daemon, "any name")["accepted"] == 6


def test_miners_without_an_address_work_for_the_node_beside_its_own_miner(tmp_path: Path) -> None:
    daemon = make_daemon(tmp_path, "--mine-interval", "1", "--mine-to", CAROL.address())
    with running(daemon), StratumMiner(port(daemon), "worker") as miner:
        first = miner.work()
        wait_for(lambda: daemon.call("getblockcount") > 0, "the built-in miner has found one")
        assert miner.work(after=1).previous != first.previous
        assert worker(daemon, "worker")["address"] == CAROL.address()


def test_blocks_that_are_worth_their_work_are_found_with_rolled_versions(tmp_path: Path) -> None:
    network = tmp_path / "easy.toml"
    network.write_text(
        f'name = "easy"\nhrp = "etael"\nticker = "EASY"\ngenesis_time = {int(time.time()) - 600}\n'
        "interval_s = 30\nhalf_life_blocks = 288\nspacing_s = 0\nfuture_s = 7200\nsubsidy = 5000\n"
        "halving_blocks = 1000\npow_limit_bits = 0x1F7FFFFF\nretarget = true\n"
    )
    daemon = make_daemon(
        tmp_path / "node", "--stratum-to", ALICE.address(load_params(str(network))),
        network=str(network),
    )  # fmt: skip
    with running(daemon), StratumMiner(port(daemon)) as miner:
        assert miner.ask("mining.configure", ["version-rolling"], {}) == {
            "version-rolling": True, "version-rolling.mask": "1fffe000",
        }  # fmt: skip
        miner.subscribe()
        miner.user = "worker"
        assert miner.ask("mining.authorize", "worker", "x")
        for height, rolled in enumerate((0x2000, 0x1FFFE000, 0), 1):
            work = miner.work()
            assert work.target >= work.block_target
            known = len(miner.works)
            assert miner.submit(miner.search(work, work.block_target, rolled))
            miner.work(after=known)
            shown = daemon.call("getblockheader", daemon.tip)
            assert (shown["height"], shown["version"]) == (height, 0x20000000 | rolled)


def test_who_is_paid_needs_a_place_where_miners_connect(tmp_path: Path) -> None:
    for options, told in (
        (("--stratum-to", ALICE.address()), "stratum-to: without stratum no miner is given work"),
        (("--stratum", "127.0.0.1", "--stratum-to", MAIN_ADDRESS), "stratum-to: "),
        (("--stratum", "127.0.0.1:99999"), "a port is at most"),
    ):
        daemon = Daemon(tmp_path, *options).start(ready=False)
        assert daemon.wait() != 0
        assert told in daemon.log[-1]
