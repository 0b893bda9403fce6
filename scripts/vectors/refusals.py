"""Vectors of transactions that break one rule each, in the order in which the rules are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from consensus.asset import asset_id, authority_id
from consensus.codec import encode
from consensus.errors import Invalid, Rule, Violation
from consensus.hashes import AssetId
from consensus.keys import are_signed
from consensus.params import AMOUNT_MAX
from consensus.sighash import SCOPE_ALL, SCOPE_SPONSORED
from consensus.tx import (
    NATIVE,
    AfterHeight,
    AfterTime,
    AssetDefinition,
    Body,
    Coin,
    Height,
    Issue,
    Key,
    Lock,
    Older,
    Pruned,
    Reissue,
    Sha256,
    Threshold,
    Tx,
    TxOut,
    Witness,
    make_tx,
)
from consensus.tx_rules import check_spend, check_tx
from scripts.vectors.basics import NOTE, TWO_OF_THREE, WIDEST, hidden, nested
from scripts.vectors.common import (
    CONTEXT,
    DIGEST,
    PREIMAGE,
    Funds,
    Json,
    body_of,
    coin_json,
    context_json,
    funds,
    label,
    pay,
    place,
    raw_json,
    refusal_json,
    sign_funds,
    supplies_json,
)
from scripts.vectors.spends import (
    ALICE_KEY,
    BOB_KEY,
    NOTE_AUTHORITY,
    NOTE_ID,
    NOTHING,
    PEOPLE,
    SHARE_ID,
    sponsored_tx,
)
from tests.support.chain import ALICE, BOB

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the group of secp256k1."""
COIN = funds(ALICE_KEY, 100_000)
OUTPUTS = (pay(60_000, BOB.lock), pay(30_000, ALICE.lock))
BODY = body_of([place(0)], OUTPUTS)
GOOD = sign_funds(BODY, [COIN], PEOPLE)
SIGNATURE = GOOD.witnesses[0].items[0]


def refused(
    name: str, rule: Rule, tx: Tx, spent: Sequence[Funds | None] = (COIN,),
    supplies: Mapping[AssetId, int] = NOTHING, unit: bytes = b"",
) -> Json:  # fmt: skip
    """A transaction that breaks `rule`, after it was seen to break that one."""
    coins = [f.coin if f else None for f in spent]
    error = _violation(tx, coins, supplies)
    assert error is not None, name
    assert error.rule is rule, (name, error)
    return {
        "name": name,
        "raw": raw_json(tx.raw, unit),
        "context": context_json(CONTEXT),
        "coins": [coin_json(coin) for coin in coins],
        "supplies": supplies_json(supplies),
        **refusal_json(error),
    }


def _violation(
    tx: Tx, coins: Sequence[Coin | None], supplies: Mapping[AssetId, int]
) -> Violation | None:
    """The first rule that `tx` breaks."""
    try:
        spend = check_spend(check_tx(tx), coins, lambda asset: supplies.get(asset, 0), CONTEXT)
    except Violation as error:
        return error
    return None if are_signed(spend.checks) else Invalid(Rule.BAD_SIGNATURE)


def _signed(name: str, rule: Rule, unit: bytes = b"", **change: Any) -> Json:
    """The plain payment with another body, rightly signed."""
    return refused(name, rule, sign_funds(replace(BODY, **change), [COIN], PEOPLE), unit=unit)


def _shown(name: str, rule: Rule, lock: Lock, *items: bytes, coin: Coin = COIN.coin) -> Json:
    """The plain payment with another witness."""
    return refused(name, rule, make_tx(BODY, [Witness(lock, items)]), [Funds(coin, lock)])


