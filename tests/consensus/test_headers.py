"""Rules of a header in its place."""

from __future__ import annotations

import msgspec
import pytest

from consensus.block import VERSION, Header, decode_header, genesis, make_header
from consensus.errors import DecodeError, Invalid, Missing, Premature, Rule
from consensus.hashes import BlockHash
from consensus.header_tree import (
    HeaderNode,
    HeaderTree,
    Status,
    check_header,
    earliest_time,
    expected_bits,
)
from consensus.params import MAIN, REGTEST, Params
from consensus.pow import hash_as_number, target_of
from tests.support.verdicts import violates

EASY = msgspec.structs.replace(
    MAIN, name=b"easy", pow_limit_bits=0x2000FFFF, genesis_time=1_800_000_000
)
"""Every rule of the main network, with a target that 256 tries meet."""


def solved(header: Header) -> Header:
    while hash_as_number(header.hash) > target_of(header.bits):
        header = make_header(
            header.version, header.previous, header.root, header.time, header.bits,
            header.nonce + 1,
        )  # fmt: skip
    return header


def child_of(
    parent: HeaderNode,
    tree: HeaderTree,
    time: int | None = None,
    bits: int | None = None,
    previous: bytes | None = None,
    version: int = VERSION,
    root: bytes = bytes(32),
) -> Header:
    """A header that keeps every rule but those that are asked to be broken."""
    header = make_header(
        version,
        BlockHash(previous or parent.hash),
        root,
        earliest_time(parent, tree.params) if time is None else time,
        expected_bits(parent, tree.genesis, tree.params) if bits is None else bits,
        0,
    )
    return solved(header) if 2**247 < target_of(header.bits) < 2**256 else header


def tree_of(params: Params = EASY, times: tuple[int, ...] = ()) -> tuple[HeaderTree, HeaderNode]:
    """A tree and its tip, after blocks that took `times` seconds each."""
    tree = HeaderTree(params, genesis(params).header)
    tip = tree.genesis
    for seconds in times:
        time = tip.header.time + seconds
        tip = tree.add(child_of(tip, tree, time), time)
    return tree, tip


NEVER = 2**40
"""A clock so far ahead that no header is too new."""


def test_header_that_keeps_the_rules_is_added_once() -> None:
    tree, tip = tree_of()
    header = child_of(tip, tree)
    node = tree.add(header, NEVER)
    assert (node.height, node.parent, node.status) == (1, tip, Status.HEADER)
    assert tree.add(header, NEVER) is node
    assert len(tree) == 2
    assert tree.best_header is node


def test_header_is_the_80_bytes_of_the_field() -> None:
    header = genesis(MAIN).header
    assert len(header.raw) == 80
    assert decode_header(header.raw) == header
    assert header.raw[:4] == VERSION.to_bytes(4, "little")
    assert header.raw[4:36] == header.previous
    assert header.raw[36:68] == header.root
    assert header.raw[68:72] == header.time.to_bytes(4, "little")
    assert header.raw[72:76] == header.bits.to_bytes(4, "little")
    with violates(Rule.HEADER_SIZE, DecodeError):
        decode_header(header.raw + b"\x00")


@pytest.mark.parametrize("version", [0, 1, 0x3FFFE000, 2**32 - 1])
def test_version_bits_are_free_to_roll(version: int) -> None:
    tree, tip = tree_of()
    assert tree.add(child_of(tip, tree, version=version), NEVER).height == 1


@pytest.mark.parametrize("bits", [0, 0x1D80FFFF, 0x20000000, 0x2200FFFF, 0xFF7FFFFF, 0x1E0000FF])
def test_bits_that_stand_for_no_target_are_refused(bits: int) -> None:
    tree, tip = tree_of()
    with violates(Rule.HEADER_BITS_INVALID, Invalid):
        tree.add(child_of(tip, tree, bits=bits), NEVER)


def test_hash_above_the_target_is_refused() -> None:
    tree, tip = tree_of()
    header = child_of(tip, tree)
    while hash_as_number(header.hash) <= target_of(header.bits):
        header = make_header(
            header.version, header.previous, header.root, header.time, header.bits,
            header.nonce + 1,
        )  # fmt: skip
    with violates(Rule.HEADER_HASH_ABOVE_TARGET, Invalid):
        tree.add(header, NEVER)
    assert len(tree) == 1


def test_header_on_an_unknown_parent_is_missing_it() -> None:
    tree, tip = tree_of()
    with violates(Rule.HEADER_PARENT_UNKNOWN, Missing):
        tree.add(child_of(tip, tree, previous=b"u" * 32), NEVER)


def test_header_on_an_invalid_parent_is_refused_and_so_is_the_parent_itself() -> None:
    tree, tip = tree_of(times=(30,))
    header = child_of(tip, tree)
    tree.mark_invalid(tip)
    with violates(Rule.HEADER_PARENT_INVALID, Invalid):
        tree.add(header, NEVER)
    with violates(Rule.BLOCK_KNOWN_INVALID, Invalid):
        tree.add(tip.header, NEVER)
    assert tree.best_header is tree.genesis


