"""Transactions that the wallet builds and signs, judged by the rules of the ledger."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.asset import authority_id
from consensus.hashes import AssetId, LockHash
from consensus.locks import BlockContext, key_lock, lock_hash
from consensus.params import COIN
from consensus.tx import (
    NATIVE,
    AfterHeight,
    AfterTime,
    AssetDefinition,
    Body,
    Coin,
    Height,
    Key,
    Lock,
    Older,
    OutPoint,
    Path,
    Pruned,
    Sha256,
    Threshold,
    TxOut,
    outpoint,
)
from consensus.tx_rules import check_tx
from tests.support.chain import ALICE, BOB, CAROL, DAVE, Person, ToyChain
from wallet.build import Fee, MoreOf, NewAsset, Request, Shortage, build, everything
from wallet.errors import WalletError
from wallet.sign import (
    SIGNERS,
    Situation,
    Spendable,
    finish,
    rehearse,
    reveal,
    sign_inputs,
    witness_of,
)

CHANGE = key_lock(CAROL.pubkey)
CTX = BlockContext(bytes(32), 1_000, 1_800_000_000)
GOLD = AssetId(b"\x07" * 32)
PREIMAGE = b"\x2a" * 32


def secrets_of(*people: Person) -> dict[bytes, bytes]:
    return {person.pubkey: person.key.secret for person in people}


def spendable(
    number: int, amount: int, asset: AssetId = NATIVE, lock: Lock | None = None,
    pending: bool = False,
) -> Spendable:  # fmt: skip
    whole: Lock = Key(ALICE.pubkey) if lock is None else lock
    spot = outpoint(hashlib.sha256(b"%d" % number).digest(), 0)
    return Spendable(spot, Coin(asset, amount, lock_hash(whole), Height(1), False), whole, pending)


def mine_with(chain: ToyChain, lock: Lock, amount: int = COIN) -> Spendable:
    """A mined coin under `lock`."""
    source = chain.fund(DAVE)[0]
    rest = chain.coins[source].amount - amount - 1_000
    outputs = [TxOut(NATIVE, amount, lock_hash(lock)), TxOut(NATIVE, rest, DAVE.lock)]
    tx = chain.spend([source], outputs)
    chain.mine([tx])
    spot = outpoint(tx.txid, 0)
    return Spendable(spot, chain.coins[spot], lock)


def spend(chain: ToyChain, coin: Spendable, *people: Person, preimage: bytes | None = None) -> int:
    """Sign and check a payment of the coin to BOB; returns the fee that the ledger sees."""
    body = Body(1, (coin.outpoint,), (TxOut(NATIVE, COIN // 2, BOB.lock),), (), Height(0))
    made = sign_inputs(body, [coin], secrets_of(*people).get, chain.chain_id)
    known = {hashlib.sha256(preimage).digest(): preimage} if preimage else {}
    tx = finish(body, [coin], made, chain.context(), known)
    return chain.check(tx)


LOCKS: Sequence[tuple[str, Lock, tuple[Person, ...], bytes | None]] = [
    ("key", Key(ALICE.pubkey), (ALICE,), None),
    ("2 of 3", Threshold(2, (Key(ALICE.pubkey), Key(BOB.pubkey), Key(CAROL.pubkey))),
     (CAROL, ALICE), None),
    ("all", Threshold(2, (Key(ALICE.pubkey), AfterHeight(5))), (ALICE,), None),
    ("time", Threshold(2, (AfterTime(1_000), Key(ALICE.pubkey))), (ALICE,), None),
    ("hash or old", Threshold(1, (Threshold(2, (Key(BOB.pubkey), Sha256(
        hashlib.sha256(PREIMAGE).digest()))), Threshold(2, (Key(ALICE.pubkey), Older(50))))),
     (BOB,), PREIMAGE),
    ("any, nested", Threshold(1, (Key(DAVE.pubkey), Threshold(2, (Key(ALICE.pubkey),
        Threshold(1, (Key(BOB.pubkey), AfterHeight(10**6))))))), (ALICE, BOB), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lock", "people", "preimage"), [entry[1:] for entry in LOCKS], ids=[e[0] for e in LOCKS]
)
def test_signed_spend_of_each_kind_of_lock_keeps_every_rule(
    lock: Lock, people: tuple[Person, ...], preimage: bytes | None
) -> None:
    chain = ToyChain()
    coin = mine_with(chain, lock)
    assert spend(chain, coin, *people, preimage=preimage) == COIN // 2


def test_every_atom_has_a_signer() -> None:
    assert set(SIGNERS) == {Key, AfterHeight, AfterTime, Older, Sha256}


def test_missing_signature_and_waiting_time_are_named() -> None:
    chain = ToyChain()
    lock = Threshold(3, (Key(ALICE.pubkey), Key(BOB.pubkey), Older(10_000)))
    coin = mine_with(chain, lock)
    with pytest.raises(WalletError) as caught:
        spend(chain, coin, ALICE)
    assert BOB.pubkey.hex() in str(caught.value)
    assert ALICE.pubkey.hex() not in str(caught.value)
    assert "10000 blocks old" in str(caught.value)


def test_cheapest_branch_that_holds_is_shown_and_the_rest_is_pruned() -> None:
    two = Threshold(2, (Key(ALICE.pubkey), Key(BOB.pubkey)))
    lock = Threshold(1, (two, Key(CAROL.pubkey)))
    coin = Coin(NATIVE, 1, lock_hash(lock), Height(1), False)
    item = b"\x01" + bytes(64)
    have = {Path(b"\0\0"): item, Path(b"\0\1"): item, Path(b"\1"): item}
    shown = reveal(lock, Situation(coin, CTX, have, {}))
    assert shown == Threshold(1, (Pruned(lock_hash(two)), Key(CAROL.pubkey)))
    del have[Path(b"\1")]
    assert reveal(lock, Situation(coin, CTX, have, {})) == Threshold(
        1, (two, Pruned(lock_hash(Key(CAROL.pubkey))))
    )


def test_rehearsal_counts_the_dearest_branch() -> None:
    two = Threshold(2, (Key(ALICE.pubkey), Key(BOB.pubkey)))
    lock = Threshold(1, (Key(CAROL.pubkey), two))
    coin = Coin(NATIVE, 1, lock_hash(lock), Height(1), False)
    assert len(rehearse(lock, coin).items) == 2


def test_lock_of_which_only_the_hash_is_known_cannot_be_satisfied() -> None:
    lock = Threshold(1, (Pruned(bytes(32)),))
    coin = Coin(NATIVE, 1, lock_hash(lock), Height(1), False)
    assert witness_of(lock, Situation(coin, None, {}, {}, is_rehearsal=True)) is None
    with pytest.raises(WalletError, match="only the hash"):
        rehearse(lock, coin)


def test_lock_that_is_not_the_coins_is_never_signed() -> None:
    coin = spendable(1, COIN)
    lied = Spendable(coin.outpoint, coin.coin, Key(BOB.pubkey))
    body = Body(1, (coin.outpoint,), (TxOut(NATIVE, 1, BOB.lock),), (), Height(0))
    with pytest.raises(WalletError, match="not the lock of the coin"):
        sign_inputs(body, [lied], secrets_of(BOB).get, bytes(32))


def test_other_coins_than_those_of_the_body_are_never_signed() -> None:
    body = Body(1, (spendable(1, 5).outpoint,), (TxOut(NATIVE, 1, BOB.lock),), (), Height(0))
    with pytest.raises(WalletError, match="not those that the transaction spends"):
        sign_inputs(body, [spendable(2, 5)], secrets_of(ALICE).get, bytes(32))


amounts = st.lists(st.integers(1, 40 * COIN), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(
    natives=amounts, golds=st.lists(st.integers(1, 10**6), max_size=8),
    pays=st.lists(st.tuples(st.booleans(), st.integers(1, 10**6)), min_size=1, max_size=5),
    rate=st.integers(0, 20_000), seed=st.integers(0, 10),
)  # fmt: skip
def test_built_transaction_conserves_each_asset_and_pays_its_rate(
    natives: list[int], golds: list[int], pays: list[tuple[bool, int]], rate: int, seed: int
) -> None:
    coins = [spendable(n, amount) for n, amount in enumerate(natives)]
    coins += [spendable(100 + n, amount, GOLD) for n, amount in enumerate(golds)]
    payments = tuple(TxOut(GOLD if gold else NATIVE, amount, BOB.lock) for gold, amount in pays)
    try:
        draft = build(Request(payments), coins, CHANGE, Fee(rate), random.Random(seed))
    except Shortage:
        return
    made = sign_inputs(draft.body, draft.inputs, secrets_of(ALICE).get, CTX.chain_id)
    tx = finish(draft.body, draft.inputs, made, CTX)  # by every rule of the ledger
    come: Counter[bytes] = Counter()
    for entry in draft.inputs:
        come[entry.coin.asset] += entry.coin.amount
    for output in draft.body.outputs:
        come[output.asset] -= output.amount
    assert come[NATIVE] == draft.fee
    assert come[GOLD] == 0
    cost = check_tx(tx).cost
    assert draft.cost == cost
    assert draft.fee >= -(-cost * rate // 1_000)
    paid = Counter(draft.body.outputs)
    assert all(paid[payment] >= count for payment, count in Counter(payments).items())
    assert {draft.body.outputs[index].lock for index in draft.change} <= {CHANGE}
    assert len(draft.change) == len(draft.body.outputs) - len(payments)


def test_change_too_small_to_be_worth_it_goes_to_the_fee() -> None:
    coins = [spendable(1, COIN + 700)]
    draft = build(
        Request((TxOut(NATIVE, COIN, BOB.lock),)), coins, CHANGE, Fee(1_000), random.Random(1)
    )
    assert draft.change == ()
    assert draft.fee == 700


def test_pending_change_is_used_only_if_the_rest_does_not_suffice() -> None:
    coins = [spendable(1, 5 * COIN), spendable(2, COIN, pending=True)]
    request = Request((TxOut(NATIVE, COIN - 10_000, BOB.lock),))
    draft = build(request, coins, CHANGE, Fee(1_000), random.Random(1))
    assert not any(entry.pending for entry in draft.inputs)
    request = Request((TxOut(NATIVE, 5 * COIN + 1, BOB.lock),))
    draft = build(request, coins, CHANGE, Fee(1_000), random.Random(1))
    assert len(draft.inputs) == 2


def test_same_randomness_builds_the_same_transaction() -> None:
    coins = [spendable(n, COIN) for n in range(9)]
    request = Request((TxOut(NATIVE, 3 * COIN, BOB.lock),))
    bodies = [build(request, coins, CHANGE, Fee(1_000), random.Random(4)).body for _ in range(2)]
    assert bodies[0] == bodies[1]


def test_fixed_fee_is_paid_exactly() -> None:
    request = Request((TxOut(NATIVE, COIN, BOB.lock),))
    draft = build(request, [spendable(1, 3 * COIN)], CHANGE, Fee(fixed=12_345), random.Random(1))
    assert draft.fee == 12_345


def test_shortage_names_what_is_short() -> None:
    request = Request((TxOut(GOLD, 10, BOB.lock),))
    coins = [spendable(1, COIN), spendable(2, 7, GOLD)]
    with pytest.raises(Shortage) as caught:
        build(request, coins, CHANGE, Fee(1_000), random.Random(1))
    assert (caught.value.asset, caught.value.short) == (GOLD, 3)


def test_dust_that_costs_more_than_it_brings_is_left_alone() -> None:
    coins = [spendable(n, 150) for n in range(50)] + [spendable(99, COIN)]
    request = Request((TxOut(NATIVE, COIN // 2, BOB.lock),))
    draft = build(request, coins, CHANGE, Fee(1_000), random.Random(1))
    assert [entry.outpoint for entry in draft.inputs] == [spendable(99, COIN).outpoint]


def test_too_many_coins_for_one_transaction_is_one_line() -> None:
    coins = [spendable(n, 10_000) for n in range(600)]
    request = Request((TxOut(NATIVE, 550 * 10_000, BOB.lock),))
    with pytest.raises(WalletError, match="in several parts"):
        build(request, coins, CHANGE, Fee(1), random.Random(1))


def test_everything_of_an_asset_leaves_the_native_change() -> None:
    coins = [spendable(1, COIN), spendable(2, 7, GOLD), spendable(3, 9, GOLD)]
    request = everything(coins, TxOut(GOLD, 1, BOB.lock), Fee(1_000))
    draft = build(request, coins, CHANGE, Fee(1_000), random.Random(1))
    assert TxOut(GOLD, 16, BOB.lock) in draft.body.outputs
    assert len(draft.change) == 1


def test_issue_and_reissue_and_destruction_are_accepted_by_the_ledger() -> None:
    chain = ToyChain()
    chain.mine_empty(2, ALICE.lock)
    chain.mine_empty(100)
    coins = _coins_of(chain, ALICE)
    definition = AssetDefinition(b"GOLD", b"Gold", 2, b"", True)
    origin = coins[0]
    new = NewAsset(origin.outpoint, definition, 500)
    authority = authority_id(new.asset)
    request = Request(
        (TxOut(new.asset, 500, ALICE.lock), TxOut(authority, 1, ALICE.lock)), (origin,), (new,)
    )
    _mine(chain, request)
    held = {coin.coin.asset: coin for coin in _coins_of(chain, ALICE)}
    more = Request(
        (TxOut(new.asset, 40, ALICE.lock), TxOut(authority, 1, ALICE.lock)),
        (held[authority],), (MoreOf(new.asset, 40),),
    )  # fmt: skip
    _mine(chain, more)
    assert chain.supply(new.asset) == 540
    _mine(chain, Request((TxOut(new.asset, 510, LockHash(bytes(32))),)))
    assert chain.supply(new.asset) == 30


def _coins_of(chain: ToyChain, person: Person) -> list[Spendable]:
    assets = {coin.asset for coin in chain.coins.values()}
    spots: list[OutPoint] = [s for asset in assets for s in chain.coins_of(person, asset)]
    return [Spendable(spot, chain.coins[spot], Key(person.pubkey)) for spot in spots]


def _mine(chain: ToyChain, request: Request) -> None:
    draft = build(request, _coins_of(chain, ALICE), ALICE.lock, Fee(1_000), random.Random(3))
    made = sign_inputs(draft.body, draft.inputs, secrets_of(ALICE).get, chain.chain_id)
    chain.mine([finish(draft.body, draft.inputs, made, chain.context())])
