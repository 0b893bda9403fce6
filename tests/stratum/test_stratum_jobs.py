"""Jobs: a miner that keeps the rules of Stratum alone makes headers that consensus agrees with."""

from __future__ import annotations

from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.block import HEADER_BYTES, decode_header
from node.miner import Extranonces
from node.stratum.jobs import VERSION_MASK, swap_words
from tests.node.mempool_kit import PARAMS, Pool
from tests.stratum.office_kit import Desk, FakeOffice
from tests.support.stratum_miner import flip_words

WORD = st.integers(0, 2**32 - 1).map(lambda number: f"{number:08x}")


@settings(max_examples=20, deadline=None)
@given(data=st.data(), fees=st.lists(st.integers(1_000, 90_000), max_size=9))
def test_header_of_a_miner_has_the_root_that_consensus_computes(
    data: st.DataObject, fees: list[int]
) -> None:
    pool = Pool(params=PARAMS, coins=len(fees))
    for coin, fee in zip(pool.coins, fees, strict=True):
        pool.enter([coin], fee)
    desk = Desk(FakeOffice(pool), data.draw(st.binary(min_size=4, max_size=4)))
    asked = desk.ask("mining.configure", ["version-rolling"], {})
    work = desk.begin()
    share = desk.search(
        work,
        extranonce2=data.draw(WORD),
        time=f"{int(work.time, 16) + data.draw(st.integers(0, 7_200)):08x}",
        rolled=data.draw(st.integers(0, 2**32 - 1)) & int(asked["version-rolling.mask"], 16),
        target=work.block_target,
    )
    assert desk.submit(share) is True
    (mined,) = desk.office.blocks
    assert mined.header.raw[:72] == desk_head(desk, share)[:72]
    assert [checked.tx.txid for checked in mined.txs] == [e.tx.txid for e in pool.mempool.ranked()]
    desk.office.connect()  # by every rule
    assert pool.chain.tip.hash == mined.header.hash


def desk_head(desk: Desk, share: list[str]) -> bytes:
    """The header of a share, as its miner computed it."""
    rolled = int(share[5], 16) if len(share) > 5 else 0
    head = desk.works[-1].head(desk.extranonce1, share[2], share[3], rolled)
    raw = head + int(share[4], 16).to_bytes(4, "little")
    assert len(raw) == HEADER_BYTES
    return decode_header(raw).raw


@given(st.binary(min_size=32, max_size=32))
def test_words_of_a_hash_are_swapped_and_swapped_back(block_hash: bytes) -> None:
    assert swap_words(block_hash) == flip_words(block_hash)
    assert swap_words(swap_words(block_hash)) == block_hash


def test_no_bit_that_may_be_rolled_is_set_in_the_version_of_a_job() -> None:
    desk = Desk(FakeOffice(Pool()))
    assert int(desk.begin().version, 16) & VERSION_MASK == 0


@given(
    st.binary(min_size=4, max_size=4)
    | st.sampled_from([b"\xff" * 4, bytes(4), b"\xff\xff\xff\xfe"])
)
def test_every_lease_of_extranonces_is_another(prefix: bytes) -> None:
    extranonces = Extranonces(prefix)
    leased = [extranonces.lease() for _ in range(50)]
    own = {made[:4] for made in islice(iter(extranonces.next, None), 50)}
    assert len({*leased, *own, bytes(4)}) == len(leased) + len({*own, bytes(4)})
