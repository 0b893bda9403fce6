"""Changes of what an input means, as changes of its bytes alone hardly ever decode."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from scripts.fuzz.conversation import FRAME, STEPS_MAX, Step, read_steps, write_steps
from tests.support import second

EDGES = (
    0, 1, 2, 3, 8, 64, 65, -1, -(2**63), 127, 128, 255, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1,
    2**63, 2**64 - 1,
)  # fmt: skip
TEXTS = ("", "0", "-1", "a" * 65, "1e9", "{}", "[]", "null", "\u0000", "é", "0x", "00")
DEPTH_MAX = 40
Way = tuple[Any, ...]


def _places(value: Any, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Every value inside `value`, with the way to it."""
    if way:
        yield way, value
    if len(way) >= DEPTH_MAX:
        return
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, (*way, index))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*way, key))


def _changed(old: Any, rng: random.Random, others: list[Any]) -> Any:
    other = copy.deepcopy(rng.choice(others))
    if rng.random() < 0.1:
        return other
    match old:
        case bool():
            return not old
        case int():
            return rng.choice((*EDGES, old + 1, old - 1))
        case bytes():
            at = rng.randrange(len(old) + 1)
            byte = bytes((rng.randrange(256),))
            return rng.choice((old[:at], old + byte, b"", old[:at] + byte + old[at + 1 :]))
        case str():
            at = rng.randrange(len(old) + 1)
            return rng.choice((*TEXTS, old[:at], old + old, old[:at] + "1" + old[at + 1 :]))
        case list():
            at = rng.randrange(len(old) + 1)
            kept = old[:at] + old[at + 1 :]
            return rng.choice(([], old + old[-1:], kept, old[::-1], [*old, other], [other]))
        case dict():
            key = rng.choice((*old, "x"))
            rest = {name: value for name, value in old.items() if name != key}
            return rng.choice((rest, {**old, key: other}, {}))
        case _:
            return rng.choice((None, 1, "a", other))


def mutated(value: Any, rng: random.Random) -> Any:
    """A copy of a list or an object with one to three things in it changed."""
    made = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        everything = list(_places(made))
        if not everything:
            return made
        way, old = rng.choice(everything)
        parent = made
        for step in way[:-1]:
            parent = parent[step]
        parent[way[-1]] = _changed(old, rng, [inner for _, inner in everything])
    return made


def packed(data: bytes, rng: random.Random) -> bytes | None:
    """Of MessagePack."""
    try:
        value = second.read(data)
        return second.enc(mutated(value, rng)) if isinstance(value, list) else None
    except (second.BrokenRule, OverflowError, ValueError, RecursionError):
        return None


def _with_right_root(value: Any) -> Any:
    """The block with a header that fits its transactions, as far as it has any."""
    match value:
        case [bytes(header), [[list(), list()], *_] as transactions] if all(
            isinstance(each, list) and each for each in transactions
        ):
            root = second.block_root(second.enc(transactions[0]), second.others_root(transactions))
            return [header[:36] + root + header[68:], transactions]
    return value


def block(data: bytes, rng: random.Random) -> bytes | None:
    """Of a block, whose root is made right: past it are the rules."""
    changed = packed(data, rng)
    return None if changed is None else second.enc(_with_right_root(second.read(changed)))


def tagged(data: bytes, rng: random.Random) -> bytes | None:
    """Of MessagePack behind one byte."""
    changed = packed(data[1:], rng)
    return None if changed is None else data[:1] + changed


def written(data: bytes, rng: random.Random) -> bytes | None:
    """Of JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return json.dumps(mutated([value], rng)[0]).encode() if value is not None else None


def steps(data: bytes, rng: random.Random) -> bytes | None:
    """Of a conversation: a message is changed, or steps change their places."""
    found = read_steps(data)
    if not found:
        return None
    at = rng.randrange(len(found))
    kind, said = found[at]
    step: Step = found[at]
    if kind == FRAME and rng.random() < 0.5:
        step = kind, packed(said, rng) or said
    choice = rng.randrange(4)
    if choice == 0:
        found[at] = step
    elif choice == 1 and len(found) < STEPS_MAX:
        found.insert(rng.randrange(len(found) + 1), step)
    elif choice == 2:
        del found[at]
    else:
        other = rng.randrange(len(found))
        found[at], found[other] = found[other], step
    return write_steps(found)
