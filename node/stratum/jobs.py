"""Jobs as miners get them, and the headers that they make of them.

A miner hashes coinbase part 1 ‖ extranonce 1 ‖ extranonce 2 ‖ part 2, folds in the list of branches, and
has the root. Ours is a list of one: the root over all other transactions (docs/protocol.md, "Blocks").
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from consensus.block import VERSION, Header, block_root, make_header
from consensus.pow import hash_as_number
from consensus.tx import EXTRANONCE_BYTES
from node.stratum.difficulty import share_target
from node.template import Mined, Template

EXTRANONCE1_BYTES = 4
EXTRANONCE2_BYTES = EXTRANONCE_BYTES - EXTRANONCE1_BYTES
VERSION_MASK = 0x1FFFE000
"""Bits of the version that miners may roll: those of BIP320. No rule reads any."""
_WORDS = struct.Struct("<8I")
_SWAPPED_WORDS = struct.Struct(">8I")


class Solution(NamedTuple):
    """What a miner chose: the fields of a header that a job leaves open."""

    extranonce2: bytes
    time: int
    nonce: int
    version: int


class Job(msgspec.Struct, frozen=True):
    """A header to search, of one connection."""

    number: str
    template: Template
    coinbase_head: bytes
    """The coinbase without its extranonce, which comes last."""
    exponent: int
    """The difficulty of its shares."""
    at: float
    """When it was given out, in seconds that never go back."""

    def notification(self, is_clean: bool) -> list[object]:
        """The parameters of mining.notify."""
        template = self.template
        return [
            self.number,
            swap_words(template.parent.hash).hex(),
            self.coinbase_head.hex(),
            "",
            [template.choice.others_root.hex()],
            f"{VERSION:08x}",
            f"{template.bits:08x}",
            f"{template.time:08x}",
            is_clean,
        ]

    def header(self, extranonce1: bytes, solution: Solution) -> Header:
        """The header that the miner has hashed."""
        template = self.template
        coinbase_raw = self.coinbase_head + extranonce1 + solution.extranonce2
        root = block_root(coinbase_raw, template.choice.others_root)
        return make_header(
            solution.version, template.parent.hash, root, solution.time, template.bits, solution.nonce
        )  # fmt: skip

    def mined(self, extranonce1: bytes, solution: Solution, header: Header) -> Mined:
        """The block of that header."""
        coinbase = self.template.coinbase(extranonce1 + solution.extranonce2)
        return Mined(header, coinbase, self.template.choice.checked)


def make_job(number: str, template: Template, exponent: int, now: float) -> Job:
    """A job that searches for the block of `template`."""
    head = template.coinbase(bytes(EXTRANONCE_BYTES)).raw[:-EXTRANONCE_BYTES]
    return Job(number, template, head, exponent, now)


def swap_words(block_hash: bytes) -> bytes:
    """32 bytes, each group of four the other way round, as Stratum has the previous block."""
    return _SWAPPED_WORDS.pack(*_WORDS.unpack(block_hash))


def is_share(header: Header, exponent: int) -> bool:
    """Whether the hash meets difficulty 2**exponent."""
    return hash_as_number(header.hash) <= share_target(exponent)


def is_block(header: Header, template: Template) -> bool:
    """Whether the hash meets the target of the block."""
    return hash_as_number(header.hash) <= template.target
