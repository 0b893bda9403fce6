"""What an asset was issued and destroyed in all has no bound, though its supply has."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.asset import AssetRecord, asset_id, authority_id
from consensus.params import AMOUNT_MAX, ParamsError, params_from_mapping
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AssetDefinition,
    Height,
    Issuance,
    Issue,
    Reissue,
    TxOut,
    outpoint,
)
from node.layout import asset_value, decode_asset_row
from tests.support.chain import ALICE, ToyChain, blocks_of, digest_of
from tests.support.daemon import Daemon, feed, running

HUGE = AssetDefinition(b"HUGE", b"Huge", 0, b"", True)


def test_record_of_sums_beyond_64_bits_comes_back_from_its_row() -> None:
    record = AssetRecord(HUGE, b"", bytes(36), Height(7), 3 * AMOUNT_MAX, 2 * AMOUNT_MAX)
    assert decode_asset_row(asset_value(record)) == record


def test_asset_issued_and_destroyed_three_times_does_not_stop_a_node(tmp_path: Path) -> None:
    chain = ToyChain()
    native = chain.fund(ALICE)[0]
    huge = asset_id(native, HUGE)
    inputs = [native]
    issuance: list[Issuance] = [Issue(0, HUGE, AMOUNT_MAX)]
    for _ in range(3):
        left = chain.coins[inputs[0]].amount - 100_000
        outputs = [
            TxOut(NATIVE, left, ALICE.lock),
            TxOut(authority_id(huge), 1, ALICE.lock),
            TxOut(huge, AMOUNT_MAX, BURN_LOCK),
        ]
        tx = chain.spend(inputs, outputs, issuances=issuance)
        chain.mine([tx])
        inputs = [outpoint(tx.txid, 0), outpoint(tx.txid, 1)]
        issuance = [Reissue(huge, AMOUNT_MAX)]
    assert chain.records[huge].issued == 3 * AMOUNT_MAX
    node = Daemon(tmp_path / "node")
    with running(node):
        feed(node, blocks_of(chain))
        assert node.call("gettxoutsetinfo")["coinset"] == digest_of(chain)
        assert node.stop() == 0
        node.start()
        shown = node.call("getasset", huge[::-1].hex())
        assert (shown["issued"], shown["supply"]) == (3 * AMOUNT_MAX, 0)


def test_network_that_could_make_more_than_an_amount_holds_is_refused() -> None:
    source = {"name": "rich", "hrp": "rich", "ticker": "RICH", "genesis_time": 1}
    with pytest.raises(ParamsError, match="would make more than"):
        params_from_mapping({**source, "subsidy": AMOUNT_MAX // 2, "halving_blocks": 2})
