"""Proofs that headers stand in a chain, over chains longer than what one kept node covers."""

from __future__ import annotations

import asyncio
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.block import Header
from consensus.hashes import BlockHash, to_text
from consensus.header_tree import HeaderNode
from node.electrum.merkle import SEGMENT, HeaderProofs
from tests.support.electrum import fold, sha256d

LENGTH = 3 * SEGMENT + 500
PROOFS = HeaderProofs()
"""One for all cases, so that what it keeps of one chain meets another."""


def _extend(tip: HeaderNode | None, name: str, count: int) -> HeaderNode:
    for number in range(count):
        header_hash = BlockHash(sha256d(f"{name} {number}".encode()))
        header = Header(1, BlockHash(bytes(32)), b"", 0, 0x207FFFFF, 0, header_hash, b"")
        tip = HeaderNode(header, tip)
    assert tip is not None
    return tip


@cache
def chains() -> tuple[HeaderNode, HeaderNode]:
    """Two that part in the second segment."""
    first = _extend(None, "first", LENGTH)
    return first, _extend(first.ancestor(SEGMENT + 100), "second", LENGTH - SEGMENT)


@cache
def naive_root(end: HeaderNode) -> str:
    level = [bytes(end.ancestor(height).hash) for height in range(end.height + 1)]
    while len(level) > 1:
        level += level[-1:] * (len(level) & 1)
        level = [sha256d(a + b) for a, b in zip(level[::2], level[1::2], strict=True)]
    return to_text(level[0])


@pytest.mark.parametrize(
    "end",
    [0, 1, 2, SEGMENT - 2, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT - 1, 2 * SEGMENT,
     3 * SEGMENT - 1, 3 * SEGMENT, LENGTH - 1],
)  # fmt: skip
def test_root_over_headers_is_that_of_the_whole_tree(end: int) -> None:
    for chain in chains():
        last = chain.ancestor(end)
        for height in {0, end // 2, max(0, end - 1), end}:
            branch, root = asyncio.run(PROOFS.prove(last, height))
            assert to_text(root) == naive_root(last)
            leaf = chain.ancestor(height).hash
            assert fold(leaf, [to_text(each) for each in branch], height) == to_text(root)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_header_is_proved_to_lead_to_any_later_one(data: st.DataObject) -> None:
    chain = data.draw(st.sampled_from(chains()))
    end = data.draw(st.sampled_from([5, SEGMENT, SEGMENT + 101, 2 * SEGMENT + 7, LENGTH - 2]))
    height = data.draw(st.integers(0, end))
    branch, root = asyncio.run(PROOFS.prove(chain.ancestor(end), height))
    found = fold(chain.ancestor(height).hash, [to_text(each) for each in branch], height)
    assert found == to_text(root) == naive_root(chain.ancestor(end))
