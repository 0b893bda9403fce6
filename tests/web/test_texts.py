"""Words and numbers on pages: catalogues that agree, templates without words, text of strangers."""

from __future__ import annotations

import re
import string
import tomllib
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.web import figures
from node.web.catalogue import CODES, choose, load
from node.web.charts import Bar, draw_bars, draw_line, nice_top
from node.web.foreign import FOREIGN_MAX, MARKS_MAX, foreign, foreign_bytes, without_unseen
from tests.support.daemon import ROOT
from tests.web.site import parse

WEB = ROOT / "node" / "web"
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
MADE_OF_PARTS = ("theme_", "name_of_", "lang_of_", "span_")
"""Beginnings of keys that are put together where they are used."""


def texts(code: str) -> dict[str, dict[str, str]]:
    found = tomllib.loads((WEB / "texts" / f"{code}.toml").read_text())
    return {key: {"other": each} if isinstance(each, str) else each for key, each in found.items()}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_catalogues_have_the_same_keys_in_the_same_order() -> None:
    first, *others = [list(texts(code)) for code in CODES]
    assert all(other == first for other in others)


def test_texts_put_in_the_same_values_in_every_language() -> None:
    english = texts("en")
    for code in CODES:
        for key, forms in texts(code).items():
            wanted = set().union(*(fields(form) for form in english[key].values()))
            assert set().union(*(fields(form) for form in forms.values())) == wanted, (code, key)
            assert set(forms) <= {"one", "other"}


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    sources = [*TEMPLATES, *WEB.glob("*.py")]
    written = " ".join(path.read_text() for path in sources)
    keys = set(texts("en"))
    unused = {
        key for key in keys
        if f'"{key}"' not in written and f"'{key}'" not in written and not key.startswith(MADE_OF_PARTS)
    }  # fmt: skip
    assert not unused
    for path in TEMPLATES:
        said = re.findall(r"""\bsay\(["'](\w+)["']\s*[,)]""", path.read_text())
        assert set(said) <= keys, (path.name, set(said) - keys)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_words_of_their_own(path: Path) -> None:
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
    spoken = re.findall(r"""(?:placeholder|title|alt|aria-label)=["']([^"']*)["']""", text)
    between = re.sub(r"<[^>]*>", "", text)
    for each in [*spoken, between]:
        assert not any(unicodedata.category(character)[0] == "L" for character in each), (
            each.strip()
        )


def test_chinese_is_chinese() -> None:
    same = {key for key, forms in texts("zh").items() if forms == texts("en")[key]}
    assert same == {"brand", "lang_of_en", "lang_of_zh", "name_of_en", "name_of_zh", "utc", "none"}


def test_numbers_choose_between_one_and_many() -> None:
    english = load("en")
    assert english.say("n_transactions", n=1) == "1 transaction"
    assert english.say("n_transactions", n=1_000) == "1,000 transactions"
    assert load("zh").say("n_transactions", n=1) == "1 笔交易"


def test_what_is_put_into_a_text_is_escaped() -> None:
    assert load("en").say("brackets", text="<b>&") == "(&lt;b&gt;&amp;)"


@given(st.text())
def test_any_header_chooses_a_language_that_is_there(accepted: str) -> None:
    assert choose(None, accepted) in CODES


# Text of strangers


@given(st.text())
def test_text_of_strangers_is_shown_whole_and_harmless(text: str) -> None:
    shown = str(foreign(text)).encode("utf-8", "surrogatepass").decode()
    parse(f"<!doctype html><title>x</title><p>{shown}")
    inner = re.sub(r'<span class="unseen">U\+[0-9A-F]{4,6}</span>|</?bdi[^>]*>', "", shown)
    assert "<" not in inner
    kinds = {unicodedata.category(character) for character in inner}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_directions_and_controls_are_shown_by_their_numbers() -> None:
    shown = foreign("pay\u202eeciov\u0000\u200b\u2066")
    assert [f"U+{number}" in shown for number in ("202E", "0000", "200B", "2066")] == [True] * 4


def test_length_and_height_of_foreign_text_are_bounded() -> None:
    assert len(foreign("a" * 10_000)) < FOREIGN_MAX + 60
    assert str(foreign("a" + "\u0301" * 50)).count("\u0301") == MARKS_MAX


def test_bytes_that_are_no_text_are_shown_in_hex() -> None:
    assert "0xff00" in foreign_bytes(b"\xff\x00")
    assert "&lt;b&gt;" in foreign_bytes(b"<b>")


@given(st.text())
def test_field_of_a_form_holds_nothing_unseen(text: str) -> None:
    assert all(unicodedata.category(each)[0] != "C" for each in without_unseen(text))


# Numbers


@given(st.integers(-(2**63), 2**63), st.integers(0, 18))
def test_amounts_lose_no_digit(units: int, decimals: int) -> None:
    whole, fraction, rest = figures.digits(units, decimals)
    text = (whole + fraction + rest).replace(",", "").replace("−", "-")
    assert int(text.replace(".", "")) == units
    assert len(text.partition(".")[2]) == decimals
    assert not fraction.endswith("0")
    assert not rest.strip(".0")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (999.6, "1.00 kB"), (1_234, "1.23 kB"), (45_600_000, "45.6 MB")],
)
def test_sizes_have_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert figures.scaled(value, "B") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1, "1"), (4.6565e-10, "4.66 × 10⁻¹⁰"), (2e-4, "2 × 10⁻⁴"), (1234.5, "1,234.50"),
     (98_765_432_100, "98.8 G")],
)  # fmt: skip
def test_difficulties_can_be_read(value: float, text: str) -> None:
    assert figures.difficulty(value) == text


@given(st.integers(-(10**20), 10**20))
def test_any_time_is_shown_as_a_date(seconds: int) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", figures.moment(seconds))
    assert figures.span(seconds)[1] >= 0


# Charts


@given(st.just(0.0) | st.floats(1e-30, 1e30))
def test_upper_edge_of_a_chart_is_round_and_not_far_above(most: float) -> None:
    top = nice_top(most)
    assert top >= most * 0.999
    assert top <= (most or 1) * 2.01


@given(st.lists(st.floats(0, 1e12), max_size=20), st.text())
def test_charts_are_valid_and_hold_no_foreign_markup(values: list[float], text: str) -> None:
    text = without_unseen(text)
    top = nice_top(max(values, default=0))
    bars = draw_bars("b", text, text, [Bar(value, text) for value in values], top, top / 2)
    for svg in (bars, draw_line("l", text, text, values or [0], top)):
        parse(f"<!doctype html><title>x</title>{svg}")
        assert "style=" not in re.sub(r">[^<]*<", "><", svg)
