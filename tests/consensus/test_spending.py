"""Rules of a transaction with the coins it spends, and what a signature lets others change."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.asset import asset_id, authority_id
from consensus.errors import Invalid, Missing, Premature, Rule
from consensus.hashes import AssetId
from consensus.locks import BlockContext, lock_hash
from consensus.params import AMOUNT_MAX, COINBASE_MATURITY, EXPIRY_MARGIN
from consensus.sighash import SCOPE_ALL, SCOPE_SPONSORED
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AfterHeight,
    AfterTime,
    AssetDefinition,
    Body,
    Coin,
    Height,
    Issuance,
    Issue,
    Key,
    Lock,
    Older,
    Reissue,
    Sha256,
    Threshold,
    TxOut,
    Witness,
    make_tx,
)
from consensus.tx_rules import check_spend, check_tx, is_delayed
from tests.consensus.builders import (
    CHAIN,
    CONTEXT,
    GOLD,
    HEIGHT,
    MEDIAN,
    PEOPLE,
    SILVER,
    body_of,
    coin,
    keys_of,
    pay,
    spent,
    verdict,
)
from tests.support.chain import ALICE, BOB, sign_tx
from tests.support.verdicts import violates

DEFINITION = AssetDefinition(b"NOTE", b"Note", 2, b"", True)
PREIMAGE = b"p" * 32


def spend(
    coins: Sequence[Coin],
    outputs: Sequence[TxOut],
    issuances: Sequence[Issuance] = (),
    expiry: int = 0,
    locks: Sequence[Lock] | None = None,
    supplies: dict[AssetId, int] | None = None,
    ctx: BlockContext = CONTEXT,
) -> int:
    """Sign and check in one go; the fee."""
    body = body_of(coins, outputs, issuances, expiry)
    tx = sign_tx(
        body, coins, locks or keys_of(coins), PEOPLE, CHAIN, {sha256(PREIMAGE).digest(): PREIMAGE}
    )
    return verdict(tx, coins, supplies, ctx).fee


def test_fee_is_what_native_outputs_leave() -> None:
    assert spend([coin(70), coin(50)], [pay(100)]) == 20
    assert spend([coin(70)], [pay(70)]) == 0


def test_one_base_unit_too_much_is_overspent() -> None:
    with violates(Rule.OVERSPEND, Invalid):
        spend([coin(70)], [pay(71)])


def test_outputs_that_add_up_beyond_64_bits_are_overspent() -> None:
    # CVE-2010-5139: the sum wrapped round to almost nothing.
    with violates(Rule.OVERSPEND, Invalid):
        spend([coin(50)], [pay(AMOUNT_MAX), pay(AMOUNT_MAX), pay(2)])
    with violates(Rule.ASSET_IMBALANCE, Invalid):
        spend([coin(50), coin(50, GOLD)], [pay(AMOUNT_MAX, GOLD)] * 2 + [pay(52, GOLD)])


def test_absent_coin_is_missing() -> None:
    coins = [coin(70), coin(50)]
    tx = sign_tx(body_of(coins, [pay(100)]), coins, keys_of(coins), PEOPLE, CHAIN)
    with violates(Rule.COIN_MISSING, Missing):
        verdict(tx, [coins[0], None])


def test_lock_of_somebody_else_does_not_fit() -> None:
    with violates(Rule.LOCK_MISMATCH, Invalid):
        spend([coin(70)], [pay(70)], locks=[Key(BOB.pubkey)])
    with violates(Rule.LOCK_MISMATCH, Invalid):
        spend([coin(70, lock=BURN_LOCK)], [pay(70)], locks=[Key(BOB.pubkey)])


@pytest.mark.parametrize("scope", [SCOPE_ALL, SCOPE_SPONSORED])
def test_wrong_signature_is_refused(scope: int) -> None:
    coins = [coin(70, GOLD)]
    tx = sign_tx(body_of(coins, [pay(70, GOLD)]), coins, keys_of(coins), PEOPLE, CHAIN, None, scope)
    verdict(tx, coins)
    item = tx.witnesses[0].items[0]
    for place in range(1, 65, 9):
        wrong = item[:place] + bytes((item[place] ^ 1,)) + item[place + 1 :]
        with violates(Rule.BAD_SIGNATURE, Invalid):
            verdict(make_tx(tx.body, (Witness(tx.witnesses[0].lock, (wrong,)),)), coins)


# Time


def test_expired_transaction_is_refused_from_the_height_after() -> None:
    assert spend([coin(70)], [pay(70)], expiry=HEIGHT) == 0
    with violates(Rule.TX_EXPIRED, Invalid):
        spend([coin(70)], [pay(70)], expiry=HEIGHT - 1)


def test_delayed_coin_is_immature_for_100_blocks() -> None:
    assert spend([coin(70, height=HEIGHT - COINBASE_MATURITY, delayed=True)], [pay(70)]) == 0
    assert spend([coin(70, height=HEIGHT)], [pay(70)]) == 0
    for height in (HEIGHT, HEIGHT - 1, HEIGHT - COINBASE_MATURITY + 1):
        with violates(Rule.COIN_IMMATURE, Premature):
            spend([coin(70, height=height, delayed=True)], [pay(70)])


@pytest.mark.parametrize(
    ("left", "delayed"),
    [(0, True), (1, True), (EXPIRY_MARGIN - 1, True), (EXPIRY_MARGIN, False), (10_000, False)],
)
def test_outputs_of_a_nearly_expired_transaction_mature_like_a_coinbase(
    left: int, delayed: bool
) -> None:
    assert is_delayed(body_of([coin(1)], [pay(1)], expiry=HEIGHT + left), HEIGHT) is delayed


def test_outputs_of_a_transaction_without_expiry_are_not_delayed() -> None:
    assert not is_delayed(body_of([coin(1)], [pay(1)]), HEIGHT)
    assert is_delayed(Body(1, (), (), (), Height(HEIGHT)), HEIGHT)


LATER = [
    (AfterHeight(HEIGHT), AfterHeight(HEIGHT + 1), Rule.LOCK_AFTER_HEIGHT),
    (AfterTime(MEDIAN), AfterTime(MEDIAN + 1), Rule.LOCK_AFTER_TIME),
    (Older(HEIGHT - 10), Older(HEIGHT - 9), Rule.LOCK_OLDER),
]


@pytest.mark.parametrize(("now", "later", "rule"), LATER)
def test_atom_of_time_holds_from_its_border_on(now: Lock, later: Lock, rule: Rule) -> None:
    def through(lock: Lock) -> int:
        return spend([coin(70, lock=lock_hash(lock))], [pay(70)], locks=[lock])

    assert through(now) == 0
    assert through(Threshold(2, (Key(ALICE.pubkey), now))) == 0
    for lock in (later, Threshold(2, (Key(ALICE.pubkey), later))):
        with violates(rule, Premature):
            through(lock)


def test_coin_of_the_same_block_is_not_older_than_one_block() -> None:
    lock = Older(1)
    assert spend([coin(70, lock=lock_hash(lock), height=HEIGHT - 1)], [pay(70)], locks=[lock]) == 0
    with violates(Rule.LOCK_OLDER, Premature):
        spend([coin(70, lock=lock_hash(lock), height=HEIGHT)], [pay(70)], locks=[lock])


def test_preimage_opens_and_a_wrong_one_does_not() -> None:
    fitting = Sha256(sha256(PREIMAGE).digest())
    assert spend([coin(70, lock=lock_hash(fitting))], [pay(70)], locks=[fitting]) == 0
    lock = Sha256(b"\x55" * 32)
    coins = [coin(70, lock=lock_hash(lock))]
    tx = make_tx(body_of(coins, [pay(70)]), (Witness(lock, (PREIMAGE,)),))
    with violates(Rule.LOCK_PREIMAGE, Invalid):
        verdict(tx, coins)


# Assets


def test_asset_that_is_not_kept_whole_is_refused() -> None:
    money = coin(10)
    assert spend([money, coin(70, GOLD)], [pay(30, GOLD), pay(40, GOLD)]) == 10
    for outputs in (
        [pay(69, GOLD)], [pay(71, GOLD)], [pay(70, SILVER)], [pay(10)],
        [pay(70, GOLD), pay(1, SILVER)],
    ):  # fmt: skip
        with violates(Rule.ASSET_IMBALANCE, Invalid):
            spend([money, coin(70, GOLD)], outputs)


def test_native_surplus_does_not_pay_for_an_asset() -> None:
    with violates(Rule.ASSET_IMBALANCE, Invalid):
        spend([coin(1_000)], [pay(1, GOLD)])
    with violates(Rule.OVERSPEND, Invalid):
        spend([coin(5), coin(1_000, GOLD)], [pay(6), pay(1_000, GOLD)])


def note(index: int = 0, reissuable: bool = True) -> AssetId:
    return asset_id(spent(index), msgspec.structs.replace(DEFINITION, reissuable=reissuable))


def test_issue_pays_out_exactly_the_amount_and_one_authority_coin() -> None:
    issue = Issue(0, DEFINITION, 500)
    asset, authority = note(), authority_id(note())
    assert spend([coin(9)], [pay(500, asset), pay(1, authority)], [issue]) == 9
    for outputs in (
        [pay(500, asset)],
        [pay(499, asset), pay(1, authority)],
        [pay(501, asset), pay(1, authority)],
        [pay(500, asset), pay(2, authority)],
        [pay(500, note(1)), pay(1, authority)],
    ):
        with violates(Rule.ASSET_IMBALANCE, Invalid):
            spend([coin(9), coin(9)], outputs, [issue])


def test_fixed_supply_has_no_authority_coin() -> None:
    fixed = note(reissuable=False)
    issue = Issue(0, msgspec.structs.replace(DEFINITION, reissuable=False), 500)
    assert spend([coin(9)], [pay(500, fixed)], [issue]) == 9
    with violates(Rule.ASSET_IMBALANCE, Invalid):
        spend([coin(9)], [pay(500, fixed), pay(1, authority_id(fixed))], [issue])


def test_issue_in_two_outputs_to_the_lock_of_zeros_is_allowed() -> None:
    burnt = TxOut(note(), 100, BURN_LOCK)
    outputs = [pay(400, note()), burnt, TxOut(authority_id(note()), 1, BURN_LOCK)]
    assert spend([coin(9)], outputs, [Issue(0, DEFINITION, 500)]) == 9


def test_reissue_needs_the_authority_coin_among_the_inputs() -> None:
    authority = authority_id(GOLD)
    held, outputs = [coin(9), coin(1, authority)], [pay(5, GOLD), pay(1, authority)]
    assert spend(held, outputs, [Reissue(GOLD, 5)]) == 9
    for others in ([coin(9)], [coin(9), coin(1, GOLD)], [coin(9), coin(1, authority_id(SILVER))]):
        with violates(Rule.ISSUANCE_AUTHORITY, Invalid):
            spend(others, outputs, [Reissue(GOLD, 5)])


def test_authority_made_in_the_same_transaction_does_not_serve() -> None:
    asset = note()
    with violates(Rule.ISSUANCE_AUTHORITY, Invalid):
        spend(
            [coin(9)],
            [pay(6, asset), pay(1, authority_id(asset))],
            [Issue(0, DEFINITION, 5), Reissue(asset, 1)],
        )


def test_authority_coin_cannot_be_multiplied() -> None:
    authority = authority_id(GOLD)
    with violates(Rule.ASSET_IMBALANCE, Invalid):
        spend([coin(9), coin(1, authority)], [pay(1, authority)] * 2)
    with violates(Rule.ISSUANCE_AUTHORITY, Invalid):
        spend([coin(9), coin(1, authority)], [pay(2, authority)], [Reissue(authority, 1)])


def test_supply_above_the_largest_amount_is_refused() -> None:
    authority = authority_id(GOLD)
    held = [coin(9), coin(1, authority)]

    def reissue(amount: int, supply: int) -> int:
        outputs = [pay(amount, GOLD), pay(1, authority)]
        return spend(held, outputs, [Reissue(GOLD, amount)], supplies={GOLD: supply})

    assert reissue(5, AMOUNT_MAX - 5) == 9
    for amount, supply in ((6, AMOUNT_MAX - 5), (1, AMOUNT_MAX), (AMOUNT_MAX, 1)):
        with violates(Rule.ASSET_SUPPLY, Invalid):
            reissue(amount, supply)


@given(st.lists(st.tuples(st.sampled_from([NATIVE, GOLD, SILVER]), st.integers(1, 9)), min_size=1))
def test_shuffled_amounts_pass_only_if_every_asset_is_whole(
    parts: list[tuple[AssetId, int]],
) -> None:
    coins = [coin(5), coin(6), coin(7, GOLD), coin(8, SILVER)]
    body = body_of(coins, [pay(amount, asset) for asset, amount in parts])
    tx = make_tx(body, [Witness(lock, (b"\1" + bytes(64),)) for lock in keys_of(coins)])
    sums = {
        asset: sum(amount for found, amount in parts if found == asset)
        for asset in (NATIVE, GOLD, SILVER)
    }
    if (sums[GOLD], sums[SILVER]) != (7, 8):
        with violates(Rule.ASSET_IMBALANCE, Invalid):
            check_spend(check_tx(tx), coins, lambda _: 0, CONTEXT)
    elif sums[NATIVE] > 11:
        with violates(Rule.OVERSPEND, Invalid):
            check_spend(check_tx(tx), coins, lambda _: 0, CONTEXT)
    else:
        assert check_spend(check_tx(tx), coins, lambda _: 0, CONTEXT).fee == 11 - sums[NATIVE]
