"""The tree of headers against naive walks, and the choice of chain in any order of arrival."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.block import Header
from consensus.errors import Missing, Rule
from consensus.header_tree import LOCATOR_MAX, HeaderNode, HeaderTree, Status, earliest_time
from consensus.params import REGTEST
from consensus.pow import work_of
from tests.consensus.test_headers import EASY, NEVER, child_of, tree_of
from tests.support.verdicts import refusal

shapes = st.lists(st.integers(0, 10**6), min_size=1, max_size=60)
"""Each number picks the parent of one more header among those there are."""


def grown(shape: Sequence[int], recent: int = 10**9) -> tuple[HeaderTree, list[HeaderNode]]:
    tree, tip = tree_of(REGTEST)
    nodes = [tip]
    for number, choice in enumerate(shape):
        among = nodes[-recent:]
        parent = among[choice % len(among)]
        root = number.to_bytes(32, "big")
        nodes.append(tree.add(child_of(parent, tree, root=root), NEVER))
    return tree, nodes


def ancestors(node: HeaderNode) -> list[HeaderNode]:
    """`node` and all before it, by single steps."""
    found = [node]
    while found[-1].parent is not None:
        found.append(found[-1].parent)
    return found


@given(shapes, st.integers(1, 4))
@settings(max_examples=60)
def test_ancestors_forks_and_paths_are_those_of_a_naive_walk(shape: list[int], recent: int) -> None:
    tree, nodes = grown(shape, recent)
    for a in nodes[:: max(1, len(nodes) // 8)]:
        line = ancestors(a)
        assert [a.ancestor(node.height) for node in line] == line
        assert a.work == sum(work_of(node.header.bits) for node in line)
        for b in nodes[:: max(1, len(nodes) // 8)]:
            other = ancestors(b)
            shared = next(node for node in line if node in other)
            assert tree.fork(a, b) is shared
            detach, attach = tree.path(a, b)
            assert detach == line[: line.index(shared)]
            assert attach == other[: other.index(shared)][::-1]


def test_far_ancestors_are_found_in_few_steps() -> None:
    tree, nodes = grown([10**6] * 3_000, recent=1)
    tip = nodes[-1]
    assert tip.height == 3_000
    for height in range(3_001):
        assert tip.ancestor(height) is nodes[height]
    other = nodes[1_500]
    for number in range(20):
        other = tree.add(child_of(other, tree, root=b"x" * 31 + bytes((number,))), NEVER)
    assert tree.fork(tip, other) is nodes[1_500]
    steps, node = 0, tip
    while node.height > 1:
        assert node.skip is not None
        assert node.parent is not None
        node = node.skip if node.skip.height >= 1 else node.parent
        steps += 1
    assert steps < 150


@given(st.integers(0, 1_500))
@settings(max_examples=15)
def test_locator_starts_at_the_node_and_ends_at_genesis(length: int) -> None:
    tree, nodes = grown([10**6] * length, recent=1)
    locator = tree.locator(nodes[-1])
    heights = [node.height for block_hash in locator if (node := tree.get(block_hash))]
    assert len(heights) == len(locator) <= LOCATOR_MAX
    assert heights[0] == length
    assert heights[-1] == 0
    steps = [a - b for a, b in pairwise(heights)]
    assert steps[:10] == [1] * min(10, length)
    assert all(step >= 1 for step in steps)
    # Whatever the fork, the locator names a block within twice the distance.
    for back in range(0, length, 37):
        assert next(length - h for h in heights if length - h >= back) <= 2 * back + 1


def test_leaves_and_children_are_what_builds_on_what() -> None:
    tree, nodes = grown([0, 0, 1, 1, 2, 3, 3])
    for node in nodes:
        assert tree.children(node) == [other for other in nodes if other.parent is node]
    assert set(tree.leaves()) == {node for node in nodes if not tree.children(node)}
    assert set(tree) == set(nodes)


def naive_best(tree: HeaderTree, stored: set[HeaderNode]) -> int:
    """Most work that is stored all the way down, by looking at everything."""
    return max(n.work for n in tree if all(a in stored for a in ancestors(n)))


def scattered(shape: Sequence[int], seconds: Sequence[int]) -> list[Header]:
    """Headers of a random tree whose branches differ in work."""
    tree, tip = tree_of(EASY)
    nodes = [tip]
    for number, (choice, spent) in enumerate(zip(shape, seconds, strict=True)):
        parent = nodes[-3:][choice % len(nodes[-3:])]
        time = earliest_time(parent, EASY) + spent
        root = number.to_bytes(32, "big")
        nodes.append(tree.add(child_of(parent, tree, time, root=root), NEVER))
    return [node.header for node in nodes[1:]]


def arrived(headers: Sequence[Header]) -> tuple[HeaderTree, HeaderNode]:
    """A tree and its tip after blocks that came in this order; those without a parent wait."""
    tree, tip = tree_of(EASY)
    waiting = list(headers)
    while waiting:
        header = waiting.pop(0)
        error = refusal(partial(tree.add, header, NEVER))
        if error is not None:
            assert (error.rule, type(error)) == (Rule.HEADER_PARENT_UNKNOWN, Missing)
            waiting.append(header)
            continue
        tree.mark_stored(tree.add(header, NEVER))
        before, tip = tip, tree.best_linked(tip)
        assert tip is before or tip.work > before.work
        assert tip.linked
    return tree, tip


trees = st.integers(1, 24).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 5), min_size=count, max_size=count),
        st.lists(st.sampled_from([0, 20, 60, 3_000]), min_size=count, max_size=count),
        st.permutations(range(count)),
        st.permutations(range(count)),
    )
)


@given(trees)
@settings(max_examples=60)
def test_any_order_of_arrival_gives_the_tip_of_most_work(
    case: tuple[list[int], list[int], list[int], list[int]],
) -> None:
    shape, seconds, first, second = case
    headers = scattered(shape, seconds)
    tree, tip = arrived([headers[index] for index in first])
    _, other = arrived([headers[index] for index in second])
    most = naive_best(tree, set(tree))
    assert tip.work == other.work == most == tree.best_header.work
    if sum(node.work == most for node in tree) == 1:
        assert tip.hash == other.hash


@given(trees)
@settings(max_examples=60)
def test_blocks_that_come_after_their_headers_link_in_any_order(
    case: tuple[list[int], list[int], list[int], list[int]],
) -> None:
    shape, seconds, order, _ = case
    tree, tip = tree_of(EASY)
    nodes = [tree.add(header, NEVER) for header in scattered(shape, seconds)]
    stored = {tip}
    for index in order:
        tree.mark_stored(nodes[index])
        stored.add(nodes[index])
        tip = tree.best_linked(tip)
        assert tip.work == naive_best(tree, stored)
        for node in tree:
            assert node.linked == all(before in stored for before in ancestors(node))


def test_of_two_better_chains_of_equal_work_the_one_complete_first_is_followed() -> None:
    for first in (0, 1):
        tree, tip = tree_of(REGTEST)
        chains = []
        for number in range(2):
            parent = tree.add(child_of(tip, tree, root=bytes((number,)) * 32), NEVER)
            chains.append((parent, tree.add(child_of(parent, tree), NEVER)))
        winner, other = chains[first], chains[1 - first]
        # Its last block comes before all others, and counts for nothing until the first is there.
        for node in (other[1], *winner, other[0]):
            tree.mark_stored(node)
        assert winner[1].work == other[1].work
        assert other[1].linked
        assert tree.best_linked(tip) is winner[1]


@given(trees, st.data())
@settings(max_examples=60)
def test_nothing_that_builds_on_an_invalid_block_is_followed(
    case: tuple[list[int], list[int], list[int], list[int]], data: st.DataObject
) -> None:
    shape, seconds, _, _ = case
    tree, tip = tree_of(EASY)
    nodes = [tree.add(header, NEVER) for header in scattered(shape, seconds)]
    for node in nodes:
        tree.mark_stored(node)
    bad = data.draw(st.sampled_from(nodes))
    marked = tree.mark_invalid(bad)
    assert set(marked) == {node for node in nodes if bad in ancestors(node)}
    valid = [node for node in tree if node not in marked]
    assert all(node.status is Status.INVALID and not node.linked for node in marked)
    assert all(node.status is Status.STORED and node.linked for node in valid)
    assert tree.best_linked(tip).work == max(node.work for node in valid)
    assert tree.best_header.work == max(node.work for node in valid)
    assert tree.best_header in valid


def test_of_equal_work_the_first_complete_one_stays() -> None:
    tree, tip = tree_of(REGTEST)
    one, other = (tree.add(child_of(tip, tree, root=root * 32), NEVER) for root in (b"1", b"2"))
    tree.mark_stored(other)
    assert tree.best_linked(tip) is other
    tree.mark_stored(one)
    assert tree.best_linked(other) is other
    assert tree.best_linked(one) is one  # nor would it be left, had it come first


def test_more_blocks_of_less_work_are_not_followed() -> None:
    # Slow blocks fall in difficulty: a longer chain of those loses to a shorter one of hard work.
    tree, tip = tree_of(EASY)
    hard, easy = tip, tip
    for number in range(60):
        root = b"h" * 31 + bytes((number,))
        hard = tree.add(child_of(hard, tree, root=root), NEVER)
        tree.mark_stored(hard)
    for number in range(61):
        root = b"e" * 31 + bytes((number,))
        time = easy.header.time + 10_000
        easy = tree.add(child_of(easy, tree, time, root=root), NEVER)
        tree.mark_stored(easy)
    assert easy.height > hard.height
    assert easy.work < hard.work
    assert tree.best_linked(tip) is hard


@given(trees)
@settings(max_examples=30)
def test_tree_comes_back_from_what_was_written_down(
    case: tuple[list[int], list[int], list[int], list[int]],
) -> None:
    shape, seconds, order, _ = case
    tree, tip = tree_of(EASY)
    nodes = [tree.add(header, NEVER) for header in scattered(shape, seconds)]
    for index in order[::2]:
        tree.mark_stored(nodes[index])
    tree.mark_invalid(nodes[order[0]])
    again, start = tree_of(EASY)
    for node in nodes:
        again.restore(node.header, node.status)
    assert {n.hash: (n.status, n.linked, n.work) for n in again} == {
        n.hash: (n.status, n.linked, n.work) for n in tree
    }
    assert again.best_linked(start).work == tree.best_linked(tip).work
    assert again.best_header.work == tree.best_header.work