def _bodies() -> list[Json]:
    out = OUTPUTS[0]
    small = pay(1, BOB.lock)
    huge = make_tx(BODY, [replace(GOOD.witnesses[0], items=(b"\x00" * 100_001,))])
    return [
        refused("one byte above the limit and more", Rule.OVERSIZED, huge, unit=b"\x00"),
        _signed("version 0", Rule.TX_VERSION, version=0),
        _signed("version 2", Rule.TX_VERSION, version=2),
        _signed("version -1", Rule.TX_VERSION, version=-1),
        refused("no inputs", Rule.TX_INPUTS_EMPTY, make_tx(replace(BODY, inputs=()), []), ()),
        _signed("no outputs", Rule.TX_OUTPUTS_EMPTY, outputs=()),
        refused("the same input twice", Rule.TX_DUPLICATE_INPUT,
                sign_funds(replace(BODY, inputs=(place(0),) * 2), [COIN] * 2, PEOPLE), [COIN] * 2),
        _signed("expiry -1", Rule.TX_EXPIRY_RANGE, expiry=Height(-1)),
        _signed("expiry 2**32", Rule.TX_EXPIRY_RANGE, expiry=Height(2**32)),
        _signed("asset of 31 bytes", Rule.OUTPUT_ASSET_SIZE,
                outputs=(replace(out, asset=AssetId(bytes(31))),)),
        _signed("asset of 33 bytes", Rule.OUTPUT_ASSET_SIZE,
                outputs=(replace(out, asset=AssetId(bytes(33))),)),
        _signed("amount 0", Rule.OUTPUT_AMOUNT_RANGE, outputs=(replace(out, amount=0),)),
        _signed("amount -1", Rule.OUTPUT_AMOUNT_RANGE, outputs=(replace(out, amount=-1),)),
        _signed("amount 2**63", Rule.OUTPUT_AMOUNT_RANGE, outputs=(replace(out, amount=2**63),)),
        _signed("memo of 129 bytes", Rule.OUTPUT_MEMO_SIZE, outputs=(replace(out, memo=b"m" * 129),)),
        _signed("600 outputs cost too much", Rule.TX_COST, unit=encode(small),
                outputs=(small,) * 600),
    ]  # fmt: skip


def _issuances() -> list[Json]:
    def issue(**change: Any) -> Issue:
        return Issue(0, replace(NOTE, **change), 10)

    def one(name: str, rule: Rule, *issuances: Issue | Reissue) -> Json:
        return _signed(name, rule, issuances=issuances)

    definition: AssetDefinition = NOTE
    again = Reissue(NOTE_ID, 5)
    return [
        one("issue from input 1 of 1", Rule.ISSUANCE_INPUT, Issue(1, definition, 10)),
        one("issue from input -1", Rule.ISSUANCE_INPUT, Issue(-1, definition, 10)),
        one("no ticker", Rule.ASSET_TICKER, issue(ticker=b"")),
        one("ticker of 13 characters", Rule.ASSET_TICKER, issue(ticker=b"A" * 13)),
        one("ticker in small letters", Rule.ASSET_TICKER, issue(ticker=b"note")),
        one("ticker with a line feed", Rule.ASSET_TICKER, issue(ticker=b"NOTE\n")),
        one("no name", Rule.ASSET_NAME, issue(name=b"")),
        one("name of 65 bytes", Rule.ASSET_NAME, issue(name=b"n" * 65)),
        one("name that is not UTF-8", Rule.ASSET_NAME, issue(name=b"\xff")),
        one("name with a surrogate", Rule.ASSET_NAME, issue(name=b"\xed\xa0\x80")),
        one("name in an overlong form", Rule.ASSET_NAME, issue(name=b"\xc1\x81")),
        one("name with U+0000", Rule.ASSET_NAME, issue(name=b"a\x00")),
        one("name with U+007F", Rule.ASSET_NAME, issue(name=b"\x7f")),
        one("name with U+009F", Rule.ASSET_NAME, issue(name="\u009f".encode())),
        one("19 decimals", Rule.ASSET_DECIMALS, issue(decimals=19)),
        one("-1 decimals", Rule.ASSET_DECIMALS, issue(decimals=-1)),
        one("terms of 31 bytes", Rule.ASSET_TERMS, issue(terms=bytes(31))),
        one("two issues from one input", Rule.ISSUANCE_DUPLICATE, issue(), issue(decimals=3)),
        one("two reissues of one asset", Rule.ISSUANCE_DUPLICATE, again, again),
        one("issue of 0", Rule.ISSUANCE_AMOUNT, Issue(0, definition, 0)),
        one("reissue of 2**63", Rule.ISSUANCE_AMOUNT, Reissue(NOTE_ID, 2**63)),
    ]


