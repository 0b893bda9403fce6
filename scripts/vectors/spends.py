"""Vectors of transactions that keep the rules: one of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from consensus.asset import asset_id, authority_id
from consensus.codec import encode
from consensus.hashes import AssetId, to_text
from consensus.keys import are_signed
from consensus.params import AMOUNT_MAX
from consensus.sighash import SCOPE_ALL, SCOPE_SPONSORED, coins_digest
from consensus.tx import BURN_LOCK, Issue, Key, Reissue, Threshold, Tx, TxOut, make_tx
from consensus.tx_rules import check_spend, check_tx, is_delayed
from scripts.vectors.basics import (
    ESCROW_BY_BOTH,
    ESCROW_BY_PREIMAGE,
    EVERY_ATOM,
    KEYS,
    NOTE,
    SHARE,
    TWO_OF_THREE_OPENED,
    WIDEST,
    nested,
)
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
    pay,
    place,
    raw_json,
    sign_funds,
    supplies_json,
)
from tests.support.chain import ALICE, BOB, CAROL, DAVE

PEOPLE = (ALICE, BOB, CAROL, DAVE)
ALICE_KEY, BOB_KEY = KEYS[0], KEYS[1]
NOTE_ID = asset_id(place(70), NOTE)
NOTE_AUTHORITY = authority_id(NOTE_ID)
SHARE_ID = asset_id(place(71), SHARE)
NOTHING: Mapping[AssetId, int] = {}


def case(
    name: str, tx: Tx, spent: Sequence[Funds], supplies: Mapping[AssetId, int] = NOTHING,
    unit: bytes = b"",
) -> Json:  # fmt: skip
    """A transaction, the coins it spends, and everything that follows from them."""
    coins = [f.coin for f in spent]
    checked = check_tx(tx)
    result = check_spend(checked, coins, lambda asset: supplies.get(asset, 0), CONTEXT)
    assert are_signed(result.checks), name
    body = tx.body
    made = [
        to_text(asset_id(body.inputs[issue.input_index], issue.definition))
        for issue in body.issuances
        if isinstance(issue, Issue)
    ]
    return {
        "name": name,
        "raw": raw_json(tx.raw, unit),
        "context": context_json(CONTEXT),
        "coins": [coin_json(coin) for coin in coins],
        "supplies": supplies_json(supplies),
        "body": raw_json(encode(body), unit),
        "txid": to_text(tx.txid),
        "wtxid": to_text(tx.wtxid),
        "cost": checked.cost,
        "fee": result.fee,
        "delayed": is_delayed(body, CONTEXT.height),
        "assets_made": made,
        "coins_digest": coins_digest(coins).hex(),
        "signatures": _signatures(tx, checked.locks, result.checks),
    }


def _signatures(tx: Tx, locks: Sequence[Any], checks: Sequence[bytes]) -> list[Json]:
    """Where each signature stands, and what it signs."""
    places = [
        (number, path, atom.pubkey)
        for number, opened in enumerate(locks)
        for path, atom in opened.atoms
        if isinstance(atom, Key)
    ]
    scopes = [item[0] for witness in tx.witnesses for item in witness.items if len(item) == 65]
    return [
        {
            "input": number,
            "path": path.hex(),
            "pubkey": pubkey.hex(),
            "scope": scope,
            "digest": check[33:65].hex(),
            "signature": check[65:].hex(),
        }
        for (number, path, pubkey), scope, check in zip(places, scopes, checks, strict=True)
    ]


def _spend(
    name: str, spent: Sequence[Funds], outputs: Sequence[TxOut], issuances: Sequence[Any] = (),
    expiry: int = 0, supplies: Mapping[AssetId, int] = NOTHING, unit: bytes = b"",
) -> Json:  # fmt: skip
    inputs = [place(number) for number in range(len(spent))]
    tx = sign_funds(body_of(inputs, outputs, issuances, expiry), spent, PEOPLE)
    return case(name, tx, spent, supplies, unit)


def sponsored_tx() -> tuple[Tx, list[Funds]]:
    """Alice signs for 40 notes that Bob shall have; Carol adds the fee and takes her change."""
    spent = [funds(ALICE_KEY, 100, NOTE_ID), funds(KEYS[2], 50_000)]
    outputs = [pay(40, BOB.lock, NOTE_ID), pay(60, ALICE.lock, NOTE_ID), pay(45_000, CAROL.lock)]
    body = body_of([place(0), place(1)], outputs, expiry=2_000)
    by_alice = sign_funds(body, spent, PEOPLE, SCOPE_SPONSORED).witnesses[0]
    by_carol = sign_funds(body, spent, PEOPLE, SCOPE_ALL).witnesses[1]
    return make_tx(body, [by_alice, by_carol]), spent


def _payments() -> list[Json]:
    coin = funds(ALICE_KEY, 500_000_000)
    dust = pay(1, BOB.lock)
    return [
        _spend("a payment with change", [coin],
               [pay(120_000_000, BOB.lock), pay(379_990_000, ALICE.lock)]),
        _spend("no fee", [coin], [pay(500_000_000, BOB.lock)]),
        _spend("several inputs of several people",
               [coin, funds(BOB_KEY, 7_000), funds(KEYS[2], 9_000)], [pay(500_010_000, DAVE.lock)]),
        _spend("a memo of 128 bytes", [coin], [pay(1_000, BOB.lock, memo=b"m" * 128)]),
        _spend("expiry at this very height: the outputs are delayed", [coin],
               [pay(499_000_000, BOB.lock)], expiry=1_000),
        _spend("expiry 19 blocks ahead: delayed", [coin], [pay(1_000, BOB.lock)], expiry=1_019),
        _spend("expiry 20 blocks ahead: not delayed", [coin], [pay(1_000, BOB.lock)], expiry=1_020),
        _spend("the latest expiry", [coin], [pay(1_000, BOB.lock)], expiry=2**32 - 1),
        _spend("the largest amount", [funds(ALICE_KEY, AMOUNT_MAX)], [pay(AMOUNT_MAX, BOB.lock)]),
        _spend("two coins of the largest amount",
               [funds(ALICE_KEY, AMOUNT_MAX), funds(BOB_KEY, AMOUNT_MAX)],
               [pay(AMOUNT_MAX, BOB.lock), pay(AMOUNT_MAX - 5, BOB.lock)]),
        _spend("a coinbase coin a hundred blocks old",
               [funds(ALICE_KEY, 10_000, height=900, delayed=True)], [pay(9_000, BOB.lock)]),
        _spend("one input, 200 outputs: growth costs", [coin], [dust] * 200, unit=encode(dust)),
    ]  # fmt: skip


def _of_assets() -> list[Json]:
    coin = funds(ALICE_KEY, 100_000)
    issue = Issue(0, NOTE, 1_000_000)
    fixed = Issue(0, SHARE, 100)
    made, shares = asset_id(place(0), NOTE), asset_id(place(0), SHARE)
    other_shares = asset_id(place(1), SHARE)
    authority = funds(ALICE_KEY, 1, NOTE_AUTHORITY)
    return [
        _spend("issue of a reissuable asset, with its authority coin", [coin],
               [pay(1_000_000, BOB.lock, made), pay(1, ALICE.lock, authority_id(made)),
                pay(90_000, ALICE.lock)], [issue]),
        _spend("issue of an asset of fixed supply", [coin],
               [pay(100, BOB.lock, shares), pay(90_000, ALICE.lock)], [fixed]),
        _spend("two issues from two inputs", [coin, funds(BOB_KEY, 5_000)],
               [pay(100, BOB.lock, shares), pay(7, BOB.lock, other_shares),
                pay(90_000, ALICE.lock)], [fixed, Issue(1, SHARE, 7)]),
        _spend("reissue by the authority coin", [authority, coin],
               [pay(500, BOB.lock, NOTE_ID), pay(1, ALICE.lock, NOTE_AUTHORITY),
                pay(90_000, ALICE.lock)], [Reissue(NOTE_ID, 500)], supplies={NOTE_ID: 1_000_000}),
        _spend("reissue up to the largest supply, the authority destroyed", [authority, coin],
               [pay(5, BOB.lock, NOTE_ID), pay(1, BURN_LOCK, NOTE_AUTHORITY),
                pay(90_000, ALICE.lock)], [Reissue(NOTE_ID, 5)],
               supplies={NOTE_ID: AMOUNT_MAX - 5}),
        _spend("destroying a part of an asset, and native coin",
               [funds(ALICE_KEY, 100, NOTE_ID), coin],
               [pay(30, BURN_LOCK, NOTE_ID), pay(70, ALICE.lock, NOTE_ID),
                pay(10, BURN_LOCK), pay(90_000, ALICE.lock)]),
        _spend("delivery against payment",
               [funds(ALICE_KEY, 100, SHARE_ID), funds(BOB_KEY, 800, NOTE_ID), coin],
               [pay(100, BOB.lock, SHARE_ID), pay(800, ALICE.lock, NOTE_ID),
                pay(90_000, ALICE.lock)]),
        case("sponsored: another pays the fee", *sponsored_tx()),
    ]  # fmt: skip


def _of_locks() -> list[Json]:
    to_bob = [pay(9_000, BOB.lock)]
    keyless = funds(nested(1, EVERY_ATOM.children[3]), 10_000)
    return [
        _spend("two of three, the second pruned", [funds(TWO_OF_THREE_OPENED, 10_000)], to_bob),
        _spend("every atom", [funds(EVERY_ATOM, 10_000)], to_bob),
        _spend("escrow by both", [funds(ESCROW_BY_BOTH, 10_000)], to_bob),
        _spend("escrow by preimage", [funds(ESCROW_BY_PREIMAGE, 10_000)], to_bob),
        _spend("eight levels", [funds(nested(7, ALICE_KEY), 10_000)], to_bob),
        _spend("64 nodes", [funds(WIDEST, 10_000)], to_bob),
        _spend("no key at all: inputs cost", [keyless, keyless], to_bob),
        _spend("two inputs with the same lock", [funds(ALICE_KEY, 5_000)] * 2, to_bob),
        _same_key_twice(),
    ]


def _same_key_twice() -> Json:
    """One key at two places of a lock needs two signatures, each over its own path."""
    lock = Threshold(2, (ALICE_KEY, ALICE_KEY))
    spent = [funds(lock, 10_000)]
    return case(
        "one key at two places",
        sign_funds(body_of([place(0)], [pay(9_000, BOB.lock)]), spent, PEOPLE),
        spent,
    )


def transactions() -> Json:
    """Transactions that keep every rule, with what follows from each."""
    return {
        "preimage": {"digest": DIGEST.hex(), "preimage": PREIMAGE.hex()},
        "transactions": [*_payments(), *_of_assets(), *_of_locks()],
    }
