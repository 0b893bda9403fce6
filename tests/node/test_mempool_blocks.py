"""What blocks and reorganisations do to the mempool."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consensus.errors import Refused, Rule
from consensus.locks import lock_hash
from consensus.tx import NATIVE, AfterHeight, AfterTime, Key, Older, Threshold, Tx, TxOut
from node.events import Removal
from node.mempool_entry import Entry
from node.policy import Policy
from tests.node.mempool_kit import Pool, check_consistent, out
from tests.support.chain import ALICE, BOB


def txids(entries: Sequence[Entry]) -> list[bytes]:
    return [entry.tx.txid for entry in entries]


def waiting(pool: Pool) -> list[bytes]:
    check_consistent(pool.mempool)
    return txids(list(pool.mempool.entries()))


# Blocks


def test_what_was_mined_leaves_and_its_children_stay() -> None:
    pool = Pool(coins=2)
    parent = pool.enter(pool.coins[:1], 10_000)
    child = pool.enter([out(parent)], 10_000)
    other = pool.enter(pool.coins[1:], 10_000)
    pool.mine([parent.tx])
    assert waiting(pool) == txids([child, other])
    assert pool.removals() == [(parent.tx.txid, Removal.CONFIRMED)]


def test_a_block_that_spends_a_coin_otherwise_drops_the_spender_and_its_children() -> None:
    pool = Pool(coins=2)
    line = pool.line(pool.coins[0], 3)
    other = pool.enter(pool.coins[1:], 10_000)
    pool.mine([pool.tx(pool.coins[:1], 99, payee=BOB)])
    assert waiting(pool) == txids([other])
    assert pool.removals() == [(txid, Removal.CONFLICT) for txid in txids(line)]


def test_a_transaction_leaves_after_its_last_height() -> None:
    pool = Pool(coins=2)
    last = pool.chain.context().height + 4
    tx = pool.tx(pool.coins[:1], 10_000, expiry=last)
    pool.mempool.submit(tx.raw)
    for _ in range(4):
        pool.mine()
    assert waiting(pool) == [tx.txid]
    pool.mine()
    assert waiting(pool) == []
    assert pool.removals() == [(tx.txid, Removal.EXPIRED)]


def test_children_leave_when_their_parent_is_about_to_expire() -> None:
    pool = Pool(coins=2)
    last = pool.chain.context().height + 21
    parent = pool.mempool.submit(pool.tx(pool.coins[:1], 10_000, expiry=last).raw)
    line = [parent, *pool.line(out(parent), 2)]
    pool.mine()
    assert waiting(pool) == txids(line)
    pool.mine()  # mined in the next block, its outputs would have to mature
    assert waiting(pool) == [parent.tx.txid]
    assert pool.removals() == [(txid, Removal.UNMINABLE) for txid in txids(line[1:])]


def test_children_leave_when_their_parent_was_mined_about_to_expire() -> None:
    pool = Pool(coins=2)
    last = pool.chain.context().height + 21
    parent = pool.mempool.submit(pool.tx(pool.coins[:1], 10_000, expiry=last).raw)
    child = pool.enter([out(parent)], 10_000)
    blocks = [pool.chain.mine(txs) for txs in ((), (), (parent.tx,))]
    for block in blocks:  # as when several blocks come at once
        pool.mempool.block_connected(block)
    pool.mempool.tip_changed()
    assert waiting(pool) == []
    assert (child.tx.txid, Removal.UNMINABLE) in pool.removals()


def test_who_waited_too_long_leaves_with_his_children() -> None:
    pool = Pool(coins=2)
    old = pool.enter(pool.coins[:1], 10_000)
    pool.now += 336 * 3_600 - 10
    child = pool.enter([out(old)], 10_000)
    young = pool.enter(pool.coins[1:], 10_000)
    pool.mine()
    assert len(waiting(pool)) == 3
    pool.now += 11
    pool.mine()
    assert waiting(pool) == txids([young])
    assert pool.removals() == [(txid, Removal.EXPIRED) for txid in txids([old, child])]


# Reorganisations


def test_what_a_dead_branch_held_comes_back_in_order() -> None:
    pool = Pool(coins=2)
    line = pool.line(pool.coins[0], 3)
    other = pool.enter(pool.coins[1:], 10_000)
    pool.mine([line[0].tx])
    pool.mine([line[1].tx, other.tx])
    assert waiting(pool) == txids([line[2]])
    pool.events.clear()
    pool.reorganise(2, [(), (), ()])
    assert waiting(pool) == txids([line[0], line[1], other, line[2]])
    assert pool.additions() == txids([line[0], line[1], other])
    assert pool.removals() == []


def test_what_the_new_branch_holds_too_stays_out() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 3)
    pool.mine([line[0].tx])
    pool.mine([line[1].tx])
    pool.events.clear()
    pool.reorganise(2, [[line[0].tx], (), ()])
    assert waiting(pool) == txids([line[1], line[2]])
    assert pool.additions() == txids([line[1]])


def test_what_waited_and_is_mined_by_the_new_branch_is_reported_as_mined() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 2)
    pool.mine([line[0].tx])
    pool.events.clear()
    pool.reorganise(1, [[line[0].tx, line[1].tx], ()])
    assert waiting(pool) == []
    assert pool.removals() == [(line[1].tx.txid, Removal.CONFIRMED)]


def test_what_conflicts_with_the_new_branch_goes_with_its_children() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 2)
    rival = pool.tx(pool.coins, 20_000, payee=BOB)
    pool.mine([line[0].tx])
    pool.events.clear()
    pool.reorganise(1, [[rival], ()])
    assert waiting(pool) == []
    assert pool.additions() == []
    assert pool.removals() == [(line[1].tx.txid, Removal.UNMINABLE)]


def test_who_spends_a_coinbase_of_the_dead_branch_goes() -> None:
    pool = Pool(coins=0)
    pool.chain.mine_empty(1, ALICE.lock)
    pool.chain.mine_empty(100)
    pool.coins = pool.chain.coins_of(ALICE)
    entry = pool.enter(pool.coins, 10_000)
    pool.reorganise(101, [() for _ in range(102)])
    assert waiting(pool) == []
    assert pool.removals() == [(entry.tx.txid, Removal.UNMINABLE)]


def test_who_spends_a_coinbase_that_is_young_again_goes() -> None:
    pool = Pool(coins=1)
    entry = pool.enter(pool.coins, 10_000)
    chain = pool.chain
    for block in [chain.disconnect() for _ in range(3)]:
        pool.mempool.block_disconnected(block)
    pool.mempool.block_connected(chain.mine())
    pool.mempool.tip_changed()  # two blocks less than before
    assert waiting(pool) == []
    assert pool.removals() == [(entry.tx.txid, Removal.UNMINABLE)]


def test_a_line_of_a_hundred_blocks_comes_back_whole() -> None:
    pool = Pool(coins=1)
    made: list[Tx] = []
    for _ in range(101):
        made.append(pool.tx([out(made[-1])] if made else pool.coins, 10_000))
        pool.mine([made[-1]])
    last = pool.enter([out(made[-1])], 10_000)
    pool.reorganise(101, [() for _ in range(102)])
    assert waiting(pool) == [*(tx.txid for tx in made), last.tx.txid]
    with pytest.raises(Refused) as refused:
        pool.enter([out(last)], 10_000)
    assert refused.value.rule is Rule.MEMPOOL_ANCESTORS


def test_what_a_miner_took_for_nothing_comes_back_too() -> None:
    pool = Pool(coins=1)
    free = pool.tx(pool.coins, 0)
    pool.mine([free])
    pool.reorganise(1, [(), ()])
    assert waiting(pool) == [free.txid]


def locked_payment(pool: Pool, atom: AfterHeight | AfterTime | Older) -> Tx:
    """Confirm a coin with a lock of `atom` and Alice's key; return its spend."""
    lock = Threshold(2, (Key(ALICE.pubkey), atom))
    amount = pool.coin(pool.coins[0]).amount - 10_000
    pays = pool.chain.spend(pool.coins[:1], [TxOut(NATIVE, amount, lock_hash(lock))])
    pool.mine([pays])
    return pool.chain.spend([out(pays)], [TxOut(NATIVE, amount - 9_000, BOB.lock)], locks=[lock])


