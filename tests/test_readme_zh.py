"""README.zh.md says what README.md says: as far as that shows in what no translation changes.

A failure means that one of the two was changed alone. Bring the other after it, in its own words.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = "README.md", "README.zh.md"
FIRST_LINES = 5
"""A reader sees the link to the other language in these."""

BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)|(https?://[\w.:/-]+)")
CODE = re.compile(r"`([^`]+)`")
FIGURE = re.compile(r"\d+(?:[.:, ]\d+)*")
HAN = re.compile(r"[\u4e00-\u9fff]")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """What is not a block of code."""
    return BLOCK.sub("", text(name))


def levels(name: str) -> list[int]:
    """The level of every heading, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) \S", prose(name), re.MULTILINE)]


def sections(name: str) -> list[str]:
    """What stands between headings, without the line of each heading; the first is the lead."""
    return re.split(r"^#+ .*\n", prose(name), flags=re.MULTILINE)[1:]


def links(name: str) -> Counter[tuple[str, str]]:
    """Targets, and whether each is an image; the link to the other language is not among them."""
    found = (
        (kind, target or bare)
        for kind, target, bare in LINK.findall(prose(name))
        if target not in (ENGLISH, CHINESE)
    )
    return Counter(found)


def tables(name: str) -> list[list[list[str]]]:
    """The cells of each row of each table, in order. No cell holds a `|` of its own."""
    by_kind = groupby(prose(name).splitlines(), lambda line: line.startswith("|"))
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
        for is_table, rows in by_kind
        if is_table
    ]


def code(part: str) -> Counter[str]:
    """Inline code, however its lines are broken; order in a sentence is the language's own."""
    return Counter(" ".join(span.split()) for span in CODE.findall(part))


def figures(part: str) -> Counter[str]:
    """Numbers in digits, outside of code and of links' targets."""
    plain = CODE.sub("", re.sub(r"\]\([^)]*\)", "]", part))
    return Counter(FIGURE.findall(plain))


def test_both_languages_have_the_same_blocks_of_code_in_order() -> None:
    assert BLOCK.findall(text(CHINESE)) == BLOCK.findall(text(ENGLISH))


def test_each_language_links_to_the_other_in_its_first_lines() -> None:
    for name, link in ((ENGLISH, f"[中文]({CHINESE})"), (CHINESE, f"[English]({ENGLISH})")):
        assert link in text(name).splitlines()[:FIRST_LINES], name


def test_both_languages_have_as_many_headings_of_each_level_in_order() -> None:
    assert levels(CHINESE) == levels(ENGLISH)


def test_both_languages_have_the_same_links_and_images() -> None:
    assert links(CHINESE) == links(ENGLISH)


def test_every_linked_file_is_in_the_repository() -> None:
    targets = {target for _, target in links(CHINESE) if not target.startswith("http")}
    assert {target for target in targets if not (ROOT / target).is_file()} == set()


def test_both_languages_have_the_same_rows_in_the_same_tables() -> None:
    """A row is known by the code and the figures in each of its cells."""
    chinese, english = tables(CHINESE), tables(ENGLISH)
    assert [len(table) for table in chinese] == [len(table) for table in english]
    for ours, theirs in zip(chinese, english, strict=True):
        for row, original in zip(ours, theirs, strict=True):
            assert [(code(cell), figures(cell)) for cell in row] == [
                (code(cell), figures(cell)) for cell in original
            ], original


def test_measured_figures_are_the_same_in_order() -> None:
    def measured(name: str) -> list[list[list[str]]]:
        return [[FIGURE.findall(cell) for cell in row] for row in tables(name)[-1]]

    assert "libbitcoinkernel" in tables(ENGLISH)[-1][0]
    assert measured(CHINESE) == measured(ENGLISH)


def test_sections_name_the_same_code_and_figures_in_both_languages() -> None:
    for ours, theirs in zip(sections(CHINESE), sections(ENGLISH), strict=True):
        assert (code(ours), figures(ours)) == (code(theirs), figures(theirs))


def test_sections_have_as_many_list_entries_in_both_languages() -> None:
    def entries(part: str) -> int:
        return len(re.findall(r"^- ", part, re.MULTILINE))

    assert [*map(entries, sections(CHINESE))] == [*map(entries, sections(ENGLISH))]


def test_every_paragraph_of_the_chinese_text_is_in_chinese() -> None:
    paragraphs = [part.strip() for part in prose(CHINESE).split("\n\n")]
    told = [part for part in paragraphs if part and part not in ("# Tael", "[English](README.md)")]
    assert [part for part in told if not HAN.search(part)] == []
