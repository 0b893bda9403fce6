"""What the mempool knows of a payment in a block, so that the rules need not be asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.asset import asset_id
from consensus.errors import Invalid, Rule
from consensus.hashes import Txid
from consensus.locks import lock_hash
from consensus.tx import NATIVE, AfterHeight, AssetDefinition, Issue, Key, Threshold, TxOut
from consensus.tx_rules import Spend, check_spend, check_tx
from node.mempool_entry import Entry
from tests.node.mempool_kit import Pool, out
from tests.node.test_chain import forged
from tests.node.test_ledger import Desk, with_desk
from tests.support.chain import ALICE, BOB, Person
from tests.support.economy import blocks_of, ripe_chain


def known(pool: Pool, entry: Entry) -> Spend | None:
    """What is known of it where its coins are those of the chain now."""
    coins = [pool.chain.coins.get(spent) for spent in entry.tx.body.inputs]
    return pool.mempool.known_spend(entry.checked, coins)


def own_coin(pool: Pool, person: Person = ALICE) -> Entry:
    """A coin that does not mature like a coinbase, confirmed."""
    entry = pool.enter(pool.coins[:1], 10_000, 2, person)
    pool.mine([entry.tx])
    return entry


def test_of_a_payment_all_but_the_signatures_is_as_the_rules_say() -> None:
    pool = Pool(coins=1)
    entry = pool.enter([out(own_coin(pool))], 5_000)
    found = known(pool, entry)
    assert found is not None
    asked = check_spend(entry.checked, found.coins, pool.chain.supply, pool.chain.context())
    assert (found.fee, found.coins, found.checks) == (asked.fee, asked.coins, ())
    assert len(asked.checks) == 1


def test_a_coin_of_a_parent_that_was_mined_is_the_one_in_the_chain() -> None:
    pool = Pool(coins=1)
    parent = pool.enter([out(own_coin(pool))], 5_000)
    child = pool.enter([out(parent)], 5_000)
    pool.mine()
    pool.mine([parent.tx])
    found = known(pool, child)
    assert found is not None
    assert found.coins == (pool.chain.coins[out(parent)],)
    assert found.coins[0].height == pool.chain.tip.height > child.coins[0].height


def test_nothing_is_known_of_another_witness_or_without_the_coin() -> None:
    pool = Pool(coins=1)
    entry = pool.enter([out(own_coin(pool))], 5_000)
    coins = entry.coins
    bad = check_tx(forged(entry.tx))
    assert bad.tx.txid == entry.tx.txid
    assert pool.mempool.known_spend(bad, coins) is None
    assert pool.mempool.known_spend(entry.checked, [None]) is None
    assert pool.mempool.known_spend(entry.checked, coins) is not None
    pool.mine([entry.tx])
    assert pool.mempool.known_spend(entry.checked, coins) is None


def test_nothing_is_known_where_heights_count() -> None:
    pool = Pool(coins=2)
    mature = pool.enter(pool.coins[1:], 5_000)
    assert known(pool, mature) is None
    first = own_coin(pool)
    ending = pool.mempool.submit(
        pool.tx([out(first)], 5_000, expiry=pool.chain.tip.height + 90).raw
    )
    assert known(pool, ending) is None
    lock = Threshold(2, (Key(ALICE.pubkey), AfterHeight(pool.chain.tip.height)))
    paid = pool.chain.spend([out(first, 1)], [TxOut(NATIVE, 100_000, lock_hash(lock))], [ALICE])
    pool.mine([paid])
    timed = pool.mempool.submit(
        pool.chain.spend(
            [out(paid)], [TxOut(NATIVE, 90_000, ALICE.lock)], [ALICE], locks=[lock]
        ).raw
    )
    assert known(pool, timed) is None


def test_nothing_is_known_where_supplies_count() -> None:
    pool = Pool(coins=1)
    spent = out(own_coin(pool))
    amount = pool.chain.coins[spent].amount - 10_000
    definition = AssetDefinition(b"GOLD", b"Gold", 0, b"", False)
    outputs = [
        TxOut(NATIVE, amount, ALICE.lock),
        TxOut(asset_id(spent, definition), 5, ALICE.lock),
    ]
    issued = pool.chain.spend([spent], outputs, [ALICE], [Issue(0, definition, 5)])
    assert known(pool, pool.mempool.submit(issued.raw)) is None


def test_a_block_with_a_bad_witness_of_a_payment_that_waits_is_invalid(tmp_path: Path) -> None:
    toy = ripe_chain()
    payment = toy.pay(ALICE, BOB, 1_000)
    bad = toy.template([forged(payment)])

    async def scenario(desk: Desk) -> None:
        await desk.give(blocks_of(toy))
        desk.ledger.submit_tx(payment.raw)
        with pytest.raises(Invalid) as raised:
            await desk.ledger.submit_block(bad.raw)
        assert raised.value.rule is Rule.BAD_SIGNATURE
        await desk.give([toy.mine([payment])])
        assert desk.ledger.tip.hash == toy.tip.hash
        assert desk.ledger.is_confirmed(Txid(payment.txid))
        assert len(desk.ledger.mempool) == 0

    with_desk(tmp_path, scenario)