def shorten(pool: Pool, depth: int, length: int, time: int | None = None) -> None:
    """A reorganisation to a branch of `length` blocks, perhaps lower than before."""
    off = [pool.chain.disconnect() for _ in range(depth)]
    on = [pool.chain.mine((), time=time) for _ in range(length)]
    for block in off:
        pool.mempool.block_disconnected(block)
    for block in on:
        pool.mempool.block_connected(block)
    pool.mempool.tip_changed()


def test_a_height_lock_that_is_closed_again_drops_its_spender() -> None:
    pool = Pool(coins=1)
    spend = locked_payment(pool, AfterHeight(pool.chain.tip.height + 4))
    pool.mine()
    pool.mine()
    pool.mempool.submit(spend.raw)
    shorten(pool, 2, 1)
    assert waiting(pool) == []
    assert pool.removals()[-1] == (spend.txid, Removal.UNMINABLE)


def test_a_time_lock_that_is_closed_again_drops_its_spender() -> None:
    pool = Pool(coins=1)
    later = pool.chain.tip.header.time + 500
    spend = locked_payment(pool, AfterTime(later))
    for step in range(7):
        pool.chain.mine((), time=later + step)
    pool.mempool.submit(spend.raw)
    shorten(pool, 7, 8)
    assert waiting(pool) == []


