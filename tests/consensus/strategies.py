"""Values of every struct of consensus, drawn by hypothesis. They fit the types, not the rules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from consensus.asset import AssetRecord
from consensus.hashes import AssetId, LockHash
from consensus.params import Allocation, Params
from consensus.tx import (
    AfterHeight,
    AfterTime,
    AssetDefinition,
    Body,
    Coin,
    Height,
    Issue,
    Key,
    Lock,
    Older,
    OutPoint,
    Pruned,
    Reissue,
    Sha256,
    Threshold,
    Transaction,
    TxOut,
    Witness,
)

EDGES = [
    sign * (2**bits + offset)
    for bits in (0, 5, 7, 8, 15, 16, 31, 32, 63)
    for offset in (-1, 0, 1)
    for sign in (1, -1)
]
integers = st.one_of(
    st.sampled_from([n for n in EDGES if -(2**63) <= n < 2**64]), st.integers(-(2**63), 2**64 - 1)
)
"""Every integer that MessagePack holds, the borders of its forms more often."""


def blob(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


long_bytes = st.one_of(st.binary(max_size=40), st.sampled_from([255, 256, 257]).map(bytes))


def tuples_of(items: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    few = st.lists(items, max_size=most).map(tuple)
    return st.one_of(
        few, st.tuples(items, st.sampled_from([15, 16, 17])).map(lambda p: p[:1] * p[1])
    )


atoms: st.SearchStrategy[Lock] = st.one_of(
    st.builds(Key, blob(33)),
    st.builds(AfterHeight, integers),
    st.builds(AfterTime, integers),
    st.builds(Older, integers),
    st.builds(Sha256, blob(32)),
    st.builds(Pruned, blob(32)),
)
locks: st.SearchStrategy[Lock] = st.recursive(
    atoms, lambda inner: st.builds(Threshold, integers, tuples_of(inner)), max_leaves=6
)
outputs = st.builds(
    TxOut,
    st.one_of(st.just(b""), blob(32), st.binary(max_size=3)).map(AssetId),
    integers,
    blob(32).map(LockHash),
    long_bytes,
)
definitions = st.builds(
    AssetDefinition, long_bytes, long_bytes, integers, st.binary(max_size=33), st.booleans()
)
issuances = st.one_of(
    st.builds(Issue, integers, definitions, integers),
    st.builds(Reissue, blob(32).map(AssetId), integers),
)
bodies = st.builds(
    Body,
    integers,
    tuples_of(blob(36).map(OutPoint)),
    tuples_of(outputs),
    tuples_of(issuances),
    integers.map(Height),
)
witnesses = st.builds(Witness, locks, tuples_of(long_bytes))
transactions = st.builds(Transaction, bodies, tuples_of(witnesses))
coins = st.builds(
    Coin,
    st.binary(max_size=32).map(AssetId),
    integers,
    blob(32).map(LockHash),
    integers.map(Height),
    st.booleans(),
)
records = st.builds(
    AssetRecord,
    st.none() | definitions,
    st.binary(max_size=32),
    st.binary(max_size=36),
    integers.map(Height),
    integers,
    integers,
)
params = st.builds(
    Params, long_bytes, long_bytes, long_bytes, *[integers] * 8, st.booleans(),
    tuples_of(st.builds(Allocation, blob(32), integers)),
)  # fmt: skip

EVERY_STRUCT: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Lock, locks),
    (TxOut, outputs),
    (AssetDefinition, definitions),
    (Issue | Reissue, issuances),
    (Body, bodies),
    (Witness, witnesses),
    (Transaction, transactions),
    (Coin, coins),
    (AssetRecord, records),
    (Params, params),
]
