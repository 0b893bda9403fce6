"""Templates: what is chosen, in which order, and that a block made of one keeps every rule."""

from __future__ import annotations

import msgspec
import pytest

from consensus.asset import asset_id, authority_id
from consensus.block import Block
from consensus.errors import Invalid, Refused, Rule
from consensus.hashes import AssetId
from consensus.params import AMOUNT_MAX, BLOCK_COST_MAX, MAIN
from consensus.tx import BURN_LOCK, NATIVE, AssetDefinition, Issue, OutPoint, Reissue, Tx, TxOut
from consensus.tx import outpoint as outpoint_of
from node.policy import Policy
from node.selection import Selection
from node.template import Template, TemplateBuilder
from tests.node.mempool_kit import PARAMS, Pool, out
from tests.support.chain import ALICE, BOB, CAROL, solve

EXTRANONCE = bytes(range(8))


def builder(pool: Pool, allow_stale_genesis: bool = True) -> TemplateBuilder:
    chain = pool.chain
    return TemplateBuilder(
        chain.tree, pool.mempool, chain.supply, lambda: pool.now, allow_stale_genesis
    )


def template(pool: Pool) -> Template:
    return builder(pool).build(pool.chain.tip, CAROL.lock)


def chosen(pool: Pool) -> list[Tx]:
    return list(template(pool).choice.txs)


def mine_template(pool: Pool) -> Block:
    """Mine a template, by every rule."""
    made = template(pool)
    block = pool.chain.connect(solve(made.mined(EXTRANONCE, made.time, 0).block).raw)
    pool.mempool.block_connected(block)
    pool.mempool.tip_changed()
    return block


def test_an_empty_mempool_makes_a_block_of_the_subsidy() -> None:
    pool = Pool()
    block = mine_template(pool)
    assert block.txs[0].body.outputs == (TxOut(NATIVE, PARAMS.subsidy, CAROL.lock),)
    assert block.txs[0].raw.endswith(EXTRANONCE)
    assert block.header.time == int(pool.now)


def test_a_network_without_subsidy_makes_a_coinbase_without_outputs() -> None:
    pool = Pool(params=msgspec.structs.replace(PARAMS, subsidy=0))
    assert mine_template(pool).txs[0].body.outputs == ()


def test_the_coinbase_collects_the_fees() -> None:
    pool = Pool(coins=2)
    pool.enter(pool.coins[:1], 10_000)
    pool.enter(pool.coins[1:], 20_000)
    assert mine_template(pool).txs[0].body.outputs[0].amount == PARAMS.subsidy + 30_000
    assert len(pool.mempool) == 0


def test_the_better_fee_rate_comes_first() -> None:
    pool = Pool(coins=3)
    entries = [
        pool.enter([c], fee) for c, fee in zip(pool.coins, (5_000, 9_000, 7_000), strict=True)
    ]
    assert chosen(pool) == [entries[1].tx, entries[2].tx, entries[0].tx]


def test_a_child_pays_for_its_parent() -> None:
    pool = Pool(coins=2)
    parent = pool.enter(pool.coins[:1], 1_000)
    other = pool.enter(pool.coins[1:], 10_000)
    child = pool.enter([out(parent)], 90_000)
    assert chosen(pool) == [parent.tx, child.tx, other.tx]


def test_a_poor_child_does_not_hold_back_its_parent() -> None:
    pool = Pool(coins=2)
    parent = pool.enter(pool.coins[:1], 20_000)
    child = pool.enter([out(parent)], 1_000)
    other = pool.enter(pool.coins[1:], 10_000)
    assert chosen(pool) == [parent.tx, other.tx, child.tx]


def test_a_second_child_need_not_pay_for_a_parent_that_is_in_already() -> None:
    pool = Pool(coins=2)
    parent = pool.mempool.submit(pool.heavy(pool.coins[:1], 1_000, 1_000).raw)
    first = pool.enter([out(parent)], 90_000)
    second = pool.enter([out(parent, 1)], 20_000)
    other = pool.enter(pool.coins[1:], 10_000)
    assert chosen(pool) == [parent.tx, first.tx, second.tx, other.tx]


