"""For tests of the pure planners: an honest hello, and actions by kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from consensus.block import Block, Header
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderNode
from p2p.actions import Action, Send
from p2p.messages import Hello, Message, encode_work
from tests.support.chain import ToyChain

A = TypeVar("A")
M = TypeVar("M")


def only(kind: type[A], actions: Iterable[Action]) -> list[A]:
    """The actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


def sent(kind: type[M], actions: Iterable[Action]) -> list[tuple[int, M]]:
    """The messages of one kind, with the peer to whom they go."""
    return [
        (action.peer, action.message)
        for action in only(Send, actions)
        if isinstance(action.message, kind)
    ]


def hello_at(tip: HeaderNode, chain: BlockHash, work: int | None = None) -> Hello:
    """A hello of a node whose best chain ends in `tip`."""
    return Hello(
        1, 0, chain, b"anynonce", b"regtest", b"/x/", 0, tip.height, tip.hash,
        encode_work(work or tip.work),
    )  # fmt: skip


def blocks_of(chain: ToyChain) -> list[Block]:
    """Blocks of the best chain, from height 1 on."""
    return [
        chain.blocks[chain.tip.ancestor(height).hash] for height in range(1, chain.tip.height + 1)
    ]


def headers_of(chain: ToyChain) -> list[Header]:
    return [block.header for block in blocks_of(chain)]


def first_message(actions: Iterable[Action]) -> Message:
    return only(Send, actions)[0].message
