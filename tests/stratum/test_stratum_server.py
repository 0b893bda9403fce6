"""What the server has its miners work on, on a real ledger with a clock that is set."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from consensus.hashes import LockHash
from consensus.params import REGTEST
from node.stratum.messages import Refusal, Refused
from node.stratum.server import CHOICE_AGE_S, StratumServer
from p2p.ports import Endpoint
from tests.node.rpc_kit import Bench, with_node
from tests.support.chain import ALICE, BOB, CAROL, Person, ToyChain, solve


class Shop:
    """A server that listens nowhere, and the node behind it."""

    def __init__(
        self, bench: Bench, payout: LockHash | None = None, fallback: LockHash | None = None
    ) -> None:
        self.bench = bench
        self.monotonic = 50.0
        self.server = StratumServer(
            bench.node, Endpoint("127.0.0.1", 0), payout, fallback, lambda: self.monotonic, 0, 8
        )


def test_jobs_hold_one_choice_for_seconds_and_pay_everybody_for_oneself(tmp_path: Path) -> None:
    chain = ToyChain()
    chain.fund(ALICE, 1)

    async def scenario(bench: Bench) -> None:
        shop = Shop(bench)
        first = shop.server.template(ALICE.lock)
        assert first is not None
        bench.send(chain.pay(ALICE, BOB, 1_000))
        shop.monotonic += CHOICE_AGE_S - 1
        bench.now += 2
        second = shop.server.template(BOB.lock)
        assert second is not None
        assert second.choice is first.choice
        assert (second.payout, second.time) == (BOB.lock, first.time + 2)
        shop.monotonic += 1
        third = shop.server.template(ALICE.lock)
        assert third is not None
        assert len(third.entries) == 1
        await bench.mine()
        fourth = shop.server.template(ALICE.lock)
        assert fourth is not None
        assert fourth.parent is bench.ledger.tip

    with_node(tmp_path, scenario, chain=chain)


def test_network_that_begins_late_gives_no_work_and_says_why_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = msgspec.structs.replace(REGTEST, retarget=True)

    async def scenario(bench: Bench) -> None:
        shop = Shop(bench)
        bench.node.templates._allow_stale_genesis = False
        assert shop.server.template(ALICE.lock) is None
        assert shop.server.template(ALICE.lock) is None
        (record,) = caplog.records
        assert "genesis-stale" in record.message

    with_node(tmp_path, scenario, params)


def _lock(person: Person | None) -> LockHash | None:
    return None if person is None else person.lock


@pytest.mark.parametrize(
    ("payout", "fallback", "name", "paid"),
    [
        (CAROL, BOB, ALICE.address(), CAROL),
        (CAROL, None, "rig", CAROL),
        (None, BOB, ALICE.address(), ALICE),
        (None, None, ALICE.address() + ".rig.1", ALICE),
        (None, None, ALICE.address().upper(), ALICE),
        (None, BOB, "rig", BOB),
        (None, None, "rig", None),
        (None, BOB, ALICE.address()[:-1], None),
        (None, BOB, "tael1pq", None),
        (None, BOB, "TTAEL1", None),
    ],
)
def test_worker_is_paid_as_the_operator_or_its_name_says(
    payout: Person | None, fallback: Person | None, name: str, paid: Person | None, tmp_path: Path
) -> None:
    async def scenario(bench: Bench) -> None:
        server = Shop(bench, _lock(payout), _lock(fallback)).server
        if paid is None:
            with pytest.raises(Refused) as refused:
                server.payee(name)
            assert refused.value.reason is Refusal.UNAUTHORIZED
        else:
            assert server.payee(name) == (paid.lock, paid.address())

    with_node(tmp_path, scenario)


def test_block_that_is_refused_leaves_room_for_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(bench: Bench) -> None:
        shop = Shop(bench)
        worker = shop.server.arrive("rig", ALICE.address())
        template = shop.server.template(ALICE.lock)
        assert template is not None
        # With a nonce that meets no target.
        good = solve(template.mined(bytes(8), template.time, 0).block)
        nonce = next(
            nonce for nonce in range(100)
            if template.mined(bytes(8), template.time, nonce).header.hash[31] >= 0x80
        )  # fmt: skip
        shop.server.found(template.mined(bytes(8), template.time, nonce), worker)
        await shop.server.close()
        assert "refused" in caplog.text
        assert bench.ledger.tip.height == 0
        shop.server.found(template.mined(bytes(8), template.time, good.header.nonce), worker)
        shop.server.found(template.mined(b"sibling.", template.time, 0), worker)
        await shop.server.close()
        assert bench.ledger.tip.hash == good.header.hash
        assert worker.blocks == 1

    with_node(tmp_path, scenario)
