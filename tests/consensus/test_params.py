"""Networks as data: what a description may say, and that the chain id covers all of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from consensus.address import AddressError, decode_address, encode_address
from consensus.block import genesis
from consensus.block_rules import check_coinbase
from consensus.params import (
    ALLOCATIONS_MAX,
    AMOUNT_MAX,
    MAIN,
    NETWORKS,
    Allocation,
    Params,
    ParamsError,
    params_from_mapping,
)
from consensus.tx import BURN_LOCK
from tests.support.chain import ALICE, BOB

SOURCE: dict[str, Any] = {
    "name": "campus", "hrp": "cam", "ticker": "CAM", "genesis_time": 1_800_000_000,
}  # fmt: skip


def described(**entries: Any) -> Params:
    return params_from_mapping({**SOURCE, **entries})


def allocated(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"address": address, "amount": amount} for address, amount in pairs]


def test_what_is_absent_is_as_on_main() -> None:
    params = described()
    changed = msgspec.structs.replace(
        MAIN, name=b"campus", hrp=b"cam", ticker=b"CAM", genesis_time=1_800_000_000
    )
    assert params == changed


def test_allocations_are_coins_of_genesis() -> None:
    address = encode_address("cam", ALICE.lock)
    params = described(allocations=allocated((address, 7), (address, 8)))
    assert params.allocations == (Allocation(ALICE.lock, 7), Allocation(ALICE.lock, 8))
    outputs = genesis(params).txs[0].body.outputs
    assert [(out.lock, out.amount) for out in outputs[1:]] == [(ALICE.lock, 7), (ALICE.lock, 8)]
    assert (outputs[0].lock, outputs[0].memo) == (BURN_LOCK, params.hash())


@pytest.mark.parametrize(
    "entries",
    [
        {"name": "main"}, {"name": ""}, {"name": "Campus"}, {"name": "a" * 33}, {"name": 5},
        {"name": "a\n"}, {"hrp": "1"}, {"hrp": "CAM"}, {"hrp": "a" * 17}, {"ticker": "cam"},
        {"genesis_time": 0}, {"genesis_time": 2**32}, {"genesis_time": True}, {"interval_s": 0},
        {"interval_s": 30.0}, {"interval_s": "30"}, {"half_life_blocks": 0}, {"spacing_s": -1},
        {"future_s": 0}, {"subsidy": -1}, {"subsidy": 2**63}, {"halving_blocks": 0},
        {"subsidy": AMOUNT_MAX, "halving_blocks": 1}, {"pow_limit_bits": 0},
        {"pow_limit_bits": 0x1D80FFFF}, {"pow_limit_bits": 0x2200FFFF}, {"retarget": 1},
        {"unknown": 1}, {"allocations": {}}, {"allocations": [1]}, {"allocations": [{}]},
        {"allocations": allocated(("cam1", 5))}, {"allocations": allocated(("", 0))},
        {"allocations": allocated((encode_address("tael", ALICE.lock), 5))},
        {"allocations": allocated((encode_address("cam", ALICE.lock), 0))},
        {"allocations": allocated((encode_address("cam", ALICE.lock), True))},
        {"allocations": allocated((encode_address("cam", ALICE.lock), 2**63))},
        {"allocations": allocated(*[(encode_address("cam", ALICE.lock), 2**62)] * 2)},
        {"allocations": allocated(*[(encode_address("cam", BOB.lock), 1)] * (ALLOCATIONS_MAX + 1))},
        {"allocations": [{"address": encode_address("cam", ALICE.lock), "amount": 1, "x": 1}]},
    ],
    ids=lambda entries: str(entries)[:40],
)  # fmt: skip
def test_description_that_makes_no_sense_is_refused(entries: dict[str, Any]) -> None:
    with pytest.raises(ParamsError):
        described(**entries)


@pytest.mark.parametrize("name", SOURCE)
def test_entry_that_every_network_must_choose_is_required(name: str) -> None:
    with pytest.raises(ParamsError):
        params_from_mapping({key: value for key, value in SOURCE.items() if key != name})


def test_each_parameter_changes_the_chain_id() -> None:
    base = described()
    changes: list[dict[str, Any]] = [
        {name: getattr(base, name) + (b"x" if name in ("name", "hrp") else b"X")}
        if isinstance(getattr(base, name), bytes)
        else {name: not getattr(base, name)}
        if isinstance(getattr(base, name), bool)
        else {name: (Allocation(ALICE.lock, 1),)}
        if name == "allocations"
        else {name: getattr(base, name) + 1}
        for name in Params.__struct_fields__
    ]
    ids = {genesis(msgspec.structs.replace(base, **change)).header.hash for change in changes}
    assert len(ids | {genesis(base).header.hash}) == len(Params.__struct_fields__) + 1


def test_networks_that_are_built_in_share_no_name_prefix_or_genesis() -> None:
    networks = list(NETWORKS.values())
    for of in (
        lambda params: params.name,
        lambda params: params.hrp,
        lambda params: genesis(params).header.hash,
    ):
        assert len({of(params) for params in networks}) == len(networks)
    for params in networks:
        check_coinbase(genesis(params).txs[0])


def test_address_of_another_network_is_refused() -> None:
    address = encode_address("tael", ALICE.lock)
    assert decode_address("tael", address) == ALICE.lock
    assert decode_address("tael", address.upper()) == ALICE.lock
    for hrp in ("rtael", "ttael", "tae", "", "TAEL"):
        with pytest.raises(AddressError):
            decode_address(hrp, address)


@pytest.mark.parametrize("text", ["", "1", "tael1", "tael1\n", "tael1é", "ta el1", "x" * 10_000])
def test_text_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        decode_address("tael", text)
