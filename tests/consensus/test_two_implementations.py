"""Both implementations give one verdict on what neither has seen: mutations of the vectors."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from consensus.block_rules import check_block
from consensus.errors import Invalid, Rule, Violation
from consensus.keys import are_signed
from consensus.locks import BlockContext
from consensus.tx import Coin, decode_tx
from consensus.tx_rules import check_spend, check_tx
from tests.support import second, second_rules
from tests.support.second import BrokenRule
from tests.support.vectors import Case, coin_of, load, raw_of, supplies_of

EDGES = (
    0, 1, 2, 3, 8, 64, 65, -1, -(2**63), 127, 128, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63,
    2**64 - 1, True, b"",
)  # fmt: skip
BYTES_MAX = 5_000
"""Larger cases add time and nothing else."""
SAME = {"malformed", "non-canonical"}
"""Bytes that are both may be given either name."""

Verdict = tuple[str, str] | None
"""Kind and rule; None is accepted."""


def places(value: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Every value inside `value`, with the way to it."""
    if path:
        yield path, value
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def mutated(value: list[Any], rng: random.Random) -> list[Any]:
    """`value` with one thing in it changed."""
    made = copy.deepcopy(value)
    everything = list(places(made))
    path, old = rng.choice(everything)
    parent = made
    for index in path[:-1]:
        parent = parent[index]
    parent[path[-1]] = changed(old, rng, [inner for _, inner in everything])
    return made


def changed(old: Any, rng: random.Random, others: list[Any]) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return rng.choice((*EDGES, old + 1, old - 1))
    if isinstance(old, bytes):
        byte = bytes((rng.randrange(256),))
        return rng.choice((old[:-1], old + b"\x00", b"", byte + old[1:], old[:-1] + byte))
    return rng.choice(([], old + old[-1:], old[:-1], old[::-1], copy.deepcopy(rng.choice(others))))


def with_right_root(block: list[Any]) -> list[Any]:
    """The block with a header that fits its transactions, as far as it has any."""
    match block:
        case [bytes(header), [[list(), list()], *_] as transactions] if all(
            isinstance(each, list) and each for each in transactions
        ):
            root = second.block_root(second.enc(transactions[0]), second.others_root(transactions))
            return [header[:36] + root + header[68:], transactions]
    return block


def broken_bytes(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes((rng.randrange(256),)) + raw[at + 1 :]


def mutation_of(raw: bytes, rng: random.Random, is_block: bool) -> bytes:
    if rng.random() < 0.2:
        return broken_bytes(raw, rng)
    value = mutated(second.read(raw), rng)
    return second.enc(with_right_root(value) if is_block else value)


def first_on_tx(case: Case, raw: bytes) -> None:
    tx = decode_tx(raw, 100_000)
    checked = check_tx(tx)
    given = case["context"]
    context = BlockContext(bytes.fromhex(given["chain_id"]), given["height"], given["median_time"])
    entries = coins_for(case, len(tx.body.inputs))
    coins = [None if entry is None else Coin(*entry) for entry in entries]
    supplies = supplies_of(case)
    spend = check_spend(checked, coins, lambda asset: supplies.get(asset, 0), context)
    if not are_signed(spend.checks):
        raise Invalid(Rule.BAD_SIGNATURE)


def second_on_tx(case: Case, raw: bytes) -> None:
    transaction = second.decode_transaction(raw)
    second_rules.check_alone(transaction)
    given = case["context"]
    place = second_rules.Place(
        bytes.fromhex(given["chain_id"]), given["height"], given["median_time"]
    )
    coins = coins_for(case, len(transaction[0][1]))
    second_rules.check_with_coins(transaction, coins, supplies_of(case), place)
    second_rules.check_signatures(transaction, [c for c in coins if c], place.chain)


def coins_for(case: Case, inputs: int) -> list[list[Any] | None]:
    """The case's coins, as many as there are inputs now."""
    coins = [coin_of(coin) for coin in case["coins"]]
    return (coins + [None] * inputs)[:inputs]


def verdicts(case: Case, raw: bytes, is_block: bool) -> tuple[Verdict, Verdict]:
    first: Verdict = None
    other: Verdict = None
    try:
        check_block(raw) if is_block else first_on_tx(case, raw)
    except Violation as error:
        first = (type(error).__name__, str(error.rule))
    try:
        second_rules.check_block(raw) if is_block else second_on_tx(case, raw)
    except BrokenRule as broken:
        other = (broken.kind, broken.rule)
    return first, other


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["transactions", "blocks"])
def test_both_implementations_agree_on_mutations_of_the_vectors(name: str, seed: int) -> None:
    rng = random.Random(seed)
    cases = [case for case in load(name)[name] if len(raw_of(case)) <= BYTES_MAX]
    seen = set()
    for _ in range(500):
        case = rng.choice(cases)
        raw = mutation_of(raw_of(case), rng, is_block=name == "blocks")
        first, other = verdicts(case, raw, is_block=name == "blocks")
        seen.add(first)
        if first != other:
            assert first is not None, raw.hex()
            assert other is not None, raw.hex()
            assert {first[1], other[1]} == SAME, raw.hex()
    assert len(seen) > 5  # not one and the same refusal again and again
