"""How the code reads, held by the parser instead of by memory.

ruff, mypy and import-linter hold what they can see; this holds the rest. Every failure names the
file and the line. The tables below are the whole list of exceptions.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("consensus", "p2p", "node", "wallet")

MODULE_LINES_MAX = 450  # the aim is 400
FUNCTION_LINES_MAX = 70  # the aim is 60
TEST_NAME_WORDS_MIN = 3

FILE_DOORS = frozenset(
    {
        "node/config.py",
        "node/disk.py",
        "wallet/files.py",
    }
)
"""Modules that open files. LevelDB opens its own in node/db.py."""

CLOCK_DOORS = frozenset({"node/__main__.py", "node/system.py", "wallet/__main__.py"})
"""Modules that read the clock or create randomness, for all others to be handed."""

THREAD_DOORS = frozenset({"node/eventlog/journal.py", "node/store.py"})
"""Modules that hand work to another thread."""

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


@cache
def modules() -> dict[str, str]:
    """The text of every Python file, by its path."""
    return {name: (ROOT / name).read_text() for name in tracked() if name.endswith(".py")}


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(text, name) for name, text in modules().items()}


def product() -> Iterator[tuple[str, ast.Module]]:
    """What is installed: no tests, no scripts."""
    return ((name, tree) for name, tree in trees().items() if name.split("/")[0] in PACKAGES)


def places(found: Callable[[ast.AST], bool], within: Iterator[tuple[str, ast.Module]]) -> list[str]:
    """`file:line` of every node of `within` for which `found` holds."""
    return [
        f"{name}:{getattr(node, 'lineno', 1)}"
        for name, tree in within
        for node in ast.walk(tree)
        if found(node)
    ]


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a chain of names; what is not a name shows as `?`."""
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(value, attr):
            return f"{dotted(value)}.{attr}"
        case _:
            return "?"


def expect_none(found: list[str], fault: str) -> None:
    assert not found, f"{fault}:\n  " + "\n  ".join(sorted(found))


def test_every_module_can_be_read_in_one_sitting() -> None:
    lengths = {name: text.count("\n") for name, text in modules().items()}
    expect_none(
        [f"{name}:{lines}" for name, lines in lengths.items() if lines > MODULE_LINES_MAX],
        f"longer than {MODULE_LINES_MAX} lines",
    )


def test_every_function_fits_on_a_screen() -> None:
    def is_long(node: ast.AST) -> bool:
        if not isinstance(node, FUNCTION):
            return False
        return (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX

    expect_none(places(is_long, iter(trees().items())), f"longer than {FUNCTION_LINES_MAX} lines")


def test_imports_stand_at_the_top_of_their_module() -> None:
    def hides_an_import(node: ast.AST) -> bool:
        return isinstance(node, FUNCTION) and any(
            isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node)
        )

    expect_none(places(hides_an_import, iter(trees().items())), "imports inside")


def test_no_comment_silences_a_check_or_leaves_work_for_later() -> None:
    silencer = re.compile(
        r"\b(TODO|FIXME|XXX|HACK)\b|type:\s*ignore|noqa|pragma:\s*no cover|mypy:|ruff:"
    )
    expect_none(
        [
            f"{name}:{token.start[0]} {token.string}"
            for name, text in modules().items()
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT and silencer.search(token.string)
        ],
        "mend it instead",
    )


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    skips = {"skip", "skipif", "xfail", "importorskip", "skipIf", "skipUnless", "expectedFailure"}

    def is_skip(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Attribute)
            and node.attr in skips
            and dotted(node).split(".")[0] in {"pytest", "unittest"}
        )

    expect_none(places(is_skip, iter(trees().items())), "let it run")


def test_names_of_tests_are_sentences() -> None:
    def is_terse(node: ast.AST) -> bool:
        return (
            isinstance(node, FUNCTION)
            and node.name.startswith("test_")
            and len(node.name.split("_")) <= TEST_NAME_WORDS_MIN
        )

    tests = ((name, tree) for name, tree in trees().items() if name.startswith("tests/"))
    expect_none(places(is_terse, tests), "say what holds")


def test_no_broad_exception_is_swallowed() -> None:
    broad = {"Exception", "BaseException", "?"}

    def is_broad(kind: ast.expr | None) -> bool:
        kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
        return any(each is None or dotted(each) in broad for each in kinds)

    def swallows(node: ast.AST) -> bool:
        match node:
            case ast.ExceptHandler(None):
                return True
            case ast.ExceptHandler(kind, _, body) if is_broad(kind):
                acts = (ast.Raise, ast.Call, ast.Assign, ast.AnnAssign)
                return not any(isinstance(n, acts) for part in body for n in ast.walk(part))
            case ast.Call(ast.Name("suppress") | ast.Attribute(_, "suppress"), kinds):
                return any(is_broad(kind) for kind in kinds)
            case _:
                return False

    expect_none(places(swallows, iter(trees().items())), "name the error, or log it")


