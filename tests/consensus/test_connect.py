"""Blocks on top of a ledger: what each may spend and mint, and what taking one off leaves."""

from __future__ import annotations

import msgspec
import pytest

from consensus.asset import asset_id, authority_id
from consensus.block_rules import check_block
from consensus.connect import Connection, delta_of
from consensus.errors import Invalid, Missing, Premature, Rule
from consensus.locks import lock_hash
from consensus.params import AMOUNT_MAX, COIN, COINBASE_MATURITY, EXPIRY_MARGIN, MAIN, REGTEST
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AssetDefinition,
    Coin,
    Issue,
    Key,
    Older,
    OutPoint,
    Reissue,
    Tx,
    TxOut,
    Witness,
    make_coinbase,
    make_tx,
    outpoint,
)
from tests.support.chain import ALICE, BOB, CAROL, FEE, ToyChain, coins_made, rebuilt
from tests.support.verdicts import refusal, violates

SUBSIDY = REGTEST.subsidy


@pytest.fixture
def chain() -> ToyChain:
    """Alice holds three mature coins."""
    made = ToyChain()
    made.fund(ALICE, 3)
    return made


def coins(chain: ToyChain) -> list[OutPoint]:
    return chain.coins_of(ALICE)


# Spending twice, from whatever side (CVE-2018-17144)


def test_coin_spent_by_two_transactions_of_a_block_is_refused(chain: ToyChain) -> None:
    spent = coins(chain)[0]
    one = chain.spend([spent], [TxOut(NATIVE, COIN, BOB.lock)])
    other = chain.spend([spent], [TxOut(NATIVE, COIN, CAROL.lock)])
    before = chain.coin_set()
    with violates(Rule.COIN_MISSING, Missing):
        chain.connect(chain.template([one, other]).raw)
    assert chain.coin_set() == before
    chain.mine([one])


def test_same_transaction_twice_in_a_block_is_refused(chain: ToyChain) -> None:
    tx = chain.pay(ALICE, BOB, COIN)
    with violates(Rule.COIN_MISSING, Missing):
        chain.connect(chain.template([tx, tx]).raw)


def test_coin_spent_twice_by_one_transaction_of_a_block_is_refused(chain: ToyChain) -> None:
    spent = coins(chain)[0]
    tx = chain.spend([spent, spent], [TxOut(NATIVE, 2 * SUBSIDY, BOB.lock)])
    with violates(Rule.TX_DUPLICATE_INPUT, Invalid):
        chain.connect(chain.template([tx]).raw)


def test_coin_made_in_a_block_can_be_spent_there_once(chain: ToyChain) -> None:
    parent = chain.pay(ALICE, BOB, COIN)
    made = coins_made(parent, chain.tip.height + 1)
    spent = outpoint(parent.txid, 0)
    children = [
        chain.spend([spent], [TxOut(NATIVE, amount, CAROL.lock)], extra_coins=made)
        for amount in (COIN, COIN - 1)
    ]
    with violates(Rule.COIN_MISSING, Missing):
        chain.connect(chain.template([parent, *children]).raw)
    chain.mine([parent, children[0]])
    assert chain.coins_of(CAROL) == [outpoint(children[0].txid, 0)]
    assert spent not in chain.coins


def test_coin_of_an_earlier_block_cannot_be_spent_again(chain: ToyChain) -> None:
    tx = chain.pay(ALICE, BOB, COIN)
    chain.mine([tx])
    with violates(Rule.COIN_MISSING, Missing):
        chain.connect(chain.template([tx]).raw)


def test_child_before_its_parent_is_refused(chain: ToyChain) -> None:
    parent = chain.pay(ALICE, BOB, COIN)
    made = coins_made(parent, chain.tip.height + 1)
    child = chain.spend(
        [outpoint(parent.txid, 0)], [TxOut(NATIVE, COIN, CAROL.lock)], extra_coins=made
    )
    with violates(Rule.COIN_MISSING, Missing):
        chain.connect(chain.template([child, parent]).raw)


def test_coinbase_of_the_block_itself_cannot_be_spent_in_it(chain: ToyChain) -> None:
    height = chain.tip.height + 1
    coinbase = make_coinbase(height, [TxOut(NATIVE, SUBSIDY, ALICE.lock)], bytes(8))
    made = coins_made(coinbase, height, delayed=True)
    tx = chain.spend(list(made), [TxOut(NATIVE, SUBSIDY, BOB.lock)], extra_coins=made)
    with violates(Rule.COIN_MISSING, Missing):
        chain.connect(chain.template([tx], coinbase=coinbase).raw)


