"""The project's own vectors hold for the rules, and are what the script writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from consensus.address import AddressError, decode_address, encode_address
from consensus.asset import asset_id, authority_id
from consensus.block import decode_block, decode_header, genesis, tree_root
from consensus.block_rules import BlockCheck, check_block
from consensus.codec import decode_canonical, decoder_of, encode
from consensus.coins import CoinSetDigest
from consensus.connect import Connection, Delta, delta_of
from consensus.errors import DecodeError, Invalid, Rule, Violation
from consensus.hashes import AssetId, BlockHash, LockHash, from_text, tagged, to_text
from consensus.header_tree import HeaderTree
from consensus.keys import are_signed
from consensus.locks import BlockContext, lock_hash, open_lock
from consensus.params import NETWORKS, Allocation, Params
from consensus.pow import bits_of, is_canonical_bits, target_of, work_of
from consensus.sighash import coins_digest
from consensus.tx import (
    AssetDefinition,
    Body,
    Coin,
    Height,
    Lock,
    OutPoint,
    TxOut,
    decode_tx,
    make_coinbase,
)
from consensus.tx_rules import CheckedTx, Spend, check_spend, check_tx, is_delayed
from scripts.make_vectors import FOLDER, rendered
from tests.support.vectors import Case, coin_of, every, load, raw_of, supplies_of
from wallet.message import verify_message

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def coin_from(entry: list[object] | None) -> Coin | None:
    fields = coin_of(entry)
    return None if fields is None else Coin(*fields)


def context_from(case: Case) -> BlockContext:
    given = case["context"]
    return BlockContext(bytes.fromhex(given["chain_id"]), given["height"], given["median_time"])


def params_from(case: Case) -> Params:
    fields: dict[str, Any] = {
        name: value.encode() if isinstance(value, str) else value
        for name, value in case["params"].items()
    }
    allocations = [Allocation(bytes.fromhex(lock), amount) for lock, amount in case["allocations"]]
    return Params(allocations=tuple(allocations), **fields)


def network(name: str) -> Case:
    return next(n for n in load("networks")["networks"] if n["params"]["name"] == name)


def violation_of(act: Callable[[], object]) -> Violation:
    with pytest.raises(Violation) as caught:
        act()
    return caught.value


def expect_refusal(case: Case, act: Callable[[], object]) -> None:
    error = violation_of(act)
    assert (type(error).__name__, error.rule) == (case["kind"], case["rule"])


def test_running_the_script_again_writes_the_same_bytes() -> None:
    assert dict(rendered()) == {path.name: path.read_text() for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize("key", ["integers", "booleans"])
def test_values_have_the_encodings_of_the_vectors(key: str) -> None:
    for case in load("encodings")[key]:
        assert encode(case["value"]).hex() == case["encoding"]


@every("encodings", "refused_transactions")
def test_transaction_in_other_bytes_is_no_encoding(case: Case) -> None:
    error = violation_of(lambda: decode_tx(raw_of(case), 100_000))
    assert isinstance(error, DecodeError)
    assert error.rule == case["rule"]


@every("hashes", "tagged")
def test_tagged_hash_is_that_of_the_vectors(case: Case) -> None:
    assert tagged(case["tag"])(bytes.fromhex(case["data"])).hex() == case["digest"]


@every("locks", "opened")
def test_shown_lock_has_hash_and_atoms_of_the_vectors(case: Case) -> None:
    lock: Lock = decode_canonical(decoder_of(Lock), bytes.fromhex(case["encoding"]))
    opened = open_lock(lock)
    assert opened.hash.hex() == case["hash"]
    atoms = [{"path": path.hex(), "atom": encode(atom).hex()} for path, atom in opened.atoms]
    assert atoms == case["atoms"]


@every("locks", "whole")
def test_whole_lock_has_the_hash_of_the_vectors(case: Case) -> None:
    lock: Lock = decode_canonical(decoder_of(Lock), bytes.fromhex(case["encoding"]))
    assert lock_hash(lock).hex() == case["hash"]


@every("assets", "assets")
def test_asset_and_authority_have_the_ids_of_the_vectors(case: Case) -> None:
    definition: AssetDefinition = decode_canonical(
        decoder_of(AssetDefinition), bytes.fromhex(case["definition"])
    )
    asset = asset_id(OutPoint(bytes.fromhex(case["outpoint"])), definition)
    assert (to_text(asset), to_text(authority_id(asset))) == (case["asset"], case["authority"])


@every("addresses", "addresses")
def test_address_of_the_vectors_pays_to_its_lock(case: Case) -> None:
    lock = bytes.fromhex(case["lock"])
    assert encode_address(case["hrp"], lock) == case["address"]
    assert decode_address(case["hrp"], case["address"]) == lock


@every("addresses", "also_accepted")
def test_address_in_another_form_pays_to_its_lock(case: Case) -> None:
    assert decode_address(case["hrp"], case["text"]).hex() == case["lock"]


@every("addresses", "refused")
def test_text_that_is_no_address_is_refused(case: Case) -> None:
    with pytest.raises(AddressError):
        decode_address(case["hrp"], case["text"])


@every("messages", "messages")
def test_signed_message_of_the_vectors_holds(case: Case) -> None:
    lock = decode_address(case["hrp"], case["address"])
    assert verify_message(case["address"], lock, case["text"], case["signature"])


def spend(case: Case) -> tuple[CheckedTx, Spend]:
    """Run a transaction through every rule."""
    checked = check_tx(decode_tx(raw_of(case), 200_000))
    coins = [coin_from(entry) for entry in case["coins"]]
    supplies = supplies_of(case)
    result = check_spend(checked, coins, lambda asset: supplies.get(asset, 0), context_from(case))
    if not are_signed(result.checks):
        raise Invalid(Rule.BAD_SIGNATURE)
    return checked, result


@every("transactions", "transactions")
def test_transaction_of_the_vectors_keeps_every_rule(case: Case) -> None:
    checked, result = spend(case)
    tx = checked.tx
    assert (to_text(tx.txid), to_text(tx.wtxid)) == (case["txid"], case["wtxid"])
    assert (checked.cost, result.fee) == (case["cost"], case["fee"])
    assert encode(tx.body) == raw_of(case, "body")
    assert is_delayed(tx.body, case["context"]["height"]) == case["delayed"]
    assert [check[33:65].hex() for check in result.checks] == [
        signature["digest"] for signature in case["signatures"]
    ]
    coins = [coin for entry in case["coins"] if (coin := coin_from(entry))]
    assert coins_digest(coins).hex() == case["coins_digest"]


@every("refused_transactions", "transactions")
def test_transaction_that_breaks_a_rule_is_refused_by_its_name(case: Case) -> None:
    expect_refusal(case, lambda: spend(case))


@every("networks", "networks")
def test_network_of_the_vectors_has_its_genesis(case: Case) -> None:
    params = params_from(case)
    assert encode(params).hex() == case["encoding"]
    assert params.hash().hex() == case["hash"]
    first = genesis(params)
    assert decode_block(raw_of(case, "genesis")) == first
    assert first.header.hash.hex() == case["chain_id"]
    assert [[height, params.subsidy_at(height)] for height, _ in case["subsidies"]] == (
        case["subsidies"]
    )


@every("difficulty", "compact")
def test_compact_target_is_that_of_the_vectors(case: Case) -> None:
    bits = int(case["bits"], 16)
    assert is_canonical_bits(bits) == case["canonical"]
    if case["canonical"]:
        assert f"{target_of(bits):064x}" == case["target"]
        assert f"{work_of(bits):x}" == case["work"]


@every("difficulty", "rounded")
def test_target_is_rounded_as_in_the_vectors(case: Case) -> None:
    assert f"{bits_of(int(case['target'], 16)):08x}" == case["bits"]


def test_run_of_headers_is_accepted_with_bits_and_work_of_the_vectors() -> None:
    tree = header_tree()
    for step in load("headers")["run"]:
        node = tree.get(BlockHash(from_text(step["hash"])))
        assert node is not None
        assert node.height == step["height"]
        assert f"{node.header.bits:08x}" == step["bits"]
        assert node.median_time() == step["median_time"]
        assert f"{node.work:x}" == step["work"]


def test_headers_that_may_not_follow_are_refused_by_name() -> None:
    tree = header_tree()
    for case in load("headers")["refused"]:
        if "invalid" in case:
            bad = tree.get(BlockHash(from_text(case["invalid"])))
            assert bad is not None
            tree.mark_invalid(bad)
        if "rule" not in case:
            add_header(tree, case)
            continue
        expect_refusal(case, partial(add_header, tree, case))


def add_header(tree: HeaderTree, case: Case) -> None:
    tree.add(decode_header(raw_of(case)), case["now"])


def header_tree() -> HeaderTree:
    """The run of headers, accepted."""
    params = params_from(network(load("headers")["network"]))
    tree = HeaderTree(params, genesis(params).header)
    for step in load("headers")["run"]:
        header = decode_header(raw_of(step))
        tree.add(header, header.time)
    return tree


@every("blocks", "trees")
def test_tree_has_the_root_of_the_vectors(case: Case) -> None:
    assert tree_root([bytes.fromhex(leaf) for leaf in case["leaves"]]).hex() == case["root"]


@every("blocks", "coinbases")
def test_coinbase_ends_with_its_extranonce(case: Case) -> None:
    outputs: list[TxOut] = [
        decode_canonical(decoder_of(TxOut), bytes.fromhex(output)) for output in case["outputs"]
    ]
    tx = make_coinbase(case["height"], outputs, bytes.fromhex(case["extranonce"]))
    assert tx.raw.hex() == case["raw"]
    assert tx.raw[case["extranonce_offset"] :].hex() == case["extranonce"]


def connect(case: Case) -> Delta:
    """Run a block through every rule."""
    coins = {bytes.fromhex(at): coin_from(coin) for at, coin in case["coins"].items()}
    supplies = supplies_of(case)
    connection = Connection(
        check_block(raw_of(case)), context_from(case), params_from(network(case["network"])),
        lambda spent, lock: coins.get(spent), lambda asset: supplies.get(asset, 0),
    )  # fmt: skip
    while (work := connection.step(1)) is not None:
        if not are_signed(work):
            raise Invalid(Rule.BAD_SIGNATURE)
    return connection.finish()


@every("blocks", "blocks")
def test_block_of_the_vectors_connects(case: Case) -> None:
    delta = connect(case)
    assert delta.fees == case["fees"]
    created = {at: coin_from(coin) for at, coin in case["created"].items()}
    assert {at.hex(): coin for at, coin in delta.created.items()} == created
    assert sorted(at.hex() for at in delta.spent) == case["spent"]
    issued = {asset.hex(): change.issued for asset, change in delta.supply.items() if change.issued}
    assert issued == case["issued"]
    block = decode_block(raw_of(case))
    assert delta_of(block, case["context"]["height"], delta.undo) == delta


@every("refused_blocks", "blocks")
def test_block_that_breaks_a_rule_is_refused_by_its_name(case: Case) -> None:
    expect_refusal(case, lambda: connect(case))


@every("blocks", "coin_sets")
def test_coin_set_has_the_hash_of_the_vectors(case: Case) -> None:
    coins = [(bytes.fromhex(at), coin_from(coin)) for at, coin in case["coins"].items()]
    state = CoinSetDigest()
    for at, coin in sorted(coins, key=lambda pair: (pair[1].lock if pair[1] else b"") + pair[0]):
        assert coin is not None
        state.add(OutPoint(at), coin)
    assert state.digest().hex() == case["hash"]


def test_document_names_every_rule() -> None:
    named = set(re.findall(r"`([a-z0-9-]+)`", DOCUMENT.read_text()))
    assert {str(rule) for rule in Rule} <= named


def test_vectors_refuse_by_every_rule_that_the_document_numbers() -> None:
    numbered = re.findall(r"^\| [TBHC]\d+ \|.*\| `([a-z0-9-]+)` \|", DOCUMENT.read_text(), re.M)
    tried = {
        case["rule"]
        for name, key in (("refused_transactions", "transactions"), ("refused_blocks", "blocks"),
                          ("headers", "refused"))
        for case in load(name)[key]
        if "rule" in case
    }  # fmt: skip
    assert len(numbered) > 60
    assert set(numbered) == tried


def test_document_gives_the_genesis_of_every_network() -> None:
    text = DOCUMENT.read_text()
    for params in NETWORKS.values():
        assert to_text(genesis(params).header.hash) in text
        assert params.hash().hex() in text


def test_lock_that_only_just_decodes_is_malformed_when_met_deeper_in_the_stack() -> None:
    output = TxOut(AssetId(b""), 1, LockHash(bytes(32)))
    body = encode(Body(1, (OutPoint(bytes(36)),), (output,), (), Height(0)))
    key = b"\x92\x00\xc4\x21\x02" + bytes(32)

    def step_deeper(check: BlockCheck, frames: int) -> None:
        if frames:
            # By way of C, whose calls Python 3.12 and later count apart from their own.
            next(map(step_deeper, [check], [frames - 1]))
        else:
            check.step(1)

    def deepest() -> BlockCheck:
        for levels in range(1_000, 100, -1):
            lock = b"\x93\x01\x01\x91" * levels + key
            data = b"\x92\xc4\x50" + bytes(80) + b"\x91\x92" + body + b"\x91\x92" + lock + b"\x90"
            try:
                return BlockCheck(data)
            except DecodeError:
                continue
        raise AssertionError

    check = deepest()
    assert violation_of(lambda: step_deeper(check, 30)).rule is Rule.MALFORMED
