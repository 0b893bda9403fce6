"""Vectors of networks, difficulty and headers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from consensus.address import encode_address
from consensus.block import Header, decode_header, genesis, make_header
from consensus.codec import encode
from consensus.errors import Rule, Violation
from consensus.hashes import BlockHash, to_text
from consensus.header_tree import HeaderNode, HeaderTree, earliest_time, expected_bits
from consensus.params import MAIN, NETWORKS, TEST, Params, params_from_mapping
from consensus.pow import (
    asert_bits,
    bits_of,
    hash_as_number,
    is_canonical_bits,
    target_of,
    work_of,
)
from scripts.vectors.common import Json, label, refusal_json
from tests.support.chain import ALICE, BOB

TOWN = params_from_mapping({
    "name": "old-town", "hrp": "town", "ticker": "TOWN", "genesis_time": 1_795_435_200,
    "interval_s": 10, "half_life_blocks": 12, "spacing_s": 2, "future_s": 60,
    "subsidy": 1_000, "halving_blocks": 50, "pow_limit_bits": 0x207FFFFF,
    "allocations": [
        {"address": encode_address("town", ALICE.lock), "amount": 1_000_000},
        {"address": encode_address("town", BOB.lock), "amount": 1},
    ],
})  # fmt: skip
"""A private currency, easy enough to mine by hand, whose difficulty moves."""


def _network(params: Params) -> Json:
    first = genesis(params)
    values = {
        field: value.decode() if isinstance(value, bytes) else value
        for field in params.__struct_fields__
        if field != "allocations"
        for value in (getattr(params, field),)
    }
    heights = sorted({
        1, 2, params.halving_blocks - 1, params.halving_blocks, params.halving_blocks * 2,
        params.halving_blocks * 63, params.halving_blocks * 64,
    })  # fmt: skip
    return {
        "params": values,
        "allocations": [[entry.lock.hex(), entry.amount] for entry in params.allocations],
        "encoding": encode(params).hex(),
        "hash": params.hash().hex(),
        "genesis": first.raw.hex(),
        "genesis_header": first.header.raw.hex(),
        "genesis_coinbase": first.txs[0].raw.hex(),
        "genesis_txid": to_text(first.txs[0].txid),
        "chain_id": first.header.hash.hex(),
        "genesis_hash": to_text(first.header.hash),
        "subsidies": [[height, params.subsidy_at(height)] for height in heights],
    }


def networks() -> Json:
    """Parameters, their hash, and the genesis block that follows from them."""
    return {"networks": [_network(params) for params in (*NETWORKS.values(), TOWN)]}


COMPACT = (
    0x1E00FFFF, 0x1F00FFFF, 0x207FFFFF, 0x1D00FFFF, 0x1C008000, 0x03123456, 0x02008000, 0x01010000,
    0x2100FFFF, 0x200FFFFF, 0, 0x01003456, 0x03000001, 0x1D00007F, 0x1D800001, 0x1D000000,
    0x227FFFFF, 0x2200FFFF, 0x22000100, 0x2100FFFE, 0xFF123456, 0x04000001, 0x1E000FFF,
)  # fmt: skip


def difficulty() -> Json:
    """Compact targets, work, and ASERT at many heights and times."""
    compact = []
    for bits in COMPACT:
        entry: Json = {"bits": f"{bits:08x}", "canonical": is_canonical_bits(bits)}
        if entry["canonical"]:
            entry["target"] = f"{target_of(bits):064x}"
            entry["work"] = f"{work_of(bits):x}"
        compact.append(entry)
    rounded = [
        {"target": f"{target:064x}", "bits": f"{bits_of(target):08x}"}
        for target in (1, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7FFFFF, 0x800000, 0x12345678, 2**255 + 1)
    ]
    runs = [_asert(params, height, drift) for params in (MAIN, TEST) for height, drift in DRIFTS]
    return {"compact": compact, "rounded": rounded, "asert": runs}


DRIFTS = (
    (0, 0), (0, 1), (0, -1), (1, -30), (100, 1_000), (100, -1_000), (288, -8_640), (1_000, 8_640),
    (5_000, -17_281), (5_000, -17_279), (40_000, -86_399), (123_456, -100_001), (123_456, 7),
    (1_000_000, -3_000_001), (2_000_000, -50_000_000), (2_000_000, 50_000_000), (3, 250_000),
    (100_000_000, -2_900_000_000),
)  # fmt: skip
"""Height of the parent, and the seconds that it is late (negative: early)."""


def _asert(params: Params, height: int, drift: int) -> Json:
    time = params.genesis_time + params.interval_s * height + drift
    bits = asert_bits(
        params.pow_limit_bits, time - params.genesis_time + params.interval_s, height,
        params.interval_s, params.half_life_blocks * params.interval_s, params.pow_limit_bits,
    )  # fmt: skip
    return {
        "network": params.name.decode(),
        "parent_height": height,
        "parent_time": time,
        "bits": f"{bits:08x}",
    }


def solved(
    parent: HeaderNode, root: bytes, time: int, bits: int, version: int = 0x20000000
) -> Header:
    """A header whose hash meets `bits`, with the least nonce that does."""
    for nonce in itertools.count():
        header = make_header(version, parent.hash, root, time, bits, nonce)
        if hash_as_number(header.hash) <= target_of(bits):
            return header
    raise AssertionError


GAPS = (2, 2, 3, 40, 2, 2, 2, 5, 9, 11, 2, 2, 2, 2, 100, 2, 3, 10, 10, 10, 2, 2, 2, 2, 2, 2, 2, 30)
"""Seconds between the headers of the run, the first after genesis."""


def _run() -> tuple[HeaderTree, HeaderNode, list[Json]]:
    tree = HeaderTree(TOWN, genesis(TOWN).header)
    tip, steps = tree.genesis, []
    for number, gap in enumerate(GAPS):
        time = max(tip.header.time + gap, earliest_time(tip, TOWN))
        bits = expected_bits(tip, tree.genesis, TOWN)
        header = solved(tip, label(f"root {number}"), time, bits, 0x20000000 + number)
        tip = tree.add(header, time)
        steps.append({
            "raw": header.raw.hex(),
            "hash": to_text(header.hash),
            "height": tip.height,
            "bits": f"{bits:08x}",
            "median_time": tip.median_time(),
            "work": f"{tip.work:x}",
        })  # fmt: skip
    return tree, tip, steps


def headers() -> Json:
    """A run of headers on the private currency, then headers that may not follow it."""
    tree, tip, steps = _run()
    cases = _refused_headers(tree, tip)
    return {"network": TOWN.name.decode(), "run": steps, "refused": cases}


def _refused_headers(tree: HeaderTree, tip: HeaderNode) -> list[Json]:
    bits = expected_bits(tip, tree.genesis, TOWN)
    good = solved(tip, label("next"), tip.header.time + 10, bits)
    time, root = good.time, good.root
    stray = make_header(good.version, BlockHash(label("elsewhere")), root, time, bits, 0)
    too_easy = solved(tip, root, time, TOWN.pow_limit_bits)
    median = tip.median_time()
    now = time - TOWN.future_s

    def fields(bits_now: int, at: int = time) -> Header:
        return make_header(good.version, tip.hash, root, at, bits_now, 0)

    assert too_easy.bits != bits
    listed: list[tuple[str, Rule, bytes, int]] = [
        ("79 bytes", Rule.HEADER_SIZE, good.raw[:79], now),
        ("81 bytes", Rule.HEADER_SIZE, good.raw + b"\x00", now),
        ("a negative target", Rule.HEADER_BITS_INVALID, fields(bits | 0x800000).raw, now),
        ("a target of 0", Rule.HEADER_BITS_INVALID, fields(0x1D000000).raw, now),
        ("a target above 2**256", Rule.HEADER_BITS_INVALID, fields(0x227FFFFF).raw, now),
        ("another form of a target", Rule.HEADER_BITS_INVALID, fields(0x2100007F).raw, now),
        ("a hash above the target", Rule.HEADER_HASH_ABOVE_TARGET, _unsolved(good).raw, now),
        ("a parent that nobody knows", Rule.HEADER_PARENT_UNKNOWN, _resolved(stray).raw, now),
        ("an easier target than the rule asks", Rule.HEADER_BITS_WRONG, too_easy.raw, now),
        ("the median time of the eleven before", Rule.HEADER_TIME_TOO_OLD,
         solved(tip, root, median, bits).raw, now),
        ("a second after the parent", Rule.HEADER_TIME_SPACING,
         solved(tip, root, tip.header.time + 1, bits).raw, now),
        ("a second further ahead than the clock allows", Rule.HEADER_TIME_TOO_NEW, good.raw,
         now - 1),
    ]  # fmt: skip
    cases = []
    for name, rule, raw, clock in listed:
        error = _violation(tree, raw, clock)
        assert error is not None, name
        assert error.rule is rule, (name, error)
        cases.append({"name": name, "raw": raw.hex(), "now": clock, **refusal_json(error)})
    accepted = tree.add(good, now)
    cases.append({"name": "all is well", "raw": good.raw.hex(), "now": now})
    return cases + _on_invalid(tree, accepted, now)


def _on_invalid(tree: HeaderTree, bad: HeaderNode, now: int) -> list[Json]:
    """What is known of a block whose transactions were seen to break a rule goes for its children."""
    bits = expected_bits(bad, tree.genesis, TOWN)
    child = solved(bad, label("child"), bad.header.time + 10, bits)
    tree.mark_invalid(bad)
    cases = []
    for name, raw in (("again", bad.header.raw), ("its child", child.raw)):
        error = _violation(tree, raw, now + 10)
        assert error is not None
        cases.append({
            "name": f"a block that is known to be invalid: {name}", "raw": raw.hex(),
            "now": now + 10, "invalid": to_text(bad.hash), **refusal_json(error),
        })  # fmt: skip
    return cases


def _violation(tree: HeaderTree, raw: bytes, now: int) -> Violation | None:
    try:
        tree.add(decode_header(raw), now)
    except Violation as error:
        return error
    return None


def _unsolved(header: Header) -> Header:
    """The same header with the least nonce that does not meet its target."""
    return next(h for h in _nonces(header) if hash_as_number(h.hash) > target_of(h.bits))


def _resolved(header: Header) -> Header:
    return next(h for h in _nonces(header) if hash_as_number(h.hash) <= target_of(h.bits))


def _nonces(header: Header) -> Iterator[Header]:
    for nonce in itertools.count():
        yield make_header(
            header.version, header.previous, header.root, header.time, header.bits, nonce
        )
