"""Locks: which shapes open, what they hash to, and that nothing opens by revealing nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.codec import encode
from consensus.errors import Invalid, Rule
from consensus.hashes import LockHash, hash_lock
from consensus.locks import LOCKS, key_lock, lock_hash, open_lock
from consensus.params import LOCK_DEPTH_MAX, LOCK_NODES_MAX, UINT32_MAX
from consensus.tx import (
    BURN_LOCK,
    AfterHeight,
    AfterTime,
    Key,
    Lock,
    Older,
    Pruned,
    Sha256,
    Threshold,
)
from tests.consensus.strategies import locks
from tests.support.chain import ALICE, BOB, CAROL
from tests.support.verdicts import refusal, violates

A, B, C = Key(ALICE.pubkey), Key(BOB.pubkey), Key(CAROL.pubkey)
NOTHING = Pruned(bytes(32))


def hidden(lock: Lock) -> Pruned:
    return Pruned(lock_hash(lock))


@pytest.mark.parametrize("lock", [NOTHING, Pruned(b"\xff" * 32)])
def test_pruned_root_is_refused(lock: Pruned) -> None:
    with violates(Rule.LOCK_ROOT_PRUNED, Invalid):
        open_lock(lock)


@pytest.mark.parametrize(
    ("required", "children"),
    [
        (0, ()),
        (0, (A,)),
        (0, (NOTHING,)),
        (0, (NOTHING, NOTHING)),
        (-1, (A,)),
        (2, (A,)),
        (1, (A, B)),
        (1, (NOTHING,)),
        (1, (NOTHING, NOTHING)),
        (2, (A, NOTHING)),
        (2, (A, NOTHING, NOTHING)),
        (2, (A, B, C)),
        (3, (A, B)),
        (2**64 - 1, (A,)),
    ],
)
def test_threshold_that_shows_another_number_than_required_is_refused(
    required: int, children: tuple[Lock, ...]
) -> None:
    with violates(Rule.LOCK_THRESHOLD, Invalid):
        open_lock(Threshold(required, children))
    with violates(Rule.LOCK_THRESHOLD, Invalid):
        open_lock(Threshold(1, (Threshold(required, children), NOTHING)))


def depth_of(levels: int, core: Lock = A) -> Lock:
    for _ in range(levels - 1):
        core = Threshold(1, (core,))
    return core


def test_lock_may_be_8_deep_and_no_deeper() -> None:
    assert open_lock(depth_of(LOCK_DEPTH_MAX)).atoms == ((bytes(LOCK_DEPTH_MAX - 1), A),)
    with violates(Rule.LOCK_DEPTH, Invalid):
        open_lock(depth_of(LOCK_DEPTH_MAX + 1))
    with violates(Rule.LOCK_DEPTH, Invalid):
        lock_hash(depth_of(LOCK_DEPTH_MAX + 1))


def test_pruned_node_counts_for_the_depth() -> None:
    def with_pruned(levels: int) -> Lock:
        return depth_of(levels - 1, Threshold(1, (A, NOTHING)))

    open_lock(with_pruned(LOCK_DEPTH_MAX))
    with violates(Rule.LOCK_DEPTH, Invalid):
        open_lock(with_pruned(LOCK_DEPTH_MAX + 1))


def test_lock_may_have_64_nodes_and_no_more() -> None:
    full = Threshold(1, (A, *[NOTHING] * (LOCK_NODES_MAX - 2)))
    assert len(open_lock(full).atoms) == 1
    for more in (
        Threshold(1, (A, *[NOTHING] * (LOCK_NODES_MAX - 1))),
        Threshold(1, (A, *[NOTHING] * 10_000)),
        Threshold(2, (Threshold(32, (A,) * 32), Threshold(30, (A,) * 30))),
    ):
        with violates(Rule.LOCK_NODES, Invalid):
            open_lock(more)
    with violates(Rule.LOCK_NODES, Invalid):
        lock_hash(Threshold(2, (Threshold(32, (A,) * 32), Threshold(30, (A,) * 30))))


@pytest.mark.parametrize(
    "atom",
    [
        Key(b"\x04" + bytes(32)),
        Key(bytes(33)),
        *[kind(number) for kind in (AfterHeight, AfterTime, Older) for number in (0, -1, 2**32)],
    ],
)
def test_parameter_out_of_range_is_refused_wherever_the_atom_stands(atom: Lock) -> None:
    for lock in (atom, Threshold(1, (atom,)), Threshold(2, (A, atom))):
        with violates(Rule.LOCK_PARAMETER, Invalid):
            open_lock(lock)
        with violates(Rule.LOCK_PARAMETER, Invalid):
            lock_hash(lock)


@pytest.mark.parametrize("kind", [AfterHeight, AfterTime, Older])
def test_parameter_at_its_border_is_accepted(kind: Any) -> None:
    for number in (1, UINT32_MAX):
        assert open_lock(kind(number)).hash == lock_hash(kind(number))


def test_branch_shown_as_its_hash_gives_the_same_lock() -> None:
    whole = Threshold(2, (A, Threshold(1, (B, AfterHeight(9))), Sha256(bytes(32))))
    for shown in (
        Threshold(2, (A, Threshold(1, (B, hidden(AfterHeight(9)))), hidden(Sha256(bytes(32))))),
        Threshold(2, (A, hidden(whole.children[1]), Sha256(bytes(32)))),
        Threshold(2, (hidden(A), Threshold(1, (hidden(B), AfterHeight(9))), Sha256(bytes(32)))),
    ):
        assert open_lock(shown).hash == lock_hash(whole) == lock_hash(shown)


def test_atoms_come_depth_first_with_the_place_where_they_stand() -> None:
    lock = Threshold(3, (NOTHING, Threshold(2, (A, NOTHING, B)), Older(5), C))
    assert open_lock(lock).atoms == ((b"\1\0", A), (b"\1\2", B), (b"\2", Older(5)), (b"\3", C))


def test_hash_commits_to_kind_parameters_order_and_number() -> None:
    all_locks: list[Lock] = [
        A, B, AfterHeight(5), AfterTime(5), Older(5), Sha256(bytes(32)),
        Threshold(1, (A,)), Threshold(1, (A, B)), Threshold(1, (B, A)), Threshold(2, (A, B)),
        Threshold(1, (A, A)), Threshold(1, (A, B, C)), Threshold(1, (Threshold(1, (A, B)), C)),
        Threshold(1, (A, Threshold(1, (B, C)))), Threshold(1, (Threshold(1, (A,)),)),
    ]  # fmt: skip
    assert len({lock_hash(lock) for lock in all_locks}) == len(all_locks)


def test_hash_of_a_threshold_is_not_that_of_what_it_lists() -> None:
    # The parameters of one kind must never be read as another's.
    assert lock_hash(Threshold(1, (A,))) == hash_lock(encode((1, 1, [lock_hash(A)])))
    assert key_lock(ALICE.pubkey) == lock_hash(A) == hash_lock(encode((0, ALICE.pubkey)))


@given(locks)
def test_any_lock_opens_to_its_own_hash_or_is_invalid(lock: Lock) -> None:
    error = refusal(lambda: open_lock(lock))
    if error is not None:
        assert type(error) is Invalid
        return
    opened = open_lock(lock)
    assert opened.hash == lock_hash(lock)
    # Whatever opens reveals something that has to hold.
    assert opened.atoms
    assert opened.hash != BURN_LOCK
    paths = [path for path, _ in opened.atoms]
    assert len(set(paths)) == len(paths)
    for path, atom in opened.atoms:
        assert type(atom) in LOCKS
        node: Lock = lock
        for index in path:
            assert isinstance(node, Threshold)
            node = node.children[index]
        assert type(node) is type(atom)
        assert node == atom  # the lock of a key is opened once, so not always the very same


@given(locks, st.data())
def test_what_is_pruned_never_changes_the_hash(lock: Lock, data: st.DataObject) -> None:
    def prune(node: Lock) -> Lock:
        if data.draw(st.booleans()):
            return Pruned(lock_hash(node))
        if isinstance(node, Threshold):
            return Threshold(node.required, tuple(prune(child) for child in node.children))
        return node

    def whole() -> LockHash:
        return lock_hash(lock)

    if refusal(whole) is None:
        pruned = prune(lock)
        assert lock_hash(pruned) == whole()
        error = refusal(lambda: open_lock(pruned))
        assert error is not None or open_lock(pruned).hash == whole()