def test_verdict_does_not_depend_on_how_many_transactions_a_step_takes(chain: ToyChain) -> None:
    spent = coins(chain)
    good = chain.spend([spent[0]], [TxOut(NATIVE, COIN, BOB.lock)])
    again = chain.spend([spent[0]], [TxOut(NATIVE, COIN, CAROL.lock)])
    late = chain.spend([spent[1]], [TxOut(NATIVE, 9 * SUBSIDY, CAROL.lock)])
    checked = check_block(chain.template([good, again, late]).raw)
    for step in (1, 2, 3, 100):
        connection = Connection(checked, chain.context(), chain.params, chain.coin, chain.supply)
        with violates(Rule.COIN_MISSING, Missing):
            while connection.step(step) is not None:
                pass


# A good witness elsewhere does not excuse a bad one in the block


def test_known_transaction_with_a_bad_witness_in_a_block_is_refused(chain: ToyChain) -> None:
    good = chain.pay(ALICE, BOB, COIN)
    assert chain.check(good) == FEE
    lock, (item,) = good.witnesses[0].lock, good.witnesses[0].items
    bad = make_tx(good.body, (Witness(lock, (item[:-1] + bytes((item[-1] ^ 1,)),)),))
    assert (bad.txid, bad.wtxid != good.wtxid) == (good.txid, True)
    with violates(Rule.BAD_SIGNATURE, Invalid):
        chain.connect(chain.template([bad]).raw)
    chain.mine([good])


def test_witness_exchanged_under_the_same_header_is_a_wrong_root(chain: ToyChain) -> None:
    good = chain.pay(ALICE, BOB, COIN)
    block = chain.template([good])
    bad = make_tx(good.body, (Witness(Key(BOB.pubkey), good.witnesses[0].items),))
    swapped = block.raw.replace(good.raw, bad.raw)
    assert len(swapped) == len(block.raw)
    with violates(Rule.BLOCK_ROOT, Invalid):
        chain.connect(swapped)
    chain.connect(block.raw)


# Maturity and expiry


def test_coinbase_matures_after_100_blocks() -> None:
    chain = ToyChain()
    chain.mine((), ALICE.lock)
    (spent,) = [place for place, coin in chain.coins.items() if coin.lock == ALICE.lock]
    for _ in range(COINBASE_MATURITY - 1):
        tx = chain.spend([spent], [TxOut(NATIVE, SUBSIDY, BOB.lock)])
        with violates(Rule.COIN_IMMATURE, Premature):
            chain.connect(chain.template([tx]).raw)
        chain.mine()
    chain.mine([chain.spend([spent], [TxOut(NATIVE, SUBSIDY, BOB.lock)])])


@pytest.mark.parametrize(("left", "delayed"), [(EXPIRY_MARGIN - 1, True), (EXPIRY_MARGIN, False)])
def test_coins_of_a_nearly_expired_transaction_wait_like_a_coinbase(
    chain: ToyChain, left: int, delayed: bool
) -> None:
    expiry = chain.tip.height + 1 + left
    tx = chain.spend([coins(chain)[0]], [TxOut(NATIVE, COIN, BOB.lock)], expiry=expiry)
    made = coins_made(tx, chain.tip.height + 1, delayed)
    child = chain.spend(list(made), [TxOut(NATIVE, COIN, CAROL.lock)], extra_coins=made)
    if not delayed:
        chain.mine([tx, child])
        return
    with violates(Rule.COIN_IMMATURE, Premature):
        chain.connect(chain.template([tx, child]).raw)
    chain.mine([tx])
    chain.mine_empty(COINBASE_MATURITY - 2)
    with violates(Rule.COIN_IMMATURE, Premature):
        chain.connect(chain.template([child]).raw)
    chain.mine_empty(1)
    chain.mine([child])


def test_expired_transaction_in_a_block_is_refused(chain: ToyChain) -> None:
    expiry = chain.tip.height + 1
    tx = chain.spend([coins(chain)[0]], [TxOut(NATIVE, COIN, BOB.lock)], expiry=expiry)
    chain.mine([tx])
    chain.disconnect()
    chain.mine()
    with violates(Rule.TX_EXPIRED, Invalid):
        chain.connect(chain.template([tx]).raw)


