"""Nodes that find one chain: payments by wallet, late comers, forks, kills, restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.asset import asset_id, authority_id
from consensus.params import COIN
from consensus.tx import BURN_LOCK, NATIVE, AssetDefinition, Issue, Reissue, TxOut, outpoint
from tests.functional.wallets import CliWallet
from tests.support.chain import ALICE, BOB, CAROL, DAVE, FEE, ToyChain, blocks_of, digest_of
from tests.support.daemon import Daemon, feed, running, wait_for, wait_for_one_tip

GOLD = AssetDefinition(b"GOLD", b"Gold", 3, b"", True)


def issue(chain: ToyChain) -> None:
    """Mine an issue of GOLD by Alice, a payment of some of it, a reissue and a destruction."""
    spent = chain.coins_of(ALICE)[0]
    gold = asset_id(spent, GOLD)
    made = chain.spend(
        [spent],
        [
            TxOut(gold, 1_000, ALICE.lock),
            TxOut(authority_id(gold), 1, ALICE.lock),
            TxOut(NATIVE, chain.coins[spent].amount - 10_000, ALICE.lock),
        ],
        issuances=[Issue(0, GOLD, 1_000)],
    )
    chain.mine([made])
    coins = [outpoint(made.txid, index) for index in range(3)]
    more = chain.spend(
        coins,
        [
            TxOut(gold, 1_400, BOB.lock),
            TxOut(gold, 100, BURN_LOCK),
            TxOut(authority_id(gold), 1, ALICE.lock),
            TxOut(NATIVE, chain.coins[coins[2]].amount - 10_000, CAROL.lock),
        ],
        issuances=[Reissue(gold, 500)],
    )
    chain.mine([more])


@pytest.mark.parametrize("depth", [1, 6, 101])
def test_fork_with_issuance_ends_like_a_node_that_saw_only_the_winner(
    tmp_path: Path, depth: int
) -> None:
    loser = ToyChain()
    loser.fund(ALICE, 3)
    common = loser.tip.height
    winner = ToyChain()
    for block in blocks_of(loser):
        winner.connect(block.raw)
    issue_first = min(depth, 2)
    if depth == 1:
        loser.mine([loser.pay(ALICE, BOB, COIN)])
    else:
        issue(loser)
    loser.mine_empty(depth - issue_first, BOB.lock)
    winner.mine([winner.pay(ALICE, CAROL, 2 * COIN)])
    issue(winner)
    winner.mine_empty(max(0, depth - 2), CAROL.lock)
    assert loser.tip.height == common + depth
    assert winner.tip.height > loser.tip.height

    a, b, fresh = (Daemon(tmp_path / name) for name in ("a", "b", "fresh"))
    with running(a, b, fresh):
        feed(a, blocks_of(loser))
        feed(b, blocks_of(winner))
        assert a.call("gettxoutsetinfo")["coinset"] == digest_of(loser)
        a.call("addnode", b.p2p, "add")
        assert wait_for_one_tip([a, b]) == winner.tip.hash[::-1].hex()
        fresh.call("addnode", b.p2p, "add")
        wait_for_one_tip([b, fresh])
        sets = [daemon.call("gettxoutsetinfo") for daemon in (a, b, fresh)]
        assert [found["coinset"] for found in sets] == [digest_of(winner)] * 3
        assert sets[0] == sets[2]


def test_payments_by_wallet_reach_the_third_node_and_a_late_fourth(tmp_path: Path) -> None:
    first = Daemon(tmp_path / "first")
    with running(first):
        second = Daemon(tmp_path / "second", "--connect", first.p2p)
        with running(second):
            third = Daemon(tmp_path / "third", "--connect", second.p2p)
            with running(third):
                alice = CliWallet(tmp_path / "alice.wallet", first)
                bob = CliWallet(tmp_path / "bob.wallet", third)
                first.call("generatetoaddress", 101, alice.address)
                wait_for_one_tip([first, second, third])
                for amount in ("1", "0.5", "0.25"):
                    alice.run("send", bob.address, amount, "--yes")
                query = {"addresses": [bob.address]}
                # All of them: nodes tell each other of addresses, so there may be a shorter way.
                wait_for(
                    lambda: all(
                        node.call("getaddressbalance", query)["unconfirmed"] == 175_000_000
                        for node in (first, second, third)
                    ),
                    "the payments reach every node",
                )
                second.call("generatetoaddress", 1, alice.address)
                wait_for_one_tip([first, second, third])
                found = third.call("getaddressbalance", query)
                assert (found["balance"], found["unconfirmed"]) == (175_000_000, 0)
                fourth = Daemon(tmp_path / "fourth", "--connect", first.p2p, "--connect", third.p2p)
                with running(fourth):
                    wait_for_one_tip([first, second, third, fourth])
                    assert fourth.call("getaddressbalance", query)["balance"] == 175_000_000
                    hashes = {
                        daemon.call("gettxoutsetinfo")["coinset"]
                        for daemon in (first, second, third, fourth)
                    }
                    assert len(hashes) == 1


def test_block_of_known_payments_travels_to_the_third_node_in_a_few_bytes(tmp_path: Path) -> None:
    chain = ToyChain()
    coins = chain.fund(ALICE, 40)
    output = TxOut(NATIVE, chain.coins[coins[0]].amount - FEE, BOB.lock)
    payments = [chain.spend([spent], [output]) for spent in coins]
    first = Daemon(tmp_path / "first")
    with running(first):
        feed(first, blocks_of(chain))
        second = Daemon(tmp_path / "second", "--connect", first.p2p)
        with running(second):
            third = Daemon(tmp_path / "third", "--connect", second.p2p)
            with running(third):
                wait_for_one_tip([first, second, third])
                for payment in payments:
                    first.call("sendrawtransaction", payment.raw.hex())
                wait_for(
                    lambda: third.call("getmempoolinfo")["size"] == len(payments),
                    "the payments reach the third node",
                )
                before = third.call("getnettotals")["totalbytesrecv"]
                (made,) = first.call("generatetoaddress", 1, BOB.address())
                assert wait_for_one_tip([first, second, third]) == made
                received = third.call("getnettotals")["totalbytesrecv"] - before
                block = bytes.fromhex(third.call("getblock", made, 0))
                assert sum(payment.raw in block for payment in payments) == len(payments)
                assert received < len(block) / 4
                hashes = {node.call("gettxoutsetinfo")["coinset"] for node in (first, third)}
                assert len(hashes) == 1


def test_kill_behind_a_block_that_was_taken_in_loses_nothing(tmp_path: Path) -> None:
    chain = ToyChain()
    chain.fund(ALICE, 30)
    for _ in range(10):
        chain.mine([chain.pay(ALICE, BOB, COIN)])
    blocks = blocks_of(chain)
    daemon = Daemon(tmp_path / "node")
    with running(daemon):
        for start in range(0, len(blocks), 20):
            part = blocks[start : start + 20]
            feed(daemon, part)
            daemon.kill()
            daemon.start()
            assert daemon.tip == part[-1].header.hash[::-1].hex()
        assert daemon.call("gettxoutsetinfo")["coinset"] == digest_of(chain)
        assert daemon.stop() == 0


def test_mempool_is_kept_over_a_restart(tmp_path: Path) -> None:
    chain = ToyChain()
    chain.fund(ALICE, 3)
    payment = chain.pay(ALICE, DAVE, COIN)
    daemon = Daemon(tmp_path / "node")
    with running(daemon):
        feed(daemon, blocks_of(chain))
        txid = daemon.call("sendrawtransaction", payment.raw.hex())
        assert daemon.stop() == 0
        daemon.start()
        wait_for(lambda: daemon.call("getrawmempool") == [txid], "the payment is back")


def test_a_payment_that_nobody_heard_of_is_told_after_a_restart(tmp_path: Path) -> None:
    chain = ToyChain()
    chain.fund(ALICE)
    payment = chain.pay(ALICE, BOB, COIN)
    alone, late = Daemon(tmp_path / "alone"), Daemon(tmp_path / "late")
    with running(alone, late):
        feed(alone, blocks_of(chain))
        feed(late, blocks_of(chain))
        txid = alone.call("sendrawtransaction", payment.raw.hex())
        alone.stop()
        alone.start()
        assert alone.call("getrawmempool") == [txid]
        late.call("addnode", alone.p2p, "add")
        wait_for(lambda: late.call("getrawmempool") == [txid], "the other has heard of it")


def test_second_process_on_one_data_directory_is_refused(tmp_path: Path) -> None:
    first = Daemon(tmp_path / "node")
    second = Daemon(tmp_path / "node")
    with running(first):
        second.start(ready=False)
        assert second.wait() == 1
        assert len(second.log) == 2, second.log
        assert "another process uses" in second.log[-1]


def test_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    first = Daemon(tmp_path / "first")
    with running(first):
        for name, option in (("second", "--rpc"), ("third", "--p2p")):
            port = first.rpc_port if option == "--rpc" else first.p2p_port
            other = Daemon(tmp_path / name, option, f"127.0.0.1:{port}")
            other.start(ready=False)
            assert other.wait() == 1
            assert f"127.0.0.1:{port}" in other.log[-1]
            assert not any("Traceback" in line for line in other.log)