def _witnesses() -> list[Json]:
    two = TWO_OF_THREE
    hash_of_bob = hidden(BOB_KEY)
    return [
        refused("no witness", Rule.WITNESS_COUNT, make_tx(BODY, [])),
        refused("a witness too many", Rule.WITNESS_COUNT, make_tx(BODY, GOOD.witnesses * 2)),
        _shown("nothing but a hash", Rule.LOCK_ROOT_PRUNED, Pruned(COIN.coin.lock)),
        _shown("65 nodes", Rule.LOCK_NODES, Threshold(1, (*WIDEST.children, hash_of_bob)), SIGNATURE),
        _shown("65 children", Rule.LOCK_NODES, Threshold(1, (hash_of_bob,) * 65), SIGNATURE),
        _shown("nine levels", Rule.LOCK_DEPTH, nested(8, ALICE_KEY), SIGNATURE),
        _shown("a hash at the ninth level", Rule.LOCK_DEPTH,
               nested(7, Threshold(1, (hash_of_bob, ALICE_KEY))), SIGNATURE),
        _shown("a key that begins with 4", Rule.LOCK_PARAMETER, Key(b"\x04" + bytes(32)), SIGNATURE),
        _shown("after height 0", Rule.LOCK_PARAMETER, AfterHeight(0)),
        _shown("after height 2**32", Rule.LOCK_PARAMETER, AfterHeight(2**32)),
        _shown("after time 0", Rule.LOCK_PARAMETER, AfterTime(0)),
        _shown("after time 2**32", Rule.LOCK_PARAMETER, AfterTime(2**32)),
        _shown("older than 0 blocks", Rule.LOCK_PARAMETER, Older(0)),
        _shown("older than 2**32 blocks", Rule.LOCK_PARAMETER, Older(2**32)),
        _shown("0 of 1", Rule.LOCK_THRESHOLD, Threshold(0, (hash_of_bob,))),
        _shown("1 of 0", Rule.LOCK_THRESHOLD, Threshold(1, ())),
        _shown("2 of 1", Rule.LOCK_THRESHOLD, Threshold(2, (ALICE_KEY,)), SIGNATURE),
        _shown("-1 of 1", Rule.LOCK_THRESHOLD, Threshold(-1, (ALICE_KEY,)), SIGNATURE),
        _shown("fewer shown than required", Rule.LOCK_THRESHOLD,
               Threshold(2, (ALICE_KEY, hash_of_bob)), SIGNATURE),
        _shown("more shown than required", Rule.LOCK_THRESHOLD, two, *[SIGNATURE] * 3),
        _shown("no item", Rule.WITNESS_ITEMS, ALICE_KEY),
        _shown("an item too many", Rule.WITNESS_ITEMS, ALICE_KEY, SIGNATURE, b""),
        _shown("an item for an atom that takes none", Rule.WITNESS_ITEMS, Older(1), b""),
        _shown("signature of 64 bytes", Rule.WITNESS_ITEM_SIZE, ALICE_KEY, SIGNATURE[1:]),
        _shown("preimage of 31 bytes", Rule.WITNESS_ITEM_SIZE, Sha256(DIGEST), PREIMAGE[1:]),
        _shown("scope 0", Rule.SIGNATURE_SCOPE, ALICE_KEY, b"\x00" + SIGNATURE[1:]),
        _shown("scope 3", Rule.SIGNATURE_SCOPE, ALICE_KEY, b"\x03" + SIGNATURE[1:]),
    ]  # fmt: skip