def test_coin_made_in_the_block_is_not_old_enough_for_older(chain: ToyChain) -> None:
    lock = Older(1)
    parent = chain.spend([coins(chain)[0]], [TxOut(NATIVE, COIN, lock_hash(lock))])
    made = coins_made(parent, chain.tip.height + 1)
    child = chain.spend(list(made), [TxOut(NATIVE, COIN, BOB.lock)], locks=[lock], extra_coins=made)
    with violates(Rule.LOCK_OLDER, Premature):
        chain.connect(chain.template([parent, child]).raw)
    chain.mine([parent])
    chain.mine([child])


# What a coinbase may take


def test_coinbase_takes_the_subsidy_and_every_fee_and_no_more(chain: ToyChain) -> None:
    txs = [
        chain.spend([spent], [TxOut(NATIVE, SUBSIDY - 7, BOB.lock)]) for spent in coins(chain)[:2]
    ]
    with violates(Rule.COINBASE_AMOUNT, Invalid):
        chain.connect(chain.template(txs, reward=SUBSIDY + 15).raw)
    chain.connect(chain.template(txs, reward=SUBSIDY + 14).raw)


def test_coinbase_amounts_that_overflow_64_bits_together_are_refused(chain: ToyChain) -> None:
    most = TxOut(NATIVE, AMOUNT_MAX, BOB.lock)
    coinbase = make_coinbase(chain.tip.height + 1, [most, most, most], bytes(8))
    with violates(Rule.COINBASE_AMOUNT, Invalid):
        chain.connect(chain.template(coinbase=coinbase).raw)


def test_coinbase_may_take_less_or_nothing(chain: ToyChain) -> None:
    before = chain.supply(NATIVE)
    tx = chain.pay(ALICE, BOB, COIN)
    chain.connect(chain.template([tx], coinbase=make_coinbase(104, [], bytes(8))).raw)
    assert chain.supply(NATIVE) == before - FEE
    chain.disconnect()
    assert chain.supply(NATIVE) == before


@pytest.mark.parametrize("wrong", [-1, 1, 1_000])
def test_coinbase_of_another_height_is_refused(chain: ToyChain, wrong: int) -> None:
    height = chain.tip.height + 1 + wrong
    coinbase = make_coinbase(height, [TxOut(NATIVE, SUBSIDY, ALICE.lock)], bytes(8))
    with violates(Rule.COINBASE_HEIGHT, Invalid):
        chain.connect(chain.template(coinbase=coinbase).raw)


def test_coinbases_of_two_heights_never_share_a_txid() -> None:
    outputs = [TxOut(NATIVE, SUBSIDY, ALICE.lock)]
    assert make_coinbase(1, outputs, bytes(8)).txid != make_coinbase(2, outputs, bytes(8)).txid


def test_subsidy_halves_at_its_height_and_ends_at_nothing() -> None:
    params = msgspec.structs.replace(REGTEST, name=b"halving", subsidy=5, halving_blocks=3)
    chain = ToyChain(params)
    for height, most in enumerate([5, 5, 2, 2, 2, 1, 1, 1, 0, 0], start=1):
        assert params.subsidy_at(height) == most
        over = make_coinbase(height, [TxOut(NATIVE, most + 1, ALICE.lock)], bytes(8))
        with violates(Rule.COINBASE_AMOUNT, Invalid):
            chain.connect(chain.template(coinbase=over).raw)
        outputs = [TxOut(NATIVE, most, ALICE.lock)] if most else []
        chain.connect(chain.template(coinbase=make_coinbase(height, outputs, bytes(8))).raw)
    assert chain.records[NATIVE].issued == 1 + 19
    assert chain.supply(NATIVE) == 19
    assert params.subsidy_at(3 * 64) == params.subsidy_at(3 * 10**9) == 0


def test_main_network_never_mints_more_than_42_million() -> None:
    eras = range(0, 70 * MAIN.halving_blocks, MAIN.halving_blocks)
    total = sum(MAIN.subsidy_at(height) for height in eras) * MAIN.halving_blocks
    assert 41_999_000 * COIN < total < 42_000_000 * COIN


# Assets, over several blocks

DEFINITION = AssetDefinition(b"NOTE", b"Note", 2, b"", True)


