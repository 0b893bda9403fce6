"""Blocks coming in: what is refused changes nothing, and is refused again for the same reason."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.block import Block, make_block, make_header
from consensus.errors import (
    DecodeError,
    Invalid,
    Missing,
    Premature,
    Rule,
    StorageError,
    Violation,
)
from consensus.header_tree import Status
from consensus.params import TX_BYTES_MAX
from consensus.tx import NATIVE, OutPoint, Tx, TxOut, decode_tx, make_coinbase
from tests.support.chain import ALICE, BOB, DAVE, ToyChain, rebuilt
from tests.support.economy import Economy, blocks_of, ripe_chain, whole_chain
from tests.support.node_chain import FAR_FUTURE, NodeChain, with_chain
from tests.support.recount import Recount, assert_knows, digest_of


def forged(tx: Tx) -> Tx:
    """`tx` with a signature that does not hold."""
    item = tx.witnesses[0].items[0]
    raw = tx.raw.replace(item, item[:-1] + bytes((item[-1] ^ 1,)))
    return decode_tx(raw, TX_BYTES_MAX)


def _twice_in_one_block(toy: ToyChain) -> Block:
    first = toy.pay(ALICE, BOB, 1)
    spent = first.body.inputs[0]
    amount = toy.coins[spent].amount - 20_000
    return toy.template([first, toy.spend([spent], [TxOut(NATIVE, amount, BOB.lock)])])


def _immature(toy: ToyChain) -> Block:
    young = max(toy.coins, key=lambda spent: toy.coins[spent].height)
    return toy.template([toy.spend([young], [TxOut(NATIVE, 1, BOB.lock)])])


def _expired(toy: ToyChain) -> Block:
    spent = toy.coins_of(ALICE)[0]
    return toy.template([toy.spend([spent], [TxOut(NATIVE, 1, BOB.lock)], expiry=5)])


def _overspending(toy: ToyChain) -> Block:
    spent = toy.coins_of(ALICE)[0]
    amount = toy.coins[spent].amount + 1
    return toy.template([toy.spend([spent], [TxOut(NATIVE, amount, BOB.lock)])])


def _unlocked_with_another_key(toy: ToyChain) -> Block:
    spent = toy.coins_of(ALICE)[0]
    mine = toy.coins[toy.coins_of(DAVE)[0]]
    tx = toy.spend([spent], [TxOut(NATIVE, 1, BOB.lock)], extra_coins={spent: mine})
    return toy.template([tx])


def _of_another_height(toy: ToyChain) -> Block:
    return toy.template(coinbase=make_coinbase(3, [TxOut(NATIVE, 1, BOB.lock)], bytes(8)))


WITH_CONTEXT: dict[Rule, Callable[[ToyChain], Block]] = {
    Rule.COINBASE_AMOUNT: lambda toy: toy.template(reward=10**12),
    Rule.COINBASE_HEIGHT: _of_another_height,
    Rule.BAD_SIGNATURE: lambda toy: toy.template([forged(toy.pay(ALICE, BOB, 1))]),
    Rule.COIN_MISSING: _twice_in_one_block,
    Rule.COIN_IMMATURE: _immature,
    Rule.TX_EXPIRED: _expired,
    Rule.OVERSPEND: _overspending,
    Rule.LOCK_MISMATCH: _unlocked_with_another_key,
}
"""Blocks whose fault shows when they are connected."""


@pytest.mark.parametrize("rule", list(WITH_CONTEXT))
def test_block_that_breaks_a_rule_in_its_place_is_refused_and_changes_no_coin(
    tmp_path: Path, rule: Rule
) -> None:
    toy = ripe_chain()
    bad = WITH_CONTEXT[rule](toy)

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        before = await node.coins_on_disk()
        undo = node.store.undo.end
        for _ in range(2):
            with pytest.raises(Invalid) as caught:
                await node.chain.submit_block(bad.raw)
            assert caught.value.rule is rule
        with pytest.raises(Invalid) as again:
            await node.chain.accept_block(bad.raw)
        assert again.value.rule is rule
        assert node.chain.tip.hash == toy.tip.hash
        assert await node.coins_on_disk() == before
        assert_knows(node, Recount(whole_chain(toy)), page=50)
        assert [violation.rule for _, violation in node.condemned] == [rule]
        if rule is not Rule.BAD_SIGNATURE:
            assert node.store.undo.end == undo
        # The right block at this height is not held back.
        good = toy.template([toy.pay(ALICE, BOB, 1)])
        await node.chain.submit_block(good.raw)
        assert node.chain.tip.hash == good.header.hash

    with_chain(tmp_path, scenario)


def test_a_refused_block_is_still_refused_after_a_restart(tmp_path: Path) -> None:
    toy = ripe_chain()
    bad = [make(toy) for make in WITH_CONTEXT.values()]

    async def first(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        for block in bad:
            with pytest.raises(Invalid):
                await node.chain.submit_block(block.raw)
        await node.chain.flush()

    async def later(node: NodeChain) -> None:
        assert node.chain.tip.hash == toy.tip.hash
        for block in bad:
            with pytest.raises(Invalid) as caught:
                await node.chain.submit_block(block.raw)
            assert caught.value.rule is Rule.BLOCK_KNOWN_INVALID
        with pytest.raises(Invalid):
            node.chain.add_headers([bad[0].header])

    with_chain(tmp_path, first)
    with_chain(tmp_path, later)


def test_block_that_is_wrong_on_its_own_is_refused_and_not_stored(tmp_path: Path) -> None:
    toy = ripe_chain()
    good = toy.template([toy.pay(ALICE, BOB, 1)])
    no_amount = toy.template(reward=0)
    twice = rebuilt(good, lambda txs: [txs[0], txs[0], txs[1]])

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        await node.chain.flush()
        end = node.store.blocks.end
        for block, rule in (
            (twice, Rule.COINBASE_MISPLACED),
            (no_amount, Rule.OUTPUT_AMOUNT_RANGE),
        ):
            for _ in range(2):
                with pytest.raises(Invalid) as caught:
                    await node.chain.accept_block(block.raw)
                assert caught.value.rule is rule
        assert node.store.blocks.end == end
        assert len(node.condemned) == 2
        # Two peers may bring one at the same time: it is told once.
        another = rebuilt(twice, lambda txs: [*txs, txs[0]])
        asked = [node.chain.accept_block(another.raw) for _ in range(2)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Invalid] * 2
        assert len(node.condemned) == 3
        await node.chain.submit_block(good.raw)

    with_chain(tmp_path, scenario)


def test_junk_is_refused_without_a_trace(tmp_path: Path) -> None:
    toy = ripe_chain()
    block = toy.template([toy.pay(ALICE, BOB, 1)])
    cut = range(0, len(block.raw), 7)
    junk = [b"", b"\x92", b"\x92\xc4\x50", bytes(200), *(block.raw[:end] for end in cut)]
    junk += [block.raw + b"\x00", block.raw[:83] + b"\xdc\x00\x02" + block.raw[84:]]

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        await node.chain.flush()
        for raw in junk:
            with pytest.raises((DecodeError, Invalid, Missing)):
                await node.chain.accept_block(raw)
        await node.chain.submit_block(block.raw)
        assert node.chain.tip.hash == block.header.hash

    with_chain(tmp_path, scenario)


def test_block_without_its_parent_or_from_the_future_or_without_work_leaves_no_header(
    tmp_path: Path,
) -> None:
    toy = ripe_chain()
    toy.mine_empty(2)
    late = toy.template(time=int(FAR_FUTURE) + 10**5)
    header = toy.template().header
    easy = make_header(
        header.version, header.previous, header.root, header.time, 0x2100FFFF, header.nonce
    )

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy)[:-2])
        known = len(node.chain.tree)
        with pytest.raises(Missing) as missing:
            await node.chain.accept_block(blocks_of(toy)[-1].raw)
        assert missing.value.rule is Rule.HEADER_PARENT_UNKNOWN
        assert len(node.chain.tree) == known
        await node.give(blocks_of(toy)[-2:])
        with pytest.raises(Premature) as premature:
            await node.chain.accept_block(late.raw)
        assert premature.value.rule is Rule.HEADER_TIME_TOO_NEW
        with pytest.raises(Invalid):
            await node.chain.accept_block(make_block(easy, toy.template().txs).raw)
        assert len(node.chain.tree) == known + 2

    with_chain(tmp_path, scenario)


def test_other_transactions_under_a_good_header_do_not_condemn_it(tmp_path: Path) -> None:
    toy = ripe_chain()
    good = toy.template([toy.pay(ALICE, BOB, 1)])
    others = [
        make_block(good.header, good.txs[:1]),
        make_block(good.header, (*good.txs, good.txs[1])),
        make_block(good.header, good.txs[1:]),
        make_block(good.header, (good.txs[0], forged(good.txs[1]))),
        make_block(good.header, toy.template(reward=0).txs),
    ]

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        for mutated in others:
            with pytest.raises(Invalid):
                await node.chain.submit_block(mutated.raw)
            found = node.chain.tree.get(good.header.hash)
            assert found is not None
            assert found.status is Status.HEADER
        await node.chain.submit_block(good.raw)
        assert node.chain.tip.hash == good.header.hash
        assert node.condemned == []

    with_chain(tmp_path, scenario)


def test_one_block_that_comes_many_times_at_once_is_stored_once(tmp_path: Path) -> None:
    toy = ripe_chain()
    economy = Economy(toy, random.Random(5))
    block = economy.block(300)
    while len(block.txs) < 60:
        block = economy.block(300)

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy)[:-1])
        end = node.store.blocks.end
        asked = [node.chain.submit_block(block.raw) for _ in range(10)]
        nodes = await asyncio.gather(*asked)
        assert {found.hash for found in nodes} == {block.header.hash}
        assert node.chain.tip.hash == block.header.hash
        assert node.store.blocks.end.offset - end.offset == len(block.raw) + 12
        assert_knows(node, Recount(whole_chain(toy)), page=50)

    with_chain(tmp_path, scenario)


def test_what_builds_on_an_invalid_block_is_refused_however_it_comes(tmp_path: Path) -> None:
    toy = ripe_chain()
    bad = toy.template(reward=10**12)
    parent = toy.tree.add(bad.header, bad.header.time)
    child = toy.template(parent=parent)
    grandchild = toy.template(parent=toy.tree.add(child.header, child.header.time))

    async def known_first(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        node.chain.add_headers([bad.header, child.header])
        # The child is stored before anybody looks into its parent.
        await node.chain.accept_block(child.raw)
        with pytest.raises(Invalid) as caught:
            await node.chain.submit_block(bad.raw)
        assert caught.value.rule is Rule.COINBASE_AMOUNT
        with pytest.raises(Invalid):
            await node.chain.submit_block(child.raw)
        with pytest.raises(Invalid):
            await node.chain.submit_block(grandchild.raw)
        with pytest.raises(Invalid):
            node.chain.add_headers([grandchild.header])

    async def at_once(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        node.chain.add_headers([bad.header, child.header])
        asked = [node.chain.submit_block(child.raw), node.chain.submit_block(bad.raw)]
        verdicts = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(verdict) for verdict in verdicts] == [Invalid, Invalid]

    with_chain(tmp_path / "a", known_first)
    with_chain(tmp_path / "b", at_once)


def test_block_beside_the_best_chain_is_taken_and_not_connected(tmp_path: Path) -> None:
    toy = ripe_chain()
    toy.mine_empty(2)
    beside = toy.template(parent=toy.tip.ancestor(toy.tip.height - 2), reward=10**12)

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        found = await node.chain.submit_block(beside.raw)
        assert found.status is Status.STORED
        assert node.chain.tip.hash == toy.tip.hash
        assert node.condemned == []

    with_chain(tmp_path, scenario)


def test_being_told_of_an_invalid_block_again_and_again_holds_no_memory(tmp_path: Path) -> None:
    # An exception that is raised again grows by every place it passed, and holds what stood there.
    toy = ripe_chain()
    bad = toy.template(reward=10**12)

    class Held(bytes):
        """Bytes that can be found again."""

    def held() -> int:
        gc.collect()
        return sum(1 for thing in gc.get_objects() if isinstance(thing, Violation))

    def depth(violation: BaseException) -> int:
        count, at = 0, violation.__traceback__
        while at is not None:
            count, at = count + 1, at.tb_next
        return count

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        depths = []
        before = held()
        for _ in range(20):
            with pytest.raises(Invalid) as caught:
                await node.chain.submit_block(Held(bad.raw))
            depths.append(depth(caught.value))
            del caught
        assert depths[-1] <= depths[1]
        assert all(violation.__traceback__ is None for _, violation in node.condemned)
        assert held() - before < 10

    with_chain(tmp_path, scenario)


def test_headers_that_come_twice_or_late_are_known_and_told_once(tmp_path: Path) -> None:
    toy = ripe_chain()
    headers = [block.header for block in blocks_of(toy)]

    async def scenario(node: NodeChain) -> None:
        node.chain.add_headers(headers[:50])
        node.chain.add_headers(headers)
        node.chain.add_headers(headers)
        assert [found.height for found in node.headers] == [50, len(headers)]
        orphan = toy.template(parent=toy.tree.add(toy.template().header, int(FAR_FUTURE)))
        with pytest.raises(Missing):
            node.chain.add_headers([orphan.header])
        assert node.chain.tree.best_header.hash == toy.tip.hash

    with_chain(tmp_path, scenario)


def test_without_indexes_the_coins_are_the_same(tmp_path: Path) -> None:
    toy = ripe_chain()
    Economy(toy, random.Random(9)).blocks(20)
    wanted = Recount(whole_chain(toy))

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        assert digest_of(await node.coins_on_disk()) == wanted.digest()
        for lock in wanted.history:
            assert node.store.balances(lock) == {}
            assert node.store.coins_of(lock, OutPoint(b""), 10**6) == wanted.coins_of(lock)

    with_chain(tmp_path, scenario, indexed=False)


def test_a_block_that_cannot_be_stored_stops_the_chain_and_not_only_its_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ripe_chain()

    def full(_: bytes) -> None:
        raise StorageError("cannot write a block", "make room")

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        before = len(node.store.headers())
        monkeypatch.setattr(node.store.blocks, "append", full)
        block = toy.template()
        with pytest.raises(StorageError, match="cannot write a block"):
            await node.chain.accept_block(block.raw)
        found = node.chain.tree.get(block.header.hash)
        assert found is not None
        assert found.status is Status.HEADER
        with pytest.raises(StorageError, match="cannot write a block"):
            await node.settled()
        assert len(node.store.headers()) == before
        assert_knows(node, Recount(whole_chain(toy)), page=50)

    with_chain(tmp_path, scenario)


def test_whoever_waits_for_a_verdict_is_told_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ripe_chain()
    blocks = [toy.mine([toy.pay(ALICE, BOB, 1)]), *(toy.mine() for _ in range(2))]

    def full(_: bytes) -> None:
        raise StorageError("cannot write what a block spends", "make room")

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy)[:-3])
        node.chain.add_headers([block.header for block in blocks])
        monkeypatch.setattr(node.store.undo, "append", full)
        asked = [node.chain.submit_block(block.raw) for block in blocks]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageError] * 3
        with pytest.raises(StorageError):
            await node.chain.submit_block(toy.template().raw)

    with_chain(tmp_path, scenario)
