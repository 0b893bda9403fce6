"""What a signature lets others change: nothing, or with scope sponsored anything native."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.asset import authority_id
from consensus.errors import Invalid, Rule
from consensus.locks import lock_hash
from consensus.sighash import (
    SCOPE_ALL,
    SCOPE_SPONSORED,
    coins_digest,
    digest_all,
    digest_sponsored,
    terms_digest,
)
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    Body,
    Coin,
    Key,
    Path,
    Pruned,
    Reissue,
    Threshold,
    Tx,
    TxOut,
    Witness,
    make_tx,
)
from tests.consensus.builders import (
    CHAIN,
    GOLD,
    HEIGHT,
    PEOPLE,
    SILVER,
    body_of,
    coin,
    keys_of,
    pay,
    spent,
    verdict,
)
from tests.consensus.strategies import bodies, coins
from tests.support.chain import ALICE, BOB, CAROL, DAVE, sign_tx
from tests.support.verdicts import violates

replace = msgspec.structs.replace
Change = Callable[[Body], Body]
AUTHORITY = authority_id(SILVER)
COINS = [coin(100), coin(40, GOLD), coin(1, AUTHORITY)]
BODY = body_of(
    COINS,
    [pay(60), pay(40, GOLD), pay(9, SILVER), pay(1, AUTHORITY)],
    [Reissue(SILVER, 9)],
    expiry=HEIGHT + 500,
)


def output(index: int, **changes: Any) -> Change:
    def change(body: Body) -> Body:
        outputs = list(body.outputs)
        outputs[index] = replace(outputs[index], **changes)
        return replace(body, outputs=tuple(outputs))

    return change


def outputs(*made: TxOut) -> Change:
    return lambda body: replace(body, outputs=made)


FIRST, SECOND, THIRD, FOURTH = BODY.outputs
NOT_NATIVE: dict[str, Change] = {
    "payee of an asset": output(1, lock=CAROL.lock),
    "memo of an asset output": output(1, memo=b"x"),
    "payee of the reissue": output(2, lock=CAROL.lock),
    "payee of the authority": output(3, lock=CAROL.lock),
    "asset destroyed": output(1, lock=BURN_LOCK),
    "order of asset outputs": outputs(FIRST, THIRD, SECOND, FOURTH),
    "asset output cut in two": outputs(FIRST, pay(20, GOLD), pay(20, GOLD), THIRD, FOURTH),
    "more reissued": lambda body: replace(
        output(2, amount=10)(body), issuances=(Reissue(SILVER, 10),)
    ),
    "not reissued": lambda body: replace(outputs(FIRST, SECOND, FOURTH)(body), issuances=()),
    "later expiry": lambda body: replace(body, expiry=body.expiry + 1),
    "no expiry": lambda body: replace(body, expiry=0),
}
NATIVE_ONLY: dict[str, Change] = {
    "payee of native coin": output(0, lock=DAVE.lock),
    "memo of a native output": output(0, memo=b"x"),
    "less native coin": output(0, amount=50),
    "native coin destroyed": output(0, lock=BURN_LOCK),
    "a native output at the end": outputs(*BODY.outputs, pay(3, payee=DAVE)),
    "a native output in front": outputs(pay(3, payee=DAVE), *BODY.outputs),
    "the native output in between": outputs(SECOND, FIRST, THIRD, FOURTH),
    "no native output": outputs(SECOND, THIRD, FOURTH),
}


def original(scope: int) -> dict[bytes, Witness]:
    """What the owner of the assets signed with `scope`, by outpoint."""
    signed = sign_tx(BODY, COINS, keys_of(COINS), PEOPLE, CHAIN, None, scope)
    return dict(zip(BODY.inputs, signed.witnesses, strict=True))


def forged(body: Body, held: Sequence[Coin], scope: int) -> Tx:
    """`body` with the old signatures on assets, and new ones of whoever owns the native coins."""
    fresh = sign_tx(body, held, keys_of(held), PEOPLE, CHAIN)
    old = original(scope)
    return make_tx(
        body,
        [
            old[place] if found.asset != NATIVE and place in old else witness
            for place, found, witness in zip(body.inputs, held, fresh.witnesses, strict=True)
        ],
    )


def test_unchanged_transaction_holds_with_either_scope() -> None:
    for scope in (SCOPE_ALL, SCOPE_SPONSORED):
        assert verdict(forged(BODY, COINS, scope), COINS).fee == 40


@pytest.mark.parametrize("what", [*NOT_NATIVE, *NATIVE_ONLY])
def test_scope_all_allows_no_change(what: str) -> None:
    change = {**NOT_NATIVE, **NATIVE_ONLY}[what]
    with violates(Rule.BAD_SIGNATURE, Invalid):
        verdict(forged(change(BODY), COINS, SCOPE_ALL), COINS)


@pytest.mark.parametrize("what", NOT_NATIVE)
def test_scope_sponsored_allows_no_change_of_what_is_not_native(what: str) -> None:
    with violates(Rule.BAD_SIGNATURE, Invalid):
        verdict(forged(NOT_NATIVE[what](BODY), COINS, SCOPE_SPONSORED), COINS)


@pytest.mark.parametrize("what", NATIVE_ONLY)
def test_scope_sponsored_allows_every_change_of_native_outputs(what: str) -> None:
    verdict(forged(NATIVE_ONLY[what](BODY), COINS, SCOPE_SPONSORED), COINS)


SPONSOR = coin(500, lock=DAVE.lock)
INPUTS: dict[str, tuple[list[Coin], list[int]]] = {
    "another native input at the end": ([*COINS, SPONSOR], [0, 1, 2, 3]),
    "another native input in front": ([SPONSOR, *COINS], [3, 0, 1, 2]),
    "no native input": (COINS[1:], [1, 2]),
    "another native input instead": ([SPONSOR, *COINS[1:]], [3, 1, 2]),
    "inputs in another order": (COINS[::-1], [2, 1, 0]),
}


@pytest.mark.parametrize("what", INPUTS)
def test_only_scope_sponsored_allows_other_native_inputs(what: str) -> None:
    held, places = INPUTS[what]
    body = replace(BODY, inputs=tuple(spent(place) for place in places))
    if all(found.asset != NATIVE for found in held):
        body = outputs(SECOND, THIRD, FOURTH)(body)
    verdict(forged(body, held, SCOPE_SPONSORED), held)
    with violates(Rule.BAD_SIGNATURE, Invalid):
        verdict(forged(body, held, SCOPE_ALL), held)


def test_scope_sponsored_on_a_native_coin_is_refused() -> None:
    held = [coin(70)]
    body = body_of(held, [pay(60)])
    tx = sign_tx(body, held, keys_of(held), PEOPLE, CHAIN, None, SCOPE_SPONSORED)
    with violates(Rule.SIGNATURE_SPONSORED_NATIVE, Invalid):
        verdict(tx, held)


@pytest.mark.parametrize("scope", [SCOPE_ALL, SCOPE_SPONSORED])
def test_scope_byte_cannot_be_exchanged(scope: int) -> None:
    held = [coin(40, GOLD)]
    body = body_of(held, [pay(40, GOLD)])
    tx = sign_tx(body, held, keys_of(held), PEOPLE, CHAIN, None, scope)
    item = bytes((SCOPE_ALL + SCOPE_SPONSORED - scope,)) + tx.witnesses[0].items[0][1:]
    with violates(Rule.BAD_SIGNATURE, Invalid):
        verdict(make_tx(body, (Witness(tx.witnesses[0].lock, (item,)),)), held)


@pytest.mark.parametrize("scope", [SCOPE_ALL, SCOPE_SPONSORED])
def test_signature_for_one_coin_does_not_serve_its_sibling(scope: int) -> None:
    twins = [coin(40, GOLD), coin(40, GOLD)]
    body = body_of(twins, [pay(80, GOLD)])
    tx = sign_tx(body, twins, keys_of(twins), PEOPLE, CHAIN, None, scope)
    verdict(tx, twins)
    first, second = tx.witnesses
    for witnesses in ((second, first), (first, first), (second, second)):
        with violates(Rule.BAD_SIGNATURE, Invalid):
            verdict(make_tx(body, witnesses), twins)
    # Nor alone: a payment of the one is no payment of the other.
    lone = body_of(twins[:1], [pay(40, GOLD)])
    signed = sign_tx(lone, twins[:1], keys_of(twins[:1]), PEOPLE, CHAIN, None, scope)
    with violates(Rule.BAD_SIGNATURE, Invalid):
        verdict(make_tx(replace(lone, inputs=(spent(1),)), signed.witnesses), twins[:1])


@pytest.mark.parametrize("scope", [SCOPE_ALL, SCOPE_SPONSORED])
def test_signature_for_one_branch_does_not_serve_another(scope: int) -> None:
    alice, bob = Key(ALICE.pubkey), Key(BOB.pubkey)
    whole = Threshold(1, (Threshold(2, (alice, bob)), Threshold(1, (alice,)), alice))
    held = [coin(40, GOLD, lock=lock_hash(whole))]
    body = body_of(held, [pay(40, GOLD)])
    places = {
        place: Threshold(
            1,
            tuple(c if i == place else Pruned(lock_hash(c)) for i, c in enumerate(whole.children)),
        )
        for place in (1, 2)
    }
    signed = {
        place: sign_tx(body, held, [lock], PEOPLE, CHAIN, None, scope)
        for place, lock in places.items()
    }
    for place, lock in places.items():
        verdict(signed[place], held)
        with violates(Rule.BAD_SIGNATURE, Invalid):
            verdict(make_tx(body, (Witness(lock, signed[3 - place].witnesses[0].items),)), held)


def test_one_signature_does_not_fill_two_places_of_a_threshold() -> None:
    alice = Key(ALICE.pubkey)
    lock = Threshold(2, (alice, alice))
    held = [coin(40, lock=lock_hash(lock))]
    body = body_of(held, [pay(40)])
    tx = sign_tx(body, held, [lock], PEOPLE, CHAIN)
    verdict(tx, held)
    first, _ = tx.witnesses[0].items
    with violates(Rule.BAD_SIGNATURE, Invalid):
        verdict(make_tx(body, (Witness(lock, (first, first)),)), held)


@pytest.mark.parametrize("scope", [SCOPE_ALL, SCOPE_SPONSORED])
def test_signature_is_worth_nothing_on_another_chain(scope: int) -> None:
    held = [coin(40, GOLD)]
    tx = sign_tx(
        body_of(held, [pay(40, GOLD)]), held, keys_of(held), PEOPLE, b"d" * 32, None, scope
    )
    with violates(Rule.BAD_SIGNATURE, Invalid):
        verdict(tx, held)


def test_signer_who_was_lied_to_about_another_coin_makes_a_useless_signature() -> None:
    truth = [coin(40), coin(9_000, lock=BOB.lock)]
    lie = [coin(40), coin(50, lock=BOB.lock)]
    body = body_of(truth, [pay(80)])
    told_the_truth = sign_tx(body, truth, keys_of(truth), PEOPLE, CHAIN)
    lied_to = sign_tx(body, lie, keys_of(lie), PEOPLE, CHAIN)
    with violates(Rule.BAD_SIGNATURE, Invalid):
        verdict(make_tx(body, (lied_to.witnesses[0], told_the_truth.witnesses[1])), truth)


@pytest.mark.parametrize(
    "lie", [coin(41, GOLD), coin(40, SILVER), coin(40, GOLD, lock=BOB.lock)], ids=repr
)
def test_signature_covers_the_coin_itself_with_either_scope(lie: Coin) -> None:
    truth = coin(40, GOLD)
    spends = body_of([truth], [pay(40, GOLD)])
    path, place = Path(b""), spends.inputs[0]
    terms = terms_digest(spends)
    assert digest_sponsored(CHAIN, path, place, truth, terms) != digest_sponsored(
        CHAIN, path, place, lie, terms
    )
    txid, together = make_tx(spends, ()).txid, coins_digest([truth])
    assert digest_all(CHAIN, path, place, truth, txid, together) != digest_all(
        CHAIN, path, place, lie, txid, together
    )


@given(bodies, bodies, coins)
def test_sponsored_digest_differs_exactly_if_something_not_native_does(
    one: Body, other: Body, held: Coin
) -> None:
    def terms(body: Body) -> Any:
        assets = tuple(made for made in body.outputs if made.asset != NATIVE)
        return body.version, body.expiry, body.issuances, assets

    digests = {
        digest_sponsored(CHAIN, Path(b""), spent(1), held, terms_digest(body))
        for body in (one, other)
    }
    assert (len(digests) == 1) == (terms(one) == terms(other))


@given(bodies, st.lists(st.integers(1, 9)), coins)
def test_native_outputs_anywhere_leave_the_sponsored_digest_alone(
    body: Body, amounts: list[int], held: Coin
) -> None:
    made = list(body.outputs)
    for amount in amounts:
        made.insert(amount % (len(made) + 1), pay(amount))
    more = replace(body, outputs=tuple(made), inputs=(*body.inputs, spent(9)))
    assert digest_sponsored(
        CHAIN, Path(b""), spent(1), held, terms_digest(body)
    ) == digest_sponsored(CHAIN, Path(b""), spent(1), held, terms_digest(more))
