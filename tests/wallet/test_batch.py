"""Files of payments: read strictly, with the line of what is wrong."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.batch import FIELD_MAX, ROWS_MAX, Row, parse_rows, write_rows
from wallet.errors import WalletError


def test_rows_are_read_with_their_lines_in_any_order_of_columns() -> None:
    text = 'memo,amount,address\r\n"a, b",1.5,x\r\n,2,y\r\n'
    assert parse_rows(b"\xef\xbb\xbf" + text.encode()) == [
        Row("x", "1.5", "", "a, b", 2), Row("y", "2", "", "", 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: there is no payment"),
        ("address,amount\n", "line 1: there is no payment"),
        ("x,1\n", "line 1: it must name the columns"),
        ("address\nx\n", "line 1: the column amount is missing"),
        ("address,amount,amount\nx,1,1\n", "line 1: the column amount stands twice"),
        ("address,amount,fee\nx,1,1\n", "'fee' is none"),
        ("address,amount\nx\n", "line 2: 1 fields, where 2"),
        ("address,amount\nx,1,2\n", "line 2: 3 fields, where 2"),
        ("address,amount\nx,1\n\ny,1\n", "line 3: 0 fields, where 2"),
        ("address,amount\nx,\n", "line 2: amount is empty"),
        ("address,amount\n,1\n", "line 2: address is empty"),
        ("address,amount\nx, 1\n", "line 2: amount is too long, or holds blanks"),
        ('address,amount\n"x\ny",1\n', "line 3: address is too long"),
        ("address,amount\nx,1\ny,2\nx,1\n", "line 4: the same as line 2"),
        ('address,amount\n"x,1\n', "line 2: unexpected end of data"),
        ('address,amount\n"x"y,1\n', "line 2: "),
        (f"address,amount\n{'x' * (FIELD_MAX + 1)},1\n", "line 2: address is too long"),
        ("address,amount\nx\0,1\n", "line 2: a zero byte"),
    ],
)
def test_odd_file_is_refused_with_the_line(text: str, reason: str) -> None:
    with pytest.raises(WalletError) as caught:
        parse_rows(text.encode())
    assert reason in str(caught.value)


def test_bytes_that_are_no_text_are_refused_with_the_line() -> None:
    with pytest.raises(WalletError, match="line 3: not UTF-8"):
        parse_rows(b"address,amount\nx,1\n\xff,1\n")


def test_file_with_too_many_payments_is_refused() -> None:
    text = "address,amount\n" + "".join(f"x{n},1\n" for n in range(ROWS_MAX + 1))
    with pytest.raises(WalletError, match="more than 10,000 payments"):
        parse_rows(text.encode())


cells = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=9)
rows = st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=9, unique=True)


@given(rows)
def test_what_is_written_reads_back(found: list[tuple[str, str, str]]) -> None:
    data = write_rows(("address", "amount", "memo"), found)
    assert [(r.address, r.amount, r.memo) for r in parse_rows(data)] == found
    assert list(csv.reader(io.StringIO(data.decode())))[1:] == [list(row) for row in found]


@given(st.binary(max_size=120) | st.text('adresmount,\n\r"\0 1x', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_in_one_line(data: bytes) -> None:
    try:
        found = parse_rows(data)
    except WalletError as error:
        told = str(error)
    else:
        told = "line " * bool(found)
    assert told.startswith("line ")
    assert "\n" not in told