def test_an_age_lock_starts_again_when_its_coin_is_mined_later() -> None:
    pool = Pool(coins=1)
    spend = locked_payment(pool, Older(2))
    pays = pool.chain.blocks[pool.chain.tip.hash].txs[1]
    pool.mine()
    pool.mempool.submit(spend.raw)
    pool.reorganise(2, [(), [pays]])
    assert waiting(pool) == []
    pool.mine()
    pool.mempool.submit(spend.raw)


def test_what_stays_valid_keeps_its_age_and_says_nothing() -> None:
    pool = Pool(coins=1)
    entry = pool.enter(pool.coins, 10_000)  # spends a coinbase, so it is looked at again
    came = entry.time
    pool.now += 100
    pool.events.clear()
    pool.reorganise(1, [(), ()])
    again = pool.mempool.get(entry.tx.txid)
    assert again is not None
    assert again.time == came
    assert pool.events == []


def test_coming_back_can_be_divided_into_turns() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 7)
    pool.mine([entry.tx for entry in line[:5]])
    off = pool.chain.disconnect()
    pool.mempool.block_disconnected(off)
    assert pool.mempool.tip_changed(returning_max=2)
    assert waiting(pool) == txids(line[:2])
    assert pool.mempool.bring_back(3)
    assert waiting(pool) == txids(line[:5])
    assert not pool.mempool.bring_back(3)
    assert waiting(pool) == txids(line)


def test_a_newcomer_between_two_turns_wins_over_what_comes_back() -> None:
    pool = Pool(coins=2)
    first = pool.enter(pool.coins[:1], 10_000)
    second = pool.enter(pool.coins[1:], 10_000)
    pool.mine([first.tx, second.tx])
    pool.mempool.block_disconnected(pool.chain.disconnect())
    assert pool.mempool.tip_changed(returning_max=1)
    rival = pool.enter(pool.coins[1:], 20_000, payee=BOB)
    pool.mempool.bring_back()
    assert waiting(pool) == txids([first, rival])


def test_two_reorganisations_in_a_row_lose_nothing() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 4)
    pool.mine([line[0].tx])
    pool.mine([line[1].tx, line[2].tx])
    pool.reorganise(1, [[line[1].tx], ()])
    assert waiting(pool) == txids(line[2:])
    pool.reorganise(3, [(), (), (), ()])
    assert waiting(pool) == txids(line)


def test_the_newest_are_forgotten_when_too_much_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 4)
    size = len(line[0].tx.raw)
    monkeypatch.setattr("node.mempool_return.RETURNING_BYTES_MAX", 3 * size)
    for entry in line:
        pool.mine([entry.tx])
    pool.reorganise(4, [() for _ in range(5)])
    assert waiting(pool) == txids(line[:3])


def test_a_full_mempool_drops_what_came_back_poor() -> None:
    pool = Pool(coins=60, policy=Policy(size_bytes_max=60_000))
    pool.mine([pool.tx([coin], 500) for coin in pool.coins[:40]])
    for coin in pool.coins[40:50]:
        pool.enter([coin], 50_000)
    pool.reorganise(1, [(), ()])
    assert 40_000 < pool.mempool.size_bytes <= 60_000
    assert [entry.fee for entry in pool.mempool.ranked()][:11] == [50_000] * 10 + [500]
    check_consistent(pool.mempool)


def test_an_expiring_parent_takes_along_a_child_that_expires_too() -> None:
    pool = Pool(coins=1)
    height = pool.chain.context().height
    parent = pool.mempool.submit(pool.tx(pool.coins, 10_000, expiry=height + 20).raw)
    child = pool.mempool.submit(pool.tx([out(parent)], 10_000, expiry=height + 5).raw)
    pool.mine()
    assert waiting(pool) == [parent.tx.txid]
    assert pool.removals() == [(child.tx.txid, Removal.UNMINABLE)]
