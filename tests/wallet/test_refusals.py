"""What a node refuses is told in words, with amounts and a remedy."""

from __future__ import annotations

import pytest

from consensus.errors import Rule
from tests.support.rpc_node import RpcFault, ToyNode
from tests.support.wallet_cli import Tael
from wallet.refusals import _TEXTS, explain_refusal

ID = "ab" * 32


@pytest.mark.parametrize(
    ("reason", "parts"),
    [
        ("fee-too-low: 34, 340", ("0.00000034 TAEL", "0.00000340 TAEL", "raise --fee")),
        ("fee-absurd: 200000000, 3400000", ("2.00000000 TAEL", "0.03400000 TAEL", "--max-fee-rate")),
        ("fee-below-floor: 340, 680", ("0.00000340 TAEL", "0.00000680 TAEL", "raise --fee")),
        ("fee-below-parent: 900, 340", ("0.00000900 TAEL", "0.00000340 TAEL", "raise --fee-rate")),
        ("dust: 1, 150", ("0.00000001 TAEL", "0.00000150 TAEL or more")),
        ("expires-too-soon: 1001, 1000", ("1,001", "1,000", "later --expiry")),
        ("tx-expired: 9, 10", ("void after block 9", "10", "anew")),
        ("mempool-descendants: 26, 25", ("26, at most 25", "wait for the next block")),
        ("mempool-ancestors: 120000, 101000", ("120,000, at most 101,000", "wait")),
        ("replacement-fee: 340, 680", ("0.00000340 TAEL", "0.00000680 TAEL", "raise --fee")),
        (f"replacement-fee: fee rate, {ID}", ("not above", "raise --fee")),
        ("replacement-count: 101, 100", ("101", "100", "wait")),
        (f"mempool-conflict: {ID}", ("same coin", "wait")),
        (f"coin-missing: {ID}", ("spent already", "tael history", "anew")),
        (f"coin-immature: {ID}00000000, 110", ("too lately", "from block 110 on")),
    ],
)  # fmt: skip
def test_refusal_is_told_with_amounts_and_a_remedy(reason: str, parts: tuple[str, ...]) -> None:
    told = explain_refusal(reason, "TAEL")
    assert all(part in told for part in parts), told
    assert told.endswith(f"({reason.partition(':')[0]})")


@pytest.mark.parametrize(
    "reason",
    ["", "unheard-of: 1, 2", "dust", "dust: x, 5", "fee-too-low: 5", f"dust: {'9' * 99}, 1"],
)
def test_what_is_not_understood_is_shown_as_the_node_wrote_it(reason: str) -> None:
    assert explain_refusal(reason, "TAEL") == reason


def test_every_explained_rule_exists() -> None:
    assert set(_TEXTS) <= {str(rule) for rule in Rule}


def test_a_fee_that_is_too_low_is_told_in_coins(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    for last in ("--yes", "--dry-run"):
        told = alice.fails("send", address, "1", "--fee", "0.00000034", last)
        assert "the fee of 0.00000034 TAEL is below the 0.0000" in told
        assert told.endswith("(fee-too-low)")


def test_a_refusal_names_the_ticker_of_the_network(node: ToyNode, alice: Tael, bob: Tael) -> None:
    node.faults["sendrawtransaction"] = RpcFault(-26, "dust: 1, 150")
    told = alice.fails("send", bob.json("address")["address"], "1", "--yes")
    assert f"0.00000001 {node.chain.params.ticker.decode()}" in told


def test_the_guard_against_large_fees_is_handed_on(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    for last in ("--yes", "--dry-run"):
        told = alice.fails("send", address, "1", "--fee", "2", last)
        assert "the fee of 2.00000000 TAEL is above the 0." in told
        assert "--max-fee-rate" in told
        assert "not an amount" in alice.fails(
            "send", address, "1", "--fee", "2", "--max-fee-rate", "much", last
        )
        alice.fails("send", address, "1", "--fee", "2", "--max-fee-rate", "0.2", last)
    alice.run("send", address, "1", "--fee", "2", "--max-fee-rate", "0", "--dry-run")
    assert alice.json("send", address, "1", "--fee", "2", "--max-fee-rate", "10", "--yes")["sent"]