def _coins() -> list[Json]:
    late = funds(Threshold(2, (ALICE_KEY, AfterHeight(1_001))), 100_000)
    dawn = funds(Threshold(2, (ALICE_KEY, AfterTime(CONTEXT.median_time + 1))), 100_000)
    fresh = funds(Threshold(2, (ALICE_KEY, Older(10))), 100_000, height=991)
    secret = Sha256(label("another"))
    guess = Funds(Coin(NATIVE, 100_000, funds(secret, 1).coin.lock, Height(1), False), secret)

    def one(name: str, rule: Rule, spent: Funds) -> Json:
        return refused(name, rule, sign_funds(BODY, [spent], PEOPLE), [spent])

    other = Funds(replace(COIN.coin, lock=BOB.lock), ALICE_KEY)
    return [
        refused("expired a block ago", Rule.TX_EXPIRED,
                sign_funds(replace(BODY, expiry=Height(999)), [COIN], PEOPLE)),
        refused("no such coin", Rule.COIN_MISSING, GOOD, [None]),
        one("a coin of another", Rule.LOCK_MISMATCH, other),
        one("a coinbase coin 99 blocks old", Rule.COIN_IMMATURE,
            funds(ALICE_KEY, 100_000, height=901, delayed=True)),
        one("a block too early", Rule.LOCK_AFTER_HEIGHT, late),
        one("a second too early", Rule.LOCK_AFTER_TIME, dawn),
        one("a coin nine blocks old", Rule.LOCK_OLDER, fresh),
        refused("another preimage", Rule.LOCK_PREIMAGE,
                make_tx(BODY, [Witness(secret, (PREIMAGE,))]), [guess]),
        refused("scope sponsored on a native coin", Rule.SIGNATURE_SPONSORED_NATIVE,
                sign_funds(BODY, [COIN], PEOPLE, SCOPE_SPONSORED)),
    ]  # fmt: skip


def _balances() -> list[Json]:
    authority = funds(ALICE_KEY, 1, NOTE_AUTHORITY)
    notes = funds(ALICE_KEY, 100, NOTE_ID)
    made = asset_id(place(0), NOTE)

    def one(
        name: str, rule: Rule, spent: list[Funds], outputs: list[TxOut],
        issuances: Sequence[Issue | Reissue] = (), supplies: Mapping[AssetId, int] = NOTHING,
    ) -> Json:  # fmt: skip
        body = body_of([place(n) for n in range(len(spent))], outputs, issuances)
        return refused(name, rule, sign_funds(body, spent, PEOPLE), spent, supplies)

    more = [Reissue(NOTE_ID, 6)]
    issue = [Issue(0, NOTE, 10)]
    full = {NOTE_ID: AMOUNT_MAX - 5}
    return [
        one("reissue without the authority coin", Rule.ISSUANCE_AUTHORITY, [COIN],
            [pay(6, BOB.lock, NOTE_ID)], more),
        one("reissue with coins of the asset itself", Rule.ISSUANCE_AUTHORITY, [notes],
            [pay(106, BOB.lock, NOTE_ID)], more),
        one("reissue above the largest supply", Rule.ASSET_SUPPLY, [authority],
            [pay(6, BOB.lock, NOTE_ID), pay(1, ALICE.lock, NOTE_AUTHORITY)], more, full),
        one("one note too many", Rule.ASSET_IMBALANCE, [notes], [pay(101, BOB.lock, NOTE_ID)]),
        one("one note too few", Rule.ASSET_IMBALANCE, [notes, COIN], [pay(99, BOB.lock, NOTE_ID)]),
        one("notes for shares", Rule.ASSET_IMBALANCE, [notes], [pay(100, BOB.lock, SHARE_ID)]),
        one("an issue that nobody receives", Rule.ASSET_IMBALANCE, [COIN], list(OUTPUTS), issue),
        one("an issue without its authority coin", Rule.ASSET_IMBALANCE, [COIN],
            [pay(10, BOB.lock, made)], issue),
        one("two authority coins", Rule.ASSET_IMBALANCE, [COIN],
            [pay(10, BOB.lock, made), pay(2, BOB.lock, authority_id(made))], issue),
        one("the authority coin lost on a reissue", Rule.ASSET_IMBALANCE, [authority],
            [pay(6, BOB.lock, NOTE_ID)], more),
        one("one base unit more than there is", Rule.OVERSPEND, [COIN], [pay(100_001, BOB.lock)]),
        one("outputs that add up to more than 2**64", Rule.OVERSPEND, [COIN],
            [pay(AMOUNT_MAX, BOB.lock)] * 3),
    ]  # fmt: skip


