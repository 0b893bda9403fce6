"""Rows of the database: each comes back as it was, in the order of its key, or is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.asset import AssetRecord
from consensus.errors import StorageError
from consensus.hashes import AssetId, BlockHash, LockHash, Txid
from consensus.tx import Coin, Height, OutPoint
from node.layout import (
    ASSET,
    BALANCE,
    COIN,
    HEADER,
    HISTORY,
    KEY_FORMAT,
    KEY_TIP,
    TX,
    FilePosition,
    FormatRow,
    HeaderRow,
    TipRow,
    TxPlace,
    asset_value,
    coin_key,
    coin_of,
    coin_row,
    coin_value,
    decode_asset_row,
    decode_format_row,
    decode_header_row,
    decode_tip_row,
    encode_row,
    history_entry,
    history_key,
    history_place,
    history_value,
    pack_pair,
    tx_place,
    tx_value,
    unpack_pair,
)

bytes32 = st.binary(min_size=32, max_size=32)
locks = bytes32.map(LockHash)
assets = st.one_of(st.just(b""), bytes32).map(AssetId)
u32 = st.integers(0, 2**32 - 1)
amounts = st.integers(0, 2**63 - 1)
positions = st.builds(FilePosition, u32, u32)


@given(
    asset=assets, amount=amounts, lock=locks, height=u32, delayed=st.booleans(),
    spent=st.binary(min_size=36, max_size=36).map(OutPoint),
)  # fmt: skip
def test_a_coin_comes_back_from_its_row(
    asset: AssetId, amount: int, lock: LockHash, height: int, delayed: bool, spent: OutPoint
) -> None:
    coin = Coin(asset, amount, lock, Height(height), delayed)
    assert coin_row(coin_key(lock, spent), coin_value(coin)) == (spent, coin)


@given(places=st.lists(st.builds(TxPlace, u32, u32, u32, u32, u32), max_size=5))
def test_a_place_of_a_transaction_comes_back_from_its_row(places: list[TxPlace]) -> None:
    assert [tx_place(tx_value(*place)) for place in places] == places


@given(
    lock=locks,
    entries=st.lists(st.tuples(u32, u32, assets, bytes32, amounts, amounts), max_size=8),
)
def test_history_comes_back_in_the_order_of_blocks(
    lock: LockHash, entries: list[tuple[int, int, AssetId, bytes, int, int]]
) -> None:
    unique = {entry[:3]: entry[3:] for entry in entries}
    rows = sorted(
        (
            history_key(lock + asset, history_place(height, position)),
            history_value(Txid(txid), received, spent),
        )
        for (height, position, asset), (txid, received, spent) in unique.items()
    )
    found = [history_entry(*row) for row in rows]
    assert [entry[:3] for entry in found] == sorted(unique)
    assert [entry[3:6] for entry in found] == [unique[entry[:3]] for entry in found]
    assert [HISTORY + lock + entry.cursor for entry in found] == [key for key, _ in rows]


@given(received=st.integers(0, 2**127), spent=st.integers(0, 2**127))
def test_a_balance_has_room_for_what_moves_in_centuries(received: int, spent: int) -> None:
    assert unpack_pair(pack_pair(received, spent)) == (received, spent)


@given(raw=bytes32, height=u32, place=st.one_of(st.none(), positions), other=positions)
def test_rows_of_messagepack_come_back(
    raw: bytes, height: int, place: FilePosition | None, other: FilePosition
) -> None:
    header = HeaderRow(raw + raw + raw[:16], height, 1, 5, place, None)
    assert decode_header_row(encode_row(header)) == header
    tip = TipRow(raw, other, other)
    assert decode_tip_row(encode_row(tip)) == tip
    form = FormatRow(1, BlockHash(raw), True)
    assert decode_format_row(encode_row(form)) == form
    record = AssetRecord(None, raw, b"", Height(height), 2**90, 2**80)
    assert decode_asset_row(asset_value(record)) == record


ROWS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "format": (decode_format_row, encode_row(FormatRow(1, bytes(32), True))),
    "tip": (decode_tip_row, encode_row(TipRow(b"x", FilePosition(1, 2), FilePosition(3, 4)))),
    "header": (decode_header_row, encode_row(HeaderRow(bytes(80), 1, 1, 1, None, None))),
    "asset": (decode_asset_row, asset_value(AssetRecord(None, b"", b"", Height(1), 2, 3))),
    "coin": (
        lambda value: coin_of(LockHash(bytes(32)), value),
        coin_value(Coin(AssetId(b""), 1, LockHash(bytes(32)), Height(1), True)),
    ),
    "place": (tx_place, tx_value(1, 2, 3, 4, 5)),
    "balance": (unpack_pair, pack_pair(1, 2)),
    "history": (
        lambda value: history_entry(HISTORY + bytes(40), value),
        history_value(Txid(bytes(32)), 1, 2),
    ),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_of_another_shape_is_refused_with_a_remedy(kind: str) -> None:
    decode, row = ROWS[kind]
    decode(row)
    for wrong in (b"", row[:-1], row + b"\x00", b"\xff" * 3):
        with pytest.raises(StorageError) as caught:
            decode(wrong)
        assert "--reindex" in caught.value.remedy


@pytest.mark.parametrize("flag", [2, 3, 128, 255])
def test_a_coin_that_is_neither_delayed_nor_not_is_refused_with_a_remedy(flag: int) -> None:
    decode, row = ROWS["coin"]
    with pytest.raises(StorageError) as caught:
        decode(row[:4] + bytes((flag,)) + row[5:])
    assert "--reindex" in caught.value.remedy


def test_kinds_of_rows_do_not_mix() -> None:
    kinds = (HEADER, COIN, ASSET, TX, HISTORY, BALANCE, KEY_FORMAT[:1])
    assert len(set(kinds)) == len(kinds)
    assert KEY_FORMAT != KEY_TIP
