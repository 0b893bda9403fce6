"""Forks and reorganisations: whatever came in before, the state is that of the winning branch."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from consensus.block import Block
from consensus.errors import Rule
from consensus.header_tree import Status
from consensus.params import TX_BYTES_MAX
from consensus.tx import BURN_LOCK, NATIVE, TxOut, decode_tx
from tests.support.chain import ALICE, BOB, ToyChain, rebuilt
from tests.support.economy import Economy, rewind, ripe_chain, whole_chain
from tests.support.node_chain import NodeChain, with_chain
from tests.support.recount import Recount, assert_knows, assert_rows_are, digest_of


class Fork:
    """One toy chain that was mined on, taken back, and mined on another way."""

    def __init__(self, seed: int, depth: int, rise: int | None = None) -> None:
        """The old branch has `depth` blocks, the new one `rise`, else one more."""
        toy = ripe_chain()
        economy = Economy(toy, random.Random(seed))
        economy.blocks(8)
        self.base = toy.tip.height
        economy.blocks(depth)
        self.old = whole_chain(toy)
        rewind(toy, depth)
        economy.blocks(rise or depth + 1)
        self.new = whole_chain(toy)
        self.toy = toy

    @property
    def branch(self) -> list[Block]:
        return self.new[self.base + 1 :]


async def assert_stands_at(node: NodeChain, blocks: list[Block]) -> None:
    assert node.chain.tip.hash == blocks[-1].header.hash
    wanted = Recount(blocks)
    assert_knows(node, wanted, page=50)
    assert digest_of(await node.coins_on_disk()) == wanted.digest()
    assert_knows(node, wanted, page=50)


@pytest.mark.parametrize("depth", [1, 6, 100, 101])
@pytest.mark.parametrize("flushed", [None, "before", "during"])
def test_after_a_reorganisation_the_state_is_that_of_a_node_that_saw_only_the_winner(
    tmp_path: Path, depth: int, flushed: str | None
) -> None:
    fork = Fork(depth, depth)

    async def loser_first(node: NodeChain) -> None:
        half = fork.base + 1 + depth // 2
        await node.give(fork.old[1:half])
        if flushed == "during":
            await node.chain.flush()
        await node.give(fork.old[half:])
        if flushed == "before":
            await node.chain.flush()
        assert_knows(node, Recount(fork.old), page=50)
        await node.give(fork.branch[:-1])
        assert node.chain.tip.hash == fork.old[-1].header.hash
        await node.give(fork.branch[-1:])
        (change,) = [change for change in node.changes if change.detached]
        assert [n.hash for n in change.detached] == [
            b.header.hash for b in reversed(fork.old[fork.base + 1 :])
        ]
        assert [a.block.header.hash for a in change.attached] == [
            b.header.hash for b in fork.branch
        ]
        await assert_stands_at(node, fork.new)

    async def winner_only(node: NodeChain) -> None:
        await node.give(fork.new[1:])
        await assert_stands_at(node, fork.new)

    with_chain(tmp_path / "a", loser_first)
    with_chain(tmp_path / "b", winner_only)
    assert_rows_are(tmp_path / "a", Recount(fork.new))
    assert_rows_are(tmp_path / "b", Recount(fork.new))


def test_the_forks_of_these_tests_have_everything_inside() -> None:
    fork = Fork(101, 101)
    kinds = {type(i).__name__ for b in fork.branch for tx in b.txs for i in tx.body.issuances}
    outs = [out for block in fork.branch for tx in block.txs for out in tx.body.outputs]
    payments = [tx for block in fork.branch for tx in block.txs[1:]]
    revealed = {type(witness.lock).__name__ for tx in payments for witness in tx.witnesses}
    assert kinds == {"Issue", "Reissue"}
    assert any(out.lock == BURN_LOCK and out.asset != NATIVE for out in outs)
    assert revealed == {"Key", "Threshold"}
    assert any(tx.body.expiry for tx in payments)
    coinbases = {block.txs[0].txid for block in fork.new[1:]}
    assert any(spent[:32] in coinbases for tx in payments for spent in tx.body.inputs)


def test_a_transaction_that_both_branches_hold_keeps_its_coins(tmp_path: Path) -> None:
    # The same outpoints are taken away and made again at another height, across a flush.
    toy = ripe_chain()
    base = toy.tip.height
    payment = toy.pay(ALICE, BOB, 1_000)
    toy.mine([payment])
    onward = toy.spend(
        [s for s in toy.coins_of(BOB) if s.startswith(payment.txid)],
        [TxOut(NATIVE, 900, ALICE.lock)],
    )
    toy.mine_empty(2)
    old = whole_chain(toy)
    rewind(toy, 3)
    toy.mine_empty(2)
    toy.mine([payment])
    toy.mine([onward])
    new = whole_chain(toy)
    for flush_at in range(5):
        path = tmp_path / str(flush_at)

        async def scenario(node: NodeChain, flush_at: int = flush_at) -> None:
            steps = [old[1 : base + 2], old[base + 2 :], new[base + 1 : base + 4], new[base + 4 :]]
            for number, blocks in enumerate(steps):
                if number == flush_at:
                    await node.chain.flush()
                await node.give(blocks)
            await assert_stands_at(node, new)

        with_chain(path, scenario)
        assert_rows_are(path, Recount(new))


@pytest.mark.parametrize("seed", range(4))
def test_blocks_in_any_order_of_arrival_give_one_tip_and_one_coin_set(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    fork = Fork(seed, 5, 7)
    blocks = list({b.header.hash: b for b in (*fork.old[1:], *fork.new[1:])}.values())
    headers = [block.header for block in blocks]
    rng.shuffle(blocks)

    async def scenario(node: NodeChain) -> None:
        node.chain.add_headers(headers)
        for number, block in enumerate(blocks):
            await node.chain.accept_block(block.raw)
            if number % 20 == 0:
                await node.settled()
            if number % 50 == 10:
                await node.chain.flush()
        await node.settled()
        await assert_stands_at(node, fork.new)

    with_chain(tmp_path, scenario)
    assert_rows_are(tmp_path, Recount(fork.new))


def test_of_two_branches_of_equal_work_the_first_seen_stays(tmp_path: Path) -> None:
    fork = Fork(3, 4, 4)

    async def scenario(node: NodeChain) -> None:
        await node.give(fork.old[1:])
        await node.give(fork.branch)
        assert node.chain.tip.hash == fork.old[-1].header.hash
        assert not [change for change in node.changes if change.detached]

    with_chain(tmp_path, scenario)


def invalid_after(toy: ToyChain) -> Block:
    """A block on the tip that takes more than the subsidy and the fees."""
    return toy.template(reward=toy.params.subsidy_at(toy.tip.height + 1) + 1)


def on_top(toy: ToyChain, parent: Block, count: int) -> list[Block]:
    """Empty blocks on a block that the toy chain refused."""
    node = toy.tree.add(parent.header, parent.header.time)
    made = []
    for _ in range(count):
        block = toy.template(parent=node)
        node = toy.tree.add(block.header, block.header.time)
        made.append(block)
    return made


@pytest.mark.parametrize("valid_part", [2, 5, 6])
def test_a_branch_with_an_invalid_block_leaves_the_best_of_what_is_valid(
    tmp_path: Path, valid_part: int
) -> None:
    depth = 5
    toy = ripe_chain()
    economy = Economy(toy, random.Random(valid_part))
    economy.blocks(3)
    base = toy.tip.height
    economy.blocks(depth)
    old = whole_chain(toy)
    rewind(toy, depth)
    economy.blocks(valid_part)
    partly = whole_chain(toy)
    bad = invalid_after(toy)
    branch = [*partly[base + 1 :], bad, *on_top(toy, bad, 6)]
    wins = valid_part > depth
    wanted = partly if wins else old

    async def scenario(node: NodeChain) -> None:
        await node.give(old[1:])
        await node.chain.flush()
        before = await node.coins_on_disk()
        node.chain.add_headers([block.header for block in branch])
        # The end first, so that the whole branch is tried at once.
        for block in reversed(branch):
            await node.chain.accept_block(block.raw)
        await node.settled()
        await assert_stands_at(node, wanted)
        assert all(change.tip.work > change.previous.work for change in node.changes)
        if not wins:
            assert await node.coins_on_disk() == before
        ((condemned, violation),) = node.condemned
        assert condemned.hash == bad.header.hash
        assert violation.rule is Rule.COINBASE_AMOUNT
        for block in branch[valid_part:]:
            found = node.chain.tree.get(block.header.hash)
            assert found is not None
            assert found.status is Status.INVALID
        assert node.chain.tree.best_header.hash == wanted[-1].header.hash

    with_chain(tmp_path, scenario)
    assert_rows_are(tmp_path, Recount(wanted))


def forged_payment(toy: ToyChain, amount: int) -> Block:
    """A next block with a payment whose signature does not hold."""
    payment = toy.pay(ALICE, BOB, amount)
    block = toy.template([payment])
    item = payment.witnesses[0].items[0]
    forged = payment.raw.replace(item, item[:-1] + bytes((item[-1] ^ 1,)))
    return rebuilt(block, lambda txs: [txs[0], decode_tx(forged, TX_BYTES_MAX)])


def test_a_bad_signature_deep_in_a_branch_restores_the_old_tip(tmp_path: Path) -> None:
    toy = ripe_chain()
    base = toy.tip.height
    toy.mine_empty(2)
    old = whole_chain(toy)
    rewind(toy, 2)
    good = toy.mine([toy.pay(ALICE, BOB, 5)])
    bad = forged_payment(toy, 7)
    branch = [good, bad, *on_top(toy, bad, 3)]

    async def scenario(node: NodeChain) -> None:
        await node.give(old[1:])
        node.chain.add_headers([block.header for block in branch])
        for block in reversed(branch):
            await node.chain.accept_block(block.raw)
        await node.settled()
        await assert_stands_at(node, old)
        assert node.condemned[0][1].rule is Rule.BAD_SIGNATURE
        assert base + 2 == node.chain.tip.height
        assert not [change for change in node.changes if change.detached], "it was never left"

    with_chain(tmp_path, scenario)


def test_a_bad_signature_below_what_is_staged_leaves_the_next_best_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each block is a stretch: the next is connected on top while its signatures are verified.
    monkeypatch.setattr("node.connector.STAGED_TXS_MAX", 1)
    toy = ripe_chain()
    base = toy.tip.height
    toy.mine_empty(2)
    best = whole_chain(toy)
    rewind(toy, 2)
    good = toy.mine([toy.pay(ALICE, BOB, 5)])
    forged = forged_payment(toy, 7)
    branch = [good, forged, *on_top(toy, forged, 6)]

    async def scenario(node: NodeChain) -> None:
        await node.give(best[1 : base + 1])
        node.chain.add_headers([block.header for block in (*best[base + 1 :], *branch)])
        for block in (*reversed(best[base + 1 :]), *reversed(branch)):
            await node.chain.accept_block(block.raw)
        await node.settled()
        await assert_stands_at(node, best)
        ((condemned, violation),) = node.condemned
        assert condemned.hash == forged.header.hash
        assert violation.rule is Rule.BAD_SIGNATURE

    with_chain(tmp_path, scenario)
    assert_rows_are(tmp_path, Recount(best))


@pytest.mark.parametrize("seed", range(3))
def test_a_long_way_in_short_steps_with_many_flushes_leads_to_the_same_state(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with tens of thousands of transactions: published in parts, flushed on the way.
    monkeypatch.setattr("node.connector.STAGED_TXS_MAX", 5)
    monkeypatch.setattr("node.chain.STAGED_BLOCKS_MAX", 3)
    monkeypatch.setattr("node.chain.FLUSH_ROWS", 60)
    fork = Fork(seed, 9, 25)

    async def scenario(node: NodeChain) -> None:
        node.chain.add_headers([block.header for block in (*fork.old[1:], *fork.branch)])
        for block in (*reversed(fork.old[1:]), *reversed(fork.branch)):
            await node.chain.accept_block(block.raw)
        await node.settled()
        assert len(node.changes) > 10
        assert node.store.flushed is not None
        assert node.store.flushed.hash != fork.new[0].header.hash
        await assert_stands_at(node, fork.new)

    with_chain(tmp_path, scenario)
    assert_rows_are(tmp_path, Recount(fork.new))
