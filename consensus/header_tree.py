"""Every known header, the work behind each, and which chain to follow.

The tree is an in-memory value that its owner changes by explicit calls. Most work wins; of equal
work, the chain whose blocks were complete first.

Source: docs/protocol.md, "Headers" and "Choice of chain".
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from consensus.block import Header
from consensus.errors import Invalid, Missing, Premature, Rule
from consensus.hashes import BlockHash
from consensus.params import MEDIAN_TIME_SPAN, Params
from consensus.pow import asert_bits, hash_as_number, is_canonical_bits, target_of, work_of

LOCATOR_MAX = 64


class Status(enum.IntEnum):
    """How much is known of a block."""

    HEADER = 0
    """Its header only."""
    STORED = 1
    """Its transactions are on disk."""
    INVALID = 2
    """It, or a block before it, breaks a rule."""


class HeaderNode:
    """A header in its place."""

    __slots__ = ("header", "height", "linked", "order", "parent", "skip", "status", "work")

    def __init__(self, header: Header, parent: HeaderNode | None) -> None:
        self.header = header
        self.parent = parent
        self.height: int = parent.height + 1 if parent else 0
        self.work: int = (parent.work if parent else 0) + work_of(header.bits)
        """Sum of the work of this block and all before it."""
        self.status = Status.HEADER
        self.linked = False
        """Whether this block and all before it are stored and not known to be invalid."""
        self.order = 0
        """Rank by the time at which it was linked: the first seen wins a tie."""
        self.skip: HeaderNode | None = None
        if parent is not None:
            self.skip = parent.ancestor(_skip_height(self.height))

    @property
    def hash(self) -> BlockHash:
        return self.header.hash

    def ancestor(self, height: int) -> HeaderNode:
        """The node at `height` on the way to genesis, in logarithmic time."""
        assert 0 <= height <= self.height
        node = self
        while node.height > height:
            skip = node.skip
            if skip is not None and skip.height >= height:
                node = skip
            else:
                assert node.parent is not None
                node = node.parent
        return node

    def median_time(self) -> int:
        """Median time of this block and the ten before it."""
        times: list[int] = []
        node = self
        while len(times) < MEDIAN_TIME_SPAN:
            times.append(node.header.time)
            if node.parent is None:
                break
            node = node.parent
        return sorted(times)[len(times) // 2]

    def __repr__(self) -> str:
        return f"HeaderNode({self.height}, {self.hash[::-1].hex()[:16]}, {self.status.name})"


def _skip_height(height: int) -> int:
    """Where a node's second pointer leads: its height with the lowest set bit cleared.

    From any height to any lower one that takes a number of steps of the order of log² of the height.
    """
    return height & (height - 1)


def expected_bits(parent: HeaderNode, anchor: HeaderNode, params: Params) -> int:
    """Bits that the child of `parent` must have; `anchor` is genesis."""
    if not params.retarget:
        return params.pow_limit_bits
    return asert_bits(
        anchor.header.bits,
        parent.header.time - (anchor.header.time - params.interval_s),
        parent.height,
        params.interval_s,
        params.half_life_blocks * params.interval_s,
        params.pow_limit_bits,
    )


def earliest_time(parent: HeaderNode, params: Params) -> int:
    """Least time that the child of `parent` may have."""
    return max(parent.median_time() + 1, parent.header.time + params.spacing_s)


def check_pow(header: Header) -> None:
    """Check that the hash meets the target that the header names.

    Raises: Invalid (header-bits-invalid, header-hash-above-target).
    """
    if not is_canonical_bits(header.bits):
        raise Invalid(Rule.HEADER_BITS_INVALID, f"{header.bits:08x}")
    if hash_as_number(header.hash) > target_of(header.bits):
        raise Invalid(Rule.HEADER_HASH_ABOVE_TARGET, header.hash[::-1])


def check_header(
    header: Header, parent: HeaderNode, anchor: HeaderNode, params: Params, now: int
) -> None:
    """Check `header` in its place; `check_pow` has passed. `now` is in seconds since 1970.

    Raises: Invalid; Premature (header-time-too-new) for one that has to wait.
    """
    if parent.status is Status.INVALID:
        raise Invalid(Rule.HEADER_PARENT_INVALID, parent.hash[::-1])
    wanted = expected_bits(parent, anchor, params)
    if header.bits != wanted:
        raise Invalid(Rule.HEADER_BITS_WRONG, f"{header.bits:08x}", f"{wanted:08x}")
    median = parent.median_time()
    if header.time <= median:
        raise Invalid(Rule.HEADER_TIME_TOO_OLD, header.time, median)
    if header.time < parent.header.time + params.spacing_s:
        raise Invalid(Rule.HEADER_TIME_SPACING, header.time, parent.header.time)
    if header.time > now + params.future_s:
        raise Premature(Rule.HEADER_TIME_TOO_NEW, header.time, now)


class HeaderTree:
    """The headers of one network, from its genesis on."""

    def __init__(self, params: Params, genesis: Header) -> None:
        self.params = params
        self.genesis = HeaderNode(genesis, None)
        self.genesis.status = Status.STORED
        self.genesis.linked = True
        self._nodes: dict[BlockHash, HeaderNode] = {genesis.hash: self.genesis}
        self._children: dict[BlockHash, list[HeaderNode]] = {}
        self._candidates: set[HeaderNode] = set()
        self._linked_count = 0
        self.best_header = self.genesis
        """The header with the most work behind it that is not known to be invalid."""

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[HeaderNode]:
        return iter(self._nodes.values())

    def get(self, block_hash: BlockHash) -> HeaderNode | None:
        return self._nodes.get(block_hash)

    def children(self, node: HeaderNode) -> list[HeaderNode]:
        return self._children.get(node.hash, [])

    def leaves(self) -> list[HeaderNode]:
        """Every header that no other builds on."""
        return [node for node in self._nodes.values() if not self._children.get(node.hash)]

    def add(self, header: Header, now: int) -> HeaderNode:
        """Check `header` and put it in its place; one that is known already is returned as it is.

        Raises: Missing (header-parent-unknown), Invalid, Premature. Nothing changes then.
        """
        known = self._nodes.get(header.hash)
        if known is not None:
            if known.status is Status.INVALID:
                raise Invalid(Rule.BLOCK_KNOWN_INVALID, header.hash[::-1])
            return known
        check_pow(header)
        parent = self._nodes.get(header.previous)
        if parent is None:
            raise Missing(Rule.HEADER_PARENT_UNKNOWN, header.previous[::-1])
        check_header(header, parent, self.genesis, self.params, now)
        return self._insert(header, parent)

    def restore(self, header: Header, status: Status) -> HeaderNode:
        """Put back a header that was checked before it was written down; parents come first."""
        known = self._nodes.get(header.hash)
        node = known or self._insert(header, self._nodes[header.previous])
        if status is Status.STORED:
            self.mark_stored(node)
        elif status is Status.INVALID:
            self.mark_invalid(node)
        return node

    def _insert(self, header: Header, parent: HeaderNode) -> HeaderNode:
        node = HeaderNode(header, parent)
        self._nodes[header.hash] = node
        self._children.setdefault(parent.hash, []).append(node)
        if parent.status is Status.INVALID:
            node.status = Status.INVALID
        elif node.work > self.best_header.work:
            self.best_header = node
        return node

    def mark_stored(self, node: HeaderNode) -> None:
        """The transactions of `node` are on disk now."""
        if node.status is not Status.HEADER:
            return
        node.status = Status.STORED
        if node.parent is not None and node.parent.linked:
            self._link(node)

    def _link(self, first: HeaderNode) -> None:
        waiting = [first]
        while waiting:
            node = waiting.pop(0)
            node.linked = True
            self._linked_count += 1
            node.order = self._linked_count
            self._candidates.add(node)
            waiting += [c for c in self.children(node) if c.status is Status.STORED]

    def mark_invalid(self, first: HeaderNode) -> list[HeaderNode]:
        """`first` breaks a rule, and so does all that builds on it. Returns what was marked."""
        assert first is not self.genesis
        marked, waiting = [], [first]
        while waiting:
            node = waiting.pop()
            node.status = Status.INVALID
            node.linked = False
            self._candidates.discard(node)
            marked.append(node)
            waiting += self.children(node)
        if self.best_header.status is Status.INVALID:
            valid = (node for node in self._nodes.values() if node.status is not Status.INVALID)
            self.best_header = max(valid, key=lambda node: (node.work, -node.height))
        return marked

    def best_linked(self, tip: HeaderNode) -> HeaderNode:
        """The node to make the tip: `tip` itself unless more work is complete elsewhere."""
        # The tip never falls back, so what has less work than it can be forgotten.
        self._candidates = {node for node in self._candidates if node.work > tip.work}
        return min(self._candidates, key=lambda node: (-node.work, node.order), default=tip)

    def fork(self, a: HeaderNode, b: HeaderNode) -> HeaderNode:
        """The last common ancestor."""
        height = min(a.height, b.height)
        a, b = a.ancestor(height), b.ancestor(height)
        while a is not b:
            if a.skip is not None and b.skip is not None and a.skip is not b.skip:
                a, b = a.skip, b.skip
            else:
                assert a.parent is not None
                assert b.parent is not None
                a, b = a.parent, b.parent
        return a

    def path(self, tip: HeaderNode, best: HeaderNode) -> tuple[list[HeaderNode], list[HeaderNode]]:
        """What to detach, from `tip` down, and what to attach, upwards to `best`."""
        base = self.fork(tip, best)
        return _down(tip, base), _down(best, base)[::-1]

    def locator(self, node: HeaderNode) -> list[BlockHash]:
        """Hashes from `node` back to genesis, dense at first and then ever sparser."""
        hashes, step = [node.hash], 1
        while node.height > 0:
            node = node.ancestor(max(0, node.height - step))
            hashes.append(node.hash)
            if len(hashes) > 10:
                step *= 2
        return hashes


def _down(node: HeaderNode, base: HeaderNode) -> list[HeaderNode]:
    nodes = []
    while node is not base:
        nodes.append(node)
        assert node.parent is not None
        node = node.parent
    return nodes