def test_bits_other_than_the_schedule_asks_for_are_refused() -> None:
    tree, tip = tree_of(times=(30, 30, 30))
    wanted = expected_bits(tip, tree.genesis, tree.params)
    for bits in (0x207FFFFE, 0x207FFFFF, 0x207F0000):
        if bits != wanted:
            with violates(Rule.HEADER_BITS_WRONG, Invalid):
                tree.add(child_of(tip, tree, bits=bits), NEVER)


def test_regtest_keeps_the_easiest_target() -> None:
    tree, tip = tree_of(REGTEST, (1, 1, 100_000, 1))
    assert expected_bits(tip, tree.genesis, REGTEST) == REGTEST.pow_limit_bits


def test_first_block_has_the_target_of_genesis_if_genesis_was_in_time() -> None:
    # The anchor's parent is taken to lie one interval before genesis.
    tree, tip = tree_of()
    assert expected_bits(tip, tree.genesis, tree.params) == EASY.pow_limit_bits


def test_time_up_to_the_median_of_11_is_too_old() -> None:
    tree, tip = tree_of(REGTEST, (10,) * 12)
    assert tip.median_time() == tip.header.time - 50
    for time in (tip.median_time(), tip.median_time() - 1, 0):
        with violates(Rule.HEADER_TIME_TOO_OLD, Invalid):
            tree.add(child_of(tip, tree, time), NEVER)
    with violates(Rule.HEADER_TIME_SPACING, Invalid):  # time never runs backwards, on any network
        tree.add(child_of(tip, tree, tip.median_time() + 1), NEVER)


def test_clock_that_stands_still_for_half_the_median_is_too_old() -> None:
    tree, tip = tree_of(REGTEST, (10, *[1] * 6, *[0] * 4))
    assert tip.median_time() == tip.header.time - 1
    tip = tree.add(child_of(tip, tree, tip.header.time), NEVER)
    assert tip.median_time() == tip.header.time
    with violates(Rule.HEADER_TIME_TOO_OLD, Invalid):
        tree.add(child_of(tip, tree, tip.header.time), NEVER)
    assert tree.add(child_of(tip, tree, tip.header.time + 1), NEVER).height == 13


def test_median_near_genesis_is_that_of_the_blocks_there_are() -> None:
    tree, tip = tree_of(REGTEST, (10, 10, 10))
    start = tree.genesis.header.time
    assert tree.genesis.median_time() == start
    assert tip.median_time() == start + 20
    assert tip.ancestor(2).median_time() == start + 10


def test_time_less_than_the_spacing_after_the_parent_is_refused() -> None:
    tree, tip = tree_of(times=(30, 30))
    for seconds in (EASY.spacing_s - 1, 1, 0):
        with violates(Rule.HEADER_TIME_SPACING, Invalid):
            tree.add(child_of(tip, tree, tip.header.time + seconds), NEVER)
    assert tree.add(child_of(tip, tree, tip.header.time + EASY.spacing_s), NEVER).height == 3


def test_time_beyond_the_clock_has_to_wait_and_is_not_lost() -> None:
    tree, tip = tree_of()
    now = tip.header.time + 1_000
    header = child_of(tip, tree, now + EASY.future_s + 1)
    with violates(Rule.HEADER_TIME_TOO_NEW, Premature):
        tree.add(header, now)
    assert len(tree) == 1
    assert tree.add(header, now + 1).height == 1


def test_time_far_beyond_32_bits_of_drift_does_no_harm() -> None:
    tree, tip = tree_of(EASY)
    node = tree.add(child_of(tip, tree, 2**32 - 1), NEVER)
    assert expected_bits(node, tree.genesis, EASY) == EASY.pow_limit_bits


def test_rules_are_checked_in_their_order() -> None:
    # Wrong in every way: the first that is met says so.
    tree, tip = tree_of(times=(30, 30))
    broken = child_of(tip, tree, time=0, bits=0x207F0000)
    with violates(Rule.HEADER_BITS_WRONG, Invalid):
        check_header(broken, tip, tree.genesis, EASY, 0)
    with violates(Rule.HEADER_TIME_TOO_OLD, Invalid):
        check_header(child_of(tip, tree, time=0), tip, tree.genesis, EASY, 0)


def test_chain_that_stood_still_cannot_mint_faster_than_the_spacing() -> None:
    # After a weekend the target is as easy as can be; the spacing alone holds the flood.
    tree, tip = tree_of(times=(66 * 3_600,))
    start = tip.header.time
    for _ in range(60):
        tip = tree.add(child_of(tip, tree, earliest_time(tip, EASY)), NEVER)
    assert tip.header.time - start >= 60 * EASY.spacing_s