def issued(chain: ToyChain, amount: int) -> Tx:
    spent = coins(chain)[0]
    asset = asset_id(spent, DEFINITION)
    outputs = [TxOut(asset, amount, ALICE.lock), TxOut(authority_id(asset), 1, ALICE.lock)]
    return chain.spend([spent], outputs, issuances=[Issue(0, DEFINITION, amount)])


def test_supply_limit_counts_what_the_same_block_issued_and_destroyed(chain: ToyChain) -> None:
    first = issued(chain, AMOUNT_MAX - 10)
    asset = first.body.outputs[0].asset
    height = chain.tip.height + 1
    made = coins_made(first, height)
    whole, authority = list(made)

    def reissue(held: OutPoint, known: dict[OutPoint, Coin], amount: int) -> Tx:
        outputs = [TxOut(asset, amount, BOB.lock), TxOut(authority_id(asset), 1, ALICE.lock)]
        issuances = [Reissue(asset, amount)]
        return chain.spend([held], outputs, issuances=issuances, extra_coins=known)

    with violates(Rule.ASSET_SUPPLY, Invalid):
        chain.connect(chain.template([first, reissue(authority, made, 11)]).raw)
    ten = reissue(authority, made, 10)
    again = coins_made(ten, height)
    one = reissue(list(again)[1], again, 1)
    with violates(Rule.ASSET_SUPPLY, Invalid):
        chain.connect(chain.template([first, ten, one]).raw)
    burn = chain.spend(
        [whole],
        [TxOut(asset, 1, BURN_LOCK), TxOut(asset, AMOUNT_MAX - 11, BOB.lock)],
        extra_coins=made,
    )
    with violates(Rule.ASSET_SUPPLY, Invalid):  # destroyed after, so it is not room yet
        chain.connect(chain.template([first, ten, one, burn]).raw)
    before = chain.coin_set(), dict(chain.records)
    chain.mine([first, ten, burn, one])
    assert chain.supply(asset) == AMOUNT_MAX
    chain.disconnect()
    assert (chain.coin_set(), chain.records) == before


def test_destroyed_coins_are_counted_and_never_stored(chain: ToyChain) -> None:
    before = chain.records[NATIVE]
    tx = chain.spend(
        [coins(chain)[0]], [TxOut(NATIVE, 5, BURN_LOCK), TxOut(NATIVE, SUBSIDY - 5, BOB.lock)]
    )
    chain.mine([tx])
    assert outpoint(tx.txid, 0) not in chain.coins
    assert outpoint(tx.txid, 1) in chain.coins
    assert chain.records[NATIVE].destroyed == before.destroyed + 5
    chain.disconnect()
    assert chain.records[NATIVE] == before


def test_undo_data_gives_the_same_difference_as_connecting(chain: ToyChain) -> None:
    parent = issued(chain, 100)
    made = coins_made(parent, chain.tip.height + 1)
    child = chain.spend(
        [next(iter(made))], [TxOut(parent.body.outputs[0].asset, 100, BURN_LOCK)], extra_coins=made
    )
    checked = check_block(chain.template([parent, child]).raw)
    connection = Connection(checked, chain.context(), chain.params, chain.coin, chain.supply)
    while connection.step(1) is not None:
        pass
    delta = connection.finish()
    assert delta_of(checked.block, chain.tip.height + 1, delta.undo) == delta
    assert not set(delta.created) & set(delta.spent)


def test_same_coinbase_body_on_two_branches_is_the_same_coin() -> None:
    # The extranonce is a witness, so rivals of one height may share a txid; never two of one chain.
    chain = ToyChain()
    one, other = chain.template(), chain.template()
    assert one.header.hash != other.header.hash
    assert one.txs[0].txid == other.txs[0].txid
    chain.connect(one.raw)
    after = chain.coin_set()
    chain.disconnect()
    chain.connect(other.raw)
    assert chain.coin_set() == after


def test_refused_block_leaves_nothing_behind(chain: ToyChain) -> None:
    good = chain.pay(ALICE, BOB, COIN)
    before = chain.coin_set(), dict(chain.records), chain.tip
    over = rebuilt(
        chain.template([good]),
        lambda txs: [
            make_coinbase(104, [TxOut(NATIVE, SUBSIDY + FEE + 1, BOB.lock)], bytes(8)), *txs[1:]
        ],
    )  # fmt: skip
    assert refusal(lambda: chain.connect(over.raw)) is not None
    assert (chain.coin_set(), chain.records, chain.tip) == before
