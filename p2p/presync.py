"""Chains with little work leave nothing behind: their headers are read twice before any is stored.

A header costs its sender little where the difficulty is low, as after genesis, and us memory for
ever. So a chain that begins with less work than our own has first to show enough of it. Of every
answer only the hash of its last header is kept: that fixes all before it, so the second time the
peer cannot bring other headers than those whose work was counted. Pure.

Source: docs/p2p.md, "getheaders, headers".
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from consensus.block import Header
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderNode, check_pow
from consensus.pow import work_of
from p2p.ports import NodePort

MARGIN_BLOCKS = 144
"""Branches that are behind our tip by no more than this many blocks like it are stored at once,
if they have at least half of its work."""
CHECKPOINTS_MAX = 50_000
"""Answers of one chain, each of 2 000 headers: a hundred million of them, 32 bytes for each 2 000."""


def least_work(node: NodePort) -> int:
    """What a chain has to show before its headers are stored."""
    work = node.tip.work
    near = work - min(work // 2, MARGIN_BLOCKS * work_of(node.tip.header.bits))
    # A node that has no blocks yet would else take any chain for the real one.
    return max(near, node.least_work)


def shows_enough(node: NodePort, headers: Sequence[Header]) -> bool:
    """Whether `headers`, which follow one another, may be stored as they are.

    True also if their parent is unknown: nothing is stored of them then. Raises: Invalid, if the
    proof of work that counts is none.
    """
    unknown = [header for header in headers if node.tree.get(header.hash) is None]
    if not unknown:
        return True
    parent = node.tree.get(unknown[0].previous)
    wanted = least_work(node)
    return parent is None or parent.work >= wanted or _proven(parent.work, unknown) >= wanted


def _proven(work: int, headers: Sequence[Header]) -> int:
    """`work` and that behind `headers`. Raises: Invalid."""
    for header in headers:
        check_pow(header)
        work += work_of(header.bits)
    return work


class Step(enum.Enum):
    """What an answer leads to."""

    ASK = enum.auto()
    """Ask for what follows; nothing is stored yet."""
    STORE = enum.auto()
    """These headers were counted before: store them."""
    LAST = enum.auto()
    """Likewise, and all that was counted is stored with them."""
    GIVE_UP = enum.auto()
    """The chain ended with too little work."""
    DIFFERENT = enum.auto()
    """The second time it was another chain."""


class Presync:
    """A chain of one peer that is read for the first time, and then for the second."""

    def __init__(self, start: HeaderNode) -> None:
        """`start` is the last header of it that is in the tree."""
        self.start = start
        self.end: BlockHash = start.hash
        """The last header that was read in this pass."""
        self.work = start.work
        """That of the chain up to `end`, in the first pass."""
        self._checkpoints: list[BlockHash] = []
        self._stored = 0
        self.is_enough = False
        """The second pass has begun: nothing more is kept."""

    def __len__(self) -> int:
        """Answers of which a hash is kept."""
        return len(self._checkpoints)

    @property
    def worth(self) -> int:
        """Work that was shown, for each answer."""
        return (self.work - self.start.work) // max(1, len(self._checkpoints))

    def take(self, headers: Sequence[Header], wanted: int, is_full: bool) -> Step:
        """An answer came, whose headers follow one another; `wanted` is the work to be shown.

        Raises: Invalid.
        """
        if not headers or headers[0].previous != self.end:
            return Step.DIFFERENT
        if self.is_enough:
            return self._compare(headers)
        self.work = _proven(self.work, headers)
        self._checkpoints.append(headers[-1].hash)
        self.end = headers[-1].hash
        if self.work >= wanted:
            self.is_enough = True
            self.end = self.start.hash
            return Step.ASK
        if is_full and len(self._checkpoints) < CHECKPOINTS_MAX:
            return Step.ASK
        return Step.GIVE_UP

    def _compare(self, headers: Sequence[Header]) -> Step:
        """The last answer may have grown meanwhile; what builds on its checkpoint has the work."""
        wanted = self._checkpoints[self._stored]
        if all(header.hash != wanted for header in reversed(headers)):
            return Step.DIFFERENT
        self._stored += 1
        self.end = headers[-1].hash
        return Step.LAST if self._stored == len(self._checkpoints) else Step.STORE
