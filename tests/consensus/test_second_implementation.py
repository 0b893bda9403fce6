"""The document suffices: an implementation written from it alone agrees with every vector.

Nothing here imports `consensus`; the vectors are the only bridge between the two.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import second, second_rules
from tests.support.second import BrokenRule, enc, read, text_form
from tests.support.second_rules import Change, Headers, Place
from tests.support.vectors import Case, coin_of, every, load, raw_of, supplies_of

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def place_of(case: Case) -> Place:
    given = case["context"]
    return Place(bytes.fromhex(given["chain_id"]), given["height"], given["median_time"])


def params_of(case: Case) -> list[Any]:
    """The 13 parameters in the order of the document."""
    given = case["params"]
    texts = [given[name].encode() for name in ("name", "hrp", "ticker")]
    numbers = [
        given[name]
        for name in (
            "genesis_time", "interval_s", "half_life_blocks", "spacing_s", "future_s", "subsidy",
            "halving_blocks", "pow_limit_bits", "retarget",
        )
    ]  # fmt: skip
    allocations = [[bytes.fromhex(lock), amount] for lock, amount in case["allocations"]]
    return [*texts, *numbers, allocations]


def network(name: str) -> list[Any]:
    cases = load("networks")["networks"]
    return next(params_of(case) for case in cases if case["params"]["name"] == name)


def expect_refusal(case: Case, act: Callable[[], object]) -> None:
    with pytest.raises(BrokenRule) as caught:
        act()
    assert (caught.value.rule, caught.value.kind) == (case["rule"], case["kind"])


def test_second_implementation_shares_nothing_with_the_first() -> None:
    for module in ("second.py", "second_rules.py"):
        text = (SUPPORT / module).read_text()
        assert not [
            line for line in text.splitlines() if line.startswith(("from cons", "import c"))
        ]


@pytest.mark.parametrize("key", ["integers", "booleans"])
def test_values_have_the_documented_encodings(key: str) -> None:
    for case in load("encodings")[key]:
        assert enc(case["value"]).hex() == case["encoding"]


@pytest.mark.parametrize(("key", "value"), [("bytes", b"a"), ("arrays", [0])])
def test_lengths_have_the_documented_encodings(key: str, value: bytes | list[int]) -> None:
    for case in load("encodings")[key]:
        assert enc(value * case["length"])[:6].hex() == case["first_bytes"]


@every("encodings", "refused_transactions")
def test_other_bytes_are_no_documented_encoding(case: Case) -> None:
    expect_refusal(case | {"kind": "DecodeError"}, lambda: second.decode_transaction(raw_of(case)))


@every("hashes", "tagged")
def test_tagged_hash_follows_from_the_document(case: Case) -> None:
    assert second.tagged(case["tag"], bytes.fromhex(case["data"])).hex() == case["digest"]


@every("locks", "opened")
def test_lock_hash_and_paths_follow_from_the_document(case: Case) -> None:
    lock = second.read_lock(read(bytes.fromhex(case["encoding"])))
    second_rules.check_lock(lock)
    assert second.lock_hash(lock).hex() == case["hash"]
    atoms = [{"path": path.hex(), "atom": enc(atom).hex()} for path, atom in second.atoms_of(lock)]
    assert atoms == case["atoms"]


@every("locks", "whole")
def test_hash_of_a_whole_lock_follows_from_the_document(case: Case) -> None:
    assert second.lock_hash(read(bytes.fromhex(case["encoding"]))).hex() == case["hash"]


@every("assets", "assets")
def test_asset_ids_follow_from_the_document(case: Case) -> None:
    definition = read(bytes.fromhex(case["definition"]))
    asset = second.asset_id(bytes.fromhex(case["outpoint"]), definition)
    assert text_form(asset) == case["asset"]
    assert text_form(second.authority_id(asset)) == case["authority"]


@every("addresses", "addresses")
def test_address_follows_from_the_document(case: Case) -> None:
    lock = bytes.fromhex(case["lock"])
    assert second.address_of(case["hrp"], lock) == case["address"]
    assert second.lock_of(case["hrp"], case["address"]) == lock


@every("addresses", "also_accepted")
def test_address_in_capital_letters_is_accepted_as_documented(case: Case) -> None:
    assert second.lock_of(case["hrp"], case["text"]).hex() == case["lock"]


@every("addresses", "refused")
def test_what_is_no_address_is_refused_as_documented(case: Case) -> None:
    with pytest.raises(ValueError):
        second.lock_of(case["hrp"], case["text"])


@every("messages", "messages")
def test_signed_message_holds_as_documented(case: Case) -> None:
    def holds(text: str) -> bool:
        witness = base64.b64decode(case["signature"])
        return second.is_message_signed(case["hrp"], case["address"], text, witness)

    assert holds(case["text"])
    assert not holds(case["text"] + ".")


def verdict(case: Case) -> tuple[list[Any], int, int]:
    """The transaction, its cost and its fee, after every rule."""
    transaction = second.read_transaction(read(raw_of(case)))
    coins = [coin_of(coin) for coin in case["coins"]]
    cost = second_rules.check_alone(transaction)
    place = place_of(case)
    fee = second_rules.check_with_coins(transaction, coins, supplies_of(case), place)
    second_rules.check_signatures(transaction, [coin for coin in coins if coin], place.chain)
    return transaction, cost, fee


@every("transactions", "transactions")
def test_ids_cost_and_fee_follow_from_the_document(case: Case) -> None:
    transaction, cost, fee = verdict(case)
    assert second.decode_transaction(raw_of(case)) == transaction
    body = transaction[0]
    assert text_form(second.txid_of(body)) == case["txid"]
    assert text_form(second.wtxid_of(transaction)) == case["wtxid"]
    assert (cost, fee) == (case["cost"], case["fee"])
    assert second_rules.is_delayed(body, case["context"]["height"]) == case["delayed"]
    made = [second.asset_id(body[1][issue[1]], issue[2]) for issue in body[3] if issue[0] == 0]
    assert [text_form(asset) for asset in made] == case["assets_made"]


@every("transactions", "transactions")
def test_digests_follow_from_the_document(case: Case) -> None:
    transaction, _, _ = verdict(case)
    coins = [coin for entry in case["coins"] if (coin := coin_of(entry))]
    assert second.coins_digest(coins).hex() == case["coins_digest"]
    signed = second_rules.signatures(transaction, coins, place_of(case).chain)
    assert [
        {
            "input": one.input_index,
            "path": one.path.hex(),
            "pubkey": one.pubkey.hex(),
            "scope": one.scope,
            "digest": one.digest.hex(),
            "signature": one.signature.hex(),
        }
        for one in signed
    ] == case["signatures"]


@every("refused_transactions", "transactions")
def test_transaction_is_refused_by_the_documented_rule(case: Case) -> None:
    expect_refusal(case, lambda: verdict(case))


@every("networks", "networks")
def test_chain_id_follows_from_the_document(case: Case) -> None:
    params = params_of(case)
    assert enc(params).hex() == case["encoding"]
    assert second.params_hash(params).hex() == case["hash"]
    first = second.genesis(params)
    assert first == raw_of(case, "genesis")
    header, transactions = read(first)
    assert second.sha256d(header).hex() == case["chain_id"]
    assert text_form(second.sha256d(header)) == case["genesis_hash"]
    assert text_form(second.txid_of(transactions[0][0])) == case["genesis_txid"]


@every("networks", "networks")
def test_subsidies_follow_from_the_document(case: Case) -> None:
    params = params_of(case)
    for height, amount in case["subsidies"]:
        assert second.subsidy(params[8], params[9], height) == amount


@every("difficulty", "compact")
def test_target_and_work_follow_from_the_document(case: Case) -> None:
    bits = int(case["bits"], 16)
    assert second.is_canonical(bits) == case["canonical"]
    if case["canonical"]:
        assert f"{second.target_of(bits):064x}" == case["target"]
        assert f"{second.work_of(bits):x}" == case["work"]


@every("difficulty", "rounded")
def test_compact_form_follows_from_the_document(case: Case) -> None:
    assert f"{second.bits_of(int(case['target'], 16)):08x}" == case["bits"]


@every("difficulty", "asert")
def test_difficulty_follows_from_the_document(case: Case) -> None:
    bits = second.next_bits(network(case["network"]), case["parent_height"], case["parent_time"])
    assert f"{bits:08x}" == case["bits"]


def headers_of_the_run() -> Headers:
    """The run, each header met by a clock that is exactly its time."""
    headers = Headers(network(load("headers")["network"]))
    for step in load("headers")["run"]:
        raw = raw_of(step)
        made = headers.add(raw, second.header_fields(raw)[2])
        assert (made.height, f"{made.work:x}") == (step["height"], step["work"])
        assert headers.median_time(second.sha256d(raw)) == step["median_time"]
        assert text_form(second.sha256d(raw)) == step["hash"]
    return headers


def test_headers_are_accepted_and_refused_as_documented() -> None:
    headers = headers_of_the_run()
    for case in load("headers")["refused"]:
        if "invalid" in case:
            headers.invalid.add(bytes.fromhex(case["invalid"])[::-1])
        if "rule" in case:
            expect_refusal(case, partial(headers.add, raw_of(case), case["now"]))
        else:
            headers.add(raw_of(case), case["now"])


@every("blocks", "trees")
def test_tree_root_follows_from_the_document(case: Case) -> None:
    assert second.tree_root([bytes.fromhex(leaf) for leaf in case["leaves"]]).hex() == case["root"]


@every("blocks", "coinbases")
def test_coinbase_and_its_root_follow_from_the_document(case: Case) -> None:
    outputs = [read(bytes.fromhex(output)) for output in case["outputs"]]
    coinbase = second.coinbase_of(case["height"], outputs, bytes.fromhex(case["extranonce"]))
    raw = enc(coinbase)
    assert raw.hex() == case["raw"]
    assert raw.endswith(bytes.fromhex("91929206c420" + "00" * 32 + "91c408" + case["extranonce"]))
    assert case["extranonce_offset"] == len(raw) - 8
    assert text_form(second.txid_of(coinbase[0])) == case["txid"]
    assert second_rules.check_coinbase(coinbase) == case["cost"]
    assert second.sha256d(raw).hex() == case["hash_for_miners"]
    assert second.block_root(raw, bytes.fromhex(case["others_root"])).hex() == case["root"]


def connected(case: Case) -> Change:
    coins = {bytes.fromhex(at): coin for at, c in case["coins"].items() if (coin := coin_of(c))}
    block = second_rules.check_block(raw_of(case))
    params = network(case["network"])
    return second_rules.connect(block, params, place_of(case), coins, supplies_of(case))


@every("blocks", "blocks")
def test_block_changes_the_ledger_as_documented(case: Case) -> None:
    change = connected(case)
    assert {at.hex(): coin for at, coin in change.created.items()} == {
        at: coin_of(coin) for at, coin in case["created"].items()
    }
    assert sorted(at.hex() for at in change.spent) == case["spent"]
    assert {asset.hex(): n for asset, n in change.issued.items() if n} == case["issued"]
    assert {asset.hex(): n for asset, n in change.destroyed.items() if n} == case["destroyed"]
    assert change.fees == case["fees"]


@every("blocks", "blocks")
def test_block_has_the_documented_hash_root_and_cost(case: Case) -> None:
    block = second_rules.check_block(raw_of(case))
    assert text_form(second.sha256d(block.header)) == case["hash"]
    assert second.header_fields(block.header)[1].hex() == case["root"]
    assert second.others_root(block.transactions).hex() == case["others_root"]
    assert [text_form(second.txid_of(tx[0])) for tx in block.transactions] == case["txids"]
    assert block.cost == case["cost"]


@every("refused_blocks", "blocks")
def test_block_is_refused_by_the_documented_rule(case: Case) -> None:
    expect_refusal(case, lambda: connected(case))


@every("blocks", "coin_sets")
def test_coin_set_hash_follows_from_the_document(case: Case) -> None:
    coins = [(bytes.fromhex(at), coin) for at, c in case["coins"].items() if (coin := coin_of(c))]
    assert second.coin_set_hash(coins).hex() == case["hash"]