def test_room_is_kept_for_the_coinbase(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(coins=5)
    entries = [pool.enter([coin], 10_000) for coin in pool.coins]
    monkeypatch.setattr("node.template.BLOCK_COST_MAX", sum(entry.cost for entry in entries))
    assert 1 < len(chosen(pool)) < 5


def test_parents_come_before_children_of_two_of_them() -> None:
    pool = Pool(coins=2)
    first, second = (pool.enter([coin], 1_000) for coin in pool.coins)
    child = pool.enter([out(second), out(first)], 50_000)
    assert chosen(pool) == [first.tx, second.tx, child.tx]
    mine_template(pool)


def test_a_template_is_kept_while_nothing_changes() -> None:
    pool = Pool(coins=2)
    made = builder(pool)
    pool.enter(pool.coins[:1], 10_000)
    first = made.build(pool.chain.tip, ALICE.lock)
    pool.now += 5
    second = made.build(pool.chain.tip, BOB.lock)
    assert second.choice is first.choice
    assert (second.time, second.payout) == (first.time + 5, BOB.lock)
    pool.enter(pool.coins[1:], 10_000)
    assert len(made.build(pool.chain.tip, ALICE.lock).entries) == 2


def test_time_is_never_before_the_earliest_that_is_allowed() -> None:
    pool = Pool()
    pool.now = 1.0
    made = template(pool)
    assert made.time == made.time_min == pool.chain.tip.median_time() + 1


def test_a_full_template_keeps_the_cost_limit_and_leaves_out_the_poorest() -> None:
    pool = Pool(coins=45, policy=Policy())
    poorest = pool.mempool.submit(pool.heavy(pool.coins[:1], 95_000, 1_100).raw)
    for coin in pool.coins[1:]:
        pool.mempool.submit(pool.heavy([coin], 95_000, 2_000).raw)
    assert pool.mempool.cost > BLOCK_COST_MAX
    made = template(pool)
    assert poorest not in made.entries
    assert BLOCK_COST_MAX - 100_000 < made.choice.cost < BLOCK_COST_MAX
    mine_template(pool)


def test_a_package_that_does_not_fit_gives_way_to_what_does() -> None:
    pool = Pool(coins=3)
    parent = pool.mempool.submit(pool.heavy(pool.coins[:1], 50_000, 1_000).raw)
    pool.mempool.submit(pool.tx([out(parent)], 900_000).raw)
    small = pool.enter(pool.coins[1:2], 1_000)
    selection = Selection(pool.mempool.ranked(), 10_000, pool.chain.supply)
    selection.run()
    assert selection.chosen == [small]


def test_a_network_that_begins_late_needs_permission() -> None:
    pool = Pool(params=msgspec.structs.replace(MAIN, pow_limit_bits=0x207FFFFF))
    pool.now = MAIN.genesis_time + 3_601
    with pytest.raises(Refused) as refused:
        builder(pool, allow_stale_genesis=False).build(pool.chain.tip, ALICE.lock)
    assert refused.value.rule is Rule.GENESIS_STALE
    builder(pool, allow_stale_genesis=True).build(pool.chain.tip, ALICE.lock)
    pool.now -= 2
    builder(pool, allow_stale_genesis=False).build(pool.chain.tip, ALICE.lock)


def test_a_network_of_constant_difficulty_may_begin_at_any_time() -> None:
    pool = Pool()
    builder(pool, allow_stale_genesis=False).build(pool.chain.tip, ALICE.lock)


# Assets

GOLD = AssetDefinition(b"GOLD", b"Gold", 2, b"", True)


class Issuer:
    """Alice's reissuable asset, its authority coin always the first output of the last issue."""

    def __init__(self, pool: Pool, amount: int) -> None:
        self.pool = pool
        issue = Issue(0, GOLD, amount)
        from_coin = pool.coins[0]
        self.asset, authority = ids(from_coin)
        change = pool.coin(from_coin).amount - 10_000
        outputs = [
            TxOut(authority, 1, ALICE.lock),
            TxOut(self.asset, amount, ALICE.lock),
            TxOut(NATIVE, change, ALICE.lock),
        ]
        self.authority = authority
        self.tx = pool.chain.spend([from_coin], outputs, issuances=[issue])
        pool.mempool.submit(self.tx.raw)

    def reissue(self, amount: int) -> Tx:
        """Another issue, on top of the last."""
        inputs = [out(self.tx), outpoint_of(self.tx.txid, 2)]
        coins = {spent: self.pool.coin(spent) for spent in inputs}
        outputs = [
            TxOut(self.authority, 1, ALICE.lock),
            TxOut(self.asset, amount, ALICE.lock),
            TxOut(NATIVE, coins[inputs[1]].amount - 10_000, ALICE.lock),
        ]
        self.tx = self.pool.chain.spend(
            inputs, outputs, issuances=[Reissue(self.asset, amount)], extra_coins=coins
        )
        return self.tx

    def burn(self, tx: Tx) -> Tx:
        """Destroy all that `tx` issued; Alice's last native coin pays."""
        inputs = [outpoint_of(tx.txid, 1), self.pool.coins[-1]]
        coins = {spent: self.pool.coin(spent) for spent in inputs}
        outputs = [
            TxOut(self.asset, coins[inputs[0]].amount, BURN_LOCK),
            TxOut(NATIVE, coins[inputs[1]].amount - 10_000, ALICE.lock),
        ]
        return self.pool.chain.spend(inputs, outputs, extra_coins=coins)


def ids(from_coin: bytes) -> tuple[AssetId, AssetId]:
    asset = asset_id(OutPoint(from_coin), GOLD)
    return asset, authority_id(asset)


def test_issue_and_reissue_go_into_one_block() -> None:
    pool = Pool(coins=1)
    issuer = Issuer(pool, 1_000)
    pool.mempool.submit(issuer.reissue(500).raw)
    mine_template(pool)
    assert pool.chain.supply(issuer.asset) == 1_500


def test_unconfirmed_reissues_that_do_not_fit_together_are_refused() -> None:
    pool = Pool(coins=1)
    issuer = Issuer(pool, AMOUNT_MAX - 10)
    with pytest.raises(Invalid) as refused:
        pool.mempool.submit(issuer.reissue(11).raw)
    assert refused.value.rule is Rule.ASSET_SUPPLY


def test_a_reissue_that_has_become_too_much_is_left_out_with_its_children() -> None:
    pool = Pool(coins=2)
    issuer = Issuer(pool, AMOUNT_MAX - 10)
    pool.mine([issuer.tx])
    reissue = pool.mempool.submit(issuer.reissue(10).raw)
    child = pool.enter([outpoint_of(reissue.tx.txid, 2)], 90_000)
    other = pool.enter(pool.coins[1:], 10_000)
    # The mempool keeps such a thing from happening; the choice does not rely on it.
    selection = Selection(pool.mempool.ranked(), BLOCK_COST_MAX, lambda asset: AMOUNT_MAX - 9)
    selection.run()
    assert selection.chosen == [other]
    assert child not in selection.chosen


def test_reissues_of_one_block_are_added_up() -> None:
    pool = Pool(coins=1)
    issuer = Issuer(pool, 1_000)
    pool.mine([issuer.tx])
    first = pool.mempool.submit(issuer.reissue(10).raw)
    pool.mempool.submit(issuer.reissue(10).raw)
    selection = Selection(pool.mempool.ranked(), BLOCK_COST_MAX, lambda asset: AMOUNT_MAX - 15)
    selection.run()
    assert selection.chosen == [first]


def test_a_reissue_goes_when_a_reorganisation_takes_back_the_burn_before_it() -> None:
    pool = Pool(coins=2)
    issuer = Issuer(pool, AMOUNT_MAX)
    first = issuer.tx
    pool.mine([first])
    burn = issuer.burn(first)
    pool.mine([burn])
    reissue = pool.mempool.submit(issuer.reissue(5).raw)
    pool.reorganise(1, [(), ()])
    assert burn.txid in pool.mempool
    assert reissue.tx.txid not in pool.mempool
    mine_template(pool)


def test_room_that_a_burn_makes_counts_only_behind_it() -> None:
    pool = Pool(coins=2)
    issuer = Issuer(pool, AMOUNT_MAX)
    first = issuer.tx
    pool.mine([first])
    pool.mempool.submit(issuer.burn(first).raw)
    with pytest.raises(Invalid) as refused:
        pool.mempool.submit(issuer.reissue(5).raw)
    assert refused.value.rule is Rule.ASSET_SUPPLY
    mine_template(pool)
    pool.mempool.submit(issuer.tx.raw)
    mine_template(pool)
    assert pool.chain.supply(issuer.asset) == 5