def test_files_are_opened_only_by_the_modules_that_own_them() -> None:
    def opens(node: ast.AST) -> bool:
        match node:
            case ast.Call(ast.Name("open")):
                return True
            case ast.Call(ast.Attribute(_, "read_text" | "read_bytes"), []):
                return True  # of a path; with a place to read at it is something else
            case ast.Call(ast.Attribute(_, "write_text" | "write_bytes")):
                return True
            case ast.Call(ast.Attribute(ast.Name("os" | "io"), "open" | "fdopen")):
                return True
            case ast.Call(ast.Attribute(_, "open"), args):
                # path.open() and path.open("rb"), but not Store.open(path)
                return all(isinstance(arg, ast.Constant) for arg in args)
            case _:
                return False

    inside = ((name, tree) for name, tree in product() if name not in FILE_DOORS)
    expect_none(places(opens, inside), f"only {sorted(FILE_DOORS)} open files")


def imported(tree: ast.Module) -> set[str]:
    """The names that a module has from others; an argument of the same name is not one of them."""
    froms = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return {alias.asname or alias.name for node in froms for alias in node.names}


def calls_outside(
    doors: frozenset[str], functions: re.Pattern[str], methods: re.Pattern[str]
) -> list[str]:
    """Where modules that are no doors call imported `functions`, or `methods` of anything."""
    found = []
    for name, tree in product():
        known = imported(tree)

        def is_forbidden(node: ast.AST, known: set[str] = known) -> bool:
            if not isinstance(node, ast.Call):
                return False
            called = ast.unparse(node.func)
            is_function = called.split(".")[0] in known and functions.fullmatch(called)
            return bool(is_function or methods.fullmatch(called))

        if name not in doors:
            found += places(is_forbidden, iter([(name, tree)]))
    return found


def test_clock_and_randomness_are_handed_down_from_the_top() -> None:
    # What is known by its full name, such as time.time, ruff forbids in pyproject.toml.
    functions = re.compile(r"(random\.)?Random")
    loop_time = re.compile(r"(.*\.)?_?(loop|get_running_loop\(\))\.time")
    expect_none(calls_outside(CLOCK_DOORS, functions, loop_time), "take it as an argument")


def test_work_for_other_threads_is_handed_over_in_one_place() -> None:
    functions = re.compile(r"asyncio\.to_thread|(threading\.)?Thread")
    methods = re.compile(r".*\.run_in_executor")
    found = calls_outside(THREAD_DOORS, functions, methods)
    expect_none(found, f"only {sorted(THREAD_DOORS)} do that")


def test_doors_that_are_named_here_exist() -> None:
    expect_none(
        [door for door in FILE_DOORS | CLOCK_DOORS | THREAD_DOORS if door not in modules()],
        "no such module",
    )


def test_rules_compute_with_integers_alone() -> None:
    def is_inexact(node: ast.AST) -> bool:
        match node:
            case ast.Constant(float()) | ast.Name("float"):
                return True
            case ast.BinOp(_, ast.Div()) | ast.AugAssign(_, ast.Div()):
                return True
            case _:
                return False

    rules = ((name, tree) for name, tree in product() if name.startswith("consensus/"))
    expect_none(places(is_inexact, rules), "nodes would disagree over a rounding")


def test_everything_public_in_the_rules_says_what_it_is() -> None:
    expect_none(
        [
            f"{name}:{node.lineno} {node.name}"
            for name, tree in product()
            if name.startswith("consensus/")
            for node in tree.body
            if isinstance(node, (*FUNCTION, ast.ClassDef))
            and node.name[0] != "_"
            and ast.get_docstring(node) is None
        ],
        "no docstring",
    )


def test_every_module_begins_by_saying_what_it_is_for() -> None:
    expect_none(
        [
            name
            for name, tree in trees().items()
            if tree.body and name.split("/")[0] != "tests" and ast.get_docstring(tree) is None
        ],
        "no docstring",
    )


def test_no_file_names_a_place_on_one_machine() -> None:
    # In pieces, or this file would name them.
    machine = re.compile(
        "|".join(("/" + "work/", "/" + r"root/", "/" + r"home/\w", "/" + "Users/"))
    )
    index = re.compile("|".join(("index" + "-url", "pypi" + r"\.", "python" + "hosted")))
    found = []
    for name in tracked():
        if name.startswith("tests/vectors/"):  # other people's words
            continue
        lines = (ROOT / name).read_text(errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            if machine.search(line) or index.search(line):
                found.append(f"{name}:{number} {line.strip()[:80]}")
    expect_none(found, "means nothing elsewhere")


def test_commands_in_scripts_can_be_run() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-s", "scripts", ".ci"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = []
    for line in listed.stdout.splitlines():
        mode, name = line.split()[0], line.split("\t")[1]
        if (ROOT / name).read_bytes().startswith(b"#!") and mode != "100755":
            found.append(f"{name}:1")
    expect_none(found, "has a first line for the shell and is not executable")


def test_version_is_that_of_the_newest_changes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == project["version"]

    def is_another(node: ast.AST) -> bool:
        match node:
            case ast.Assign([ast.Name("VERSION")], ast.Constant(str(text))):
                return bool(text != project["version"])
            case _:
                return False

    expect_none(places(is_another, product()), f"not {project['version']}")


def test_every_dependency_is_held_at_one_known_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    held = dict(line.split("==") for line in lines)
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = [re.split(r"[>=<;\[ ]", line)[0] for line in asked]
    expect_none(
        [name for name in names if name.lower() not in {key.lower() for key in held}], "not held"
    )
