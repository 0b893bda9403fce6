"""Locks: the shape of a predicate tree, its hash, and what each atom asks for.

To spend is to reveal exactly what one satisfies. Every atom that is shown must hold; a threshold
shows as many children as it requires and gives the rest as hashes.

Source: docs/protocol.md, "Locks".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from consensus.codec import encode
from consensus.errors import Invalid, Premature, Rule
from consensus.hashes import LockHash, hash_lock
from consensus.params import LOCK_DEPTH_MAX, LOCK_NODES_MAX, UINT32_MAX
from consensus.tx import (
    AfterHeight,
    AfterTime,
    Atom,
    Coin,
    Key,
    Lock,
    Older,
    Path,
    Pruned,
    Sha256,
    Threshold,
)

SIGNATURE_BYTES = 65
PREIMAGE_BYTES = 32


class BlockContext(msgspec.Struct, frozen=True, gc=False):
    """What a rule may know of the block that a transaction is to stand in."""

    chain_id: bytes
    """Hash of the genesis block: a signature for one chain is worth nothing on another."""
    height: int
    median_time: int
    """Median time of the block before, seconds since 1970."""


def _after_height(atom: AfterHeight, coin: Coin, item: bytes, ctx: BlockContext) -> None:
    if ctx.height < atom.height:
        raise Premature(Rule.LOCK_AFTER_HEIGHT, atom.height, ctx.height)


def _after_time(atom: AfterTime, coin: Coin, item: bytes, ctx: BlockContext) -> None:
    if ctx.median_time < atom.time:
        raise Premature(Rule.LOCK_AFTER_TIME, atom.time, ctx.median_time)


def _older(atom: Older, coin: Coin, item: bytes, ctx: BlockContext) -> None:
    if ctx.height - coin.height < atom.blocks:
        raise Premature(Rule.LOCK_OLDER, atom.blocks, ctx.height - coin.height)


def _sha256(atom: Sha256, coin: Coin, item: bytes, ctx: BlockContext) -> None:
    if hashlib.sha256(item).digest() != atom.digest:
        raise Invalid(Rule.LOCK_PREIMAGE, atom.digest)


class LockKind(NamedTuple):
    """A row of the table of atoms."""

    name: str
    is_valid: Callable[[Any], bool]
    """Whether the parameters make sense, without any context."""
    item_bytes: int
    """Size of the witness item that the atom takes; 0 if it takes none."""
    check: Callable[[Any, Coin, bytes, BlockContext], None] | None
    """Raises if the atom does not hold. None: a signature, which the caller verifies in bulk."""


LOCKS: Mapping[type[Atom], LockKind] = {
    Key: LockKind("key", lambda a: a.pubkey[0] in (2, 3), SIGNATURE_BYTES, None),
    AfterHeight: LockKind("after_height", lambda a: 1 <= a.height <= UINT32_MAX, 0, _after_height),
    AfterTime: LockKind("after_time", lambda a: 1 <= a.time <= UINT32_MAX, 0, _after_time),
    Older: LockKind("older", lambda a: 1 <= a.blocks <= UINT32_MAX, 0, _older),
    Sha256: LockKind("sha256", lambda a: True, PREIMAGE_BYTES, _sha256),
}
"""Every atom that a lock can hold. `threshold` and `pruned` are the tree, not atoms."""


class OpenedLock(msgspec.Struct, frozen=True, gc=False):
    """A lock whose shape was checked."""

    hash: LockHash
    atoms: tuple[tuple[Path, Atom], ...]
    """Every atom that is shown, depth first, with the place where it stands."""
    nodes: int
    """Nodes of the tree, those that are shown as hashes too."""
    item_sizes: tuple[int, ...]
    """Bytes of each witness item that the atoms ask for, in their order."""


KEY_LOCKS_KEPT_MAX = 16_384
"""Opened locks of keys that are kept: about 400 bytes each."""
_ROOT = Path(b"")
_ONE_SIGNATURE = (SIGNATURE_BYTES,)


@lru_cache(KEY_LOCKS_KEPT_MAX)
def _open_key(pubkey: bytes) -> OpenedLock:
    """The lock of one key. Kept, as many keys are used again: 0.4 us of 11 for a payment."""
    if pubkey[0] not in (2, 3):
        raise Invalid(Rule.LOCK_PARAMETER, "key")
    lock = Key(pubkey)
    return OpenedLock(hash_lock(encode(lock)), ((_ROOT, lock),), 1, _ONE_SIGNATURE)


def open_lock(lock: Lock) -> OpenedLock:
    """Check the shape of a revealed lock; return its hash and its atoms.

    Raises: Invalid (lock-root-pruned, lock-threshold, lock-depth, lock-nodes, lock-parameter).
    """
    if type(lock) is Key:  # nearly every lock there is
        return _open_key(lock.pubkey)
    if type(lock) is Pruned:
        raise Invalid(Rule.LOCK_ROOT_PRUNED)
    atoms: list[tuple[Path, Atom]] = []
    seen = [0]
    digest = _open(lock, _ROOT, atoms, seen)
    sizes = [size for _, atom in atoms if (size := LOCKS[type(atom)].item_bytes)]
    return OpenedLock(digest, tuple(atoms), seen[0], tuple(sizes))


def _open(lock: Lock, path: Path, atoms: list[tuple[Path, Atom]], seen: list[int]) -> LockHash:
    """Hash of `lock`; appends its atoms to `atoms` and counts its nodes in `seen[0]`."""
    seen[0] += 1
    if seen[0] > LOCK_NODES_MAX:
        raise Invalid(Rule.LOCK_NODES, LOCK_NODES_MAX)
    if len(path) >= LOCK_DEPTH_MAX:
        raise Invalid(Rule.LOCK_DEPTH, LOCK_DEPTH_MAX)
    if isinstance(lock, Pruned):
        return LockHash(lock.hash)
    if not isinstance(lock, Threshold):
        kind = LOCKS[type(lock)]
        if not kind.is_valid(lock):
            raise Invalid(Rule.LOCK_PARAMETER, kind.name)
        atoms.append((path, lock))
        return hash_lock(encode(lock))
    if len(lock.children) > LOCK_NODES_MAX:  # before a loop over them
        raise Invalid(Rule.LOCK_NODES, LOCK_NODES_MAX)
    # Exactly as many as required: with fewer a witness could reveal nothing and still hold.
    shown = sum(type(child) is not Pruned for child in lock.children)
    if not 1 <= lock.required <= len(lock.children) or shown != lock.required:
        raise Invalid(Rule.LOCK_THRESHOLD, lock.required, shown, len(lock.children))
    hashes = [
        _open(child, Path(path + bytes((index,))), atoms, seen)
        for index, child in enumerate(lock.children)
    ]
    return hash_lock(encode((1, lock.required, hashes)))


def count_nodes(lock: Lock) -> int:
    """Nodes of a lock that was not checked, however deep it is."""
    count, waiting = 0, [lock]
    while waiting:
        count += 1
        node = waiting.pop()
        if isinstance(node, Threshold):
            waiting += node.children
    return count


def lock_hash(lock: Lock) -> LockHash:
    """Hash of a whole lock, or of one with branches pruned. Checks sizes and parameters only.

    Raises: Invalid (lock-threshold, lock-depth, lock-nodes, lock-parameter).
    """
    return _hash(lock, 1, [0])


def _hash(lock: Lock, depth: int, seen: list[int]) -> LockHash:
    seen[0] += 1
    if seen[0] > LOCK_NODES_MAX:
        raise Invalid(Rule.LOCK_NODES, LOCK_NODES_MAX)
    if depth > LOCK_DEPTH_MAX:
        raise Invalid(Rule.LOCK_DEPTH, LOCK_DEPTH_MAX)
    if isinstance(lock, Pruned):
        return LockHash(lock.hash)
    if isinstance(lock, Threshold):
        if not 1 <= lock.required <= len(lock.children):
            raise Invalid(Rule.LOCK_THRESHOLD, lock.required, len(lock.children))
        hashes = [_hash(child, depth + 1, seen) for child in lock.children]
        return hash_lock(encode((1, lock.required, hashes)))
    kind = LOCKS[type(lock)]
    if not kind.is_valid(lock):
        raise Invalid(Rule.LOCK_PARAMETER, kind.name)
    return hash_lock(encode(lock))


def key_lock(pubkey: bytes) -> LockHash:
    """Hash of the lock that one key opens: what an ordinary address pays to."""
    return hash_lock(encode(Key(pubkey)))