def _high_s(item: bytes) -> bytes:
    """The same signature with the other s."""
    return item[:33] + (ORDER - int.from_bytes(item[33:])).to_bytes(32)


def _signatures() -> list[Json]:
    sponsored, spent = sponsored_tx()
    split = (pay(50, BOB.lock, NOTE_ID), pay(50, ALICE.lock, NOTE_ID), sponsored.body.outputs[2])
    twin = [funds(ALICE_KEY, 5_000), funds(ALICE_KEY, 5_000)]
    both = sign_funds(body_of([place(0), place(1)], [pay(9_000, BOB.lock)]), twin, PEOPLE)
    twice = Threshold(2, (ALICE_KEY, ALICE_KEY))
    once = sign_funds(BODY, [funds(twice, 100_000)], PEOPLE).witnesses[0].items[0]
    off_curve = Key(b"\x02" + b"\xff" * 32)

    def one(name: str, item: bytes) -> Json:
        return refused(name, Rule.BAD_SIGNATURE, make_tx(BODY, [Witness(ALICE_KEY, (item,))]))

    def other(body: Body, name: str) -> Json:
        return refused(name, Rule.BAD_SIGNATURE, make_tx(body, GOOD.witnesses))

    lied = Funds(replace(COIN.coin, amount=100_001), ALICE_KEY)
    return [
        one("a bit changed", SIGNATURE[:-1] + bytes((SIGNATURE[-1] ^ 1,))),
        one("high s", _high_s(SIGNATURE)),
        one("r of 0", SIGNATURE[:1] + bytes(32) + SIGNATURE[33:]),
        one("s of 0", SIGNATURE[:33] + bytes(32)),
        one("r of the order", SIGNATURE[:1] + ORDER.to_bytes(32) + SIGNATURE[33:]),
        one("the signature of another transaction", both.witnesses[0].items[0]),
        other(replace(BODY, outputs=OUTPUTS[::-1]), "outputs in another order"),
        other(replace(BODY, expiry=Height(1_500)), "another expiry"),
        refused("another amount of the coin", Rule.BAD_SIGNATURE, GOOD, [lied]),
        refused("the signature of one coin on its sibling", Rule.BAD_SIGNATURE,
                make_tx(both.body, [both.witnesses[0]] * 2), twin),
        refused("the signature of one branch on another", Rule.BAD_SIGNATURE,
                make_tx(BODY, [Witness(twice, (once, once))]), [funds(twice, 100_000)]),
        _shown("a key that is not on the curve", Rule.BAD_SIGNATURE, off_curve, SIGNATURE,
               coin=funds(off_curve, 100_000).coin),
        refused("an asset output changed under scope sponsored", Rule.BAD_SIGNATURE,
                _sign_second(replace(sponsored.body, outputs=split), sponsored.witnesses[0], spent),
                spent),
    ]  # fmt: skip


def _sign_second(body: Body, first: Witness, spent: Sequence[Funds]) -> Tx:
    """`body` with the given witness of its first input and a right one of its second."""
    second = sign_funds(body, spent, PEOPLE, SCOPE_ALL).witnesses[1]
    return make_tx(body, [first, second])


def refused_transactions() -> Json:
    """Transactions that break one rule each."""
    return {
        "transactions": [
            *_bodies(), *_issuances(), *_witnesses(), *_coins(), *_balances(), *_signatures(),
        ],
    }  # fmt: skip
