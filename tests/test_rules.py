"""Every rule has a test that asserts it by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from consensus.errors import Rule

TESTS = Path(__file__).resolve().parent
MADE = frozenset({"Violation", "DecodeError", "Invalid", "Missing", "Premature", "Refused"})
"""A test that makes one of these says what is to happen to it, not what makes it."""
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def rules_in(node: ast.AST) -> Iterator[str]:
    """Every X of a `Rule.X` in `node`, but for those that a violation is made of."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MADE:
        return
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == Rule.__name__
        and node.attr in Rule.__members__
    ):
        yield node.attr
    for inner in ast.iter_child_nodes(node):
        yield from rules_in(inner)


def is_test(node: ast.AST) -> bool:
    return isinstance(node, DEFINITIONS) and node.name.startswith("test_")


def asserted_in(test: ast.AST) -> Iterator[str]:
    """Rules that a test compares with, hands to what checks the outcome, or is parametrized with.

    A rule that a test merely mentions or raises is no rule that it asserts.
    """
    assert isinstance(test, DEFINITIONS)
    for decorator in test.decorator_list:
        yield from rules_in(decorator)
    for node in ast.walk(test):
        if isinstance(node, ast.Assert):
            yield from rules_in(node.test)
        elif isinstance(node, ast.Call):
            yield from rules_in(node)


def names_used(test: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}


def asserted(module: ast.Module) -> set[str]:
    """Rules that the tests of a module assert, in themselves or by a table of the module."""
    tests = [node for node in ast.walk(module) if is_test(node)]
    found = {rule for test in tests for rule in asserted_in(test)}
    used = set().union(*(names_used(test) for test in tests)) if tests else set()
    for node in module.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id in used for target in targets):
                found.update(rules_in(node))
    return found


def test_every_rule_has_a_test_that_asserts_it() -> None:
    found: set[str] = set()
    for path in sorted(TESTS.rglob("test_*.py")):
        found |= asserted(ast.parse(path.read_text(), str(path)))
    missing = [rule.name for rule in Rule if rule.name not in found]
    assert not missing, f"rules without a test: {', '.join(missing)}"


def test_every_rule_can_be_broken_in_what_is_installed() -> None:
    used: set[str] = set()
    for package in ("consensus", "p2p", "node", "wallet"):
        for path in sorted((TESTS.parent / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(), str(path))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    used |= {node.attr} if node.value.id == Rule.__name__ else set()
    assert not set(Rule.__members__) - used


def test_a_rule_that_is_only_raised_or_mentioned_does_not_count() -> None:
    text = """
TABLE = [(1, Rule.COIN_MISSING)]
UNUSED = [Rule.DUST]
def helper():
    check(Rule.MALFORMED)
def test_one():
    raise Invalid(Rule.BLOCK_ROOT)
    Rule.OVERSPEND
    assert error.rule is Rule.FEE_ABSURD
    with violates(Rule.TX_COST, Invalid):
        pass
@parametrize("rule", [*TABLE, Refused(Rule.MEMPOOL_FULL)])
async def test_two(rule):
    assert rule
"""
    assert asserted(ast.parse(text)) == {"COIN_MISSING", "FEE_ABSURD", "TX_COST"}
