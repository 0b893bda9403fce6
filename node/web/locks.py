"""What an input revealed of its lock, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, assert_never

from consensus.locks import PREIMAGE_BYTES
from consensus.params import LOCK_DEPTH_MAX
from consensus.tx import (
    AfterHeight,
    AfterTime,
    Key,
    Lock,
    Older,
    Pruned,
    Sha256,
    Threshold,
    Witness,
)
from node.web.figures import moment


class Clause(NamedTuple):
    """One condition: the key of its text, what to put into it, and conditions inside."""

    text: str
    values: Mapping[str, object] = {}
    digest: str = ""
    """The key or hash that the text speaks of, in hex."""
    shown: str = ""
    """The preimage that was revealed, in hex."""
    inner: tuple[Clause, ...] = ()


def clause_of(witness: Witness) -> Clause:
    """What had to hold for an input to be spent, as far as its witness shows."""
    # Signatures are longer; what is left are the preimages, in the order of their hashes.
    preimages = (item for item in witness.items if len(item) == PREIMAGE_BYTES)
    return _clause(witness.lock, preimages, 1)


def _clause(lock: Lock, preimages: Iterator[bytes], depth: int) -> Clause:
    if depth > LOCK_DEPTH_MAX:
        return Clause("lock_deep")  # no valid lock is that deep
    match lock:
        case Key(pubkey):
            return Clause("lock_key", digest=pubkey.hex())
        case Threshold(required, children):
            inner = tuple(_clause(child, preimages, depth + 1) for child in children)
            return Clause(_threshold(required, children), _count(required, inner), inner=inner)
        case AfterHeight(height):
            return Clause("lock_after_height", {"height": height})
        case AfterTime(time):
            return Clause("lock_after_time", {"time": f"{moment(time)} UTC"})
        case Older(blocks):
            return Clause("lock_older", {"n": blocks})
        case Sha256(digest):
            return Clause("lock_sha256", digest=digest.hex(), shown=next(preimages, b"").hex())
        case Pruned(digest):
            return Clause("lock_hidden", digest=digest.hex())
        case _:
            assert_never(lock)


def _threshold(required: int, children: tuple[Lock, ...]) -> str:
    if required == len(children):
        is_keys = all(isinstance(child, Key) for child in children)
        return "lock_all_keys" if is_keys else "lock_all"
    return "lock_any" if required == 1 else "lock_some"


def _count(required: int, inner: tuple[Clause, ...]) -> dict[str, object]:
    return {"required": required, "n": len(inner)}
