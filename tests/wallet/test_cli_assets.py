"""Commands about issued assets, end to end over a socket."""

from __future__ import annotations

import hashlib

import pytest

from consensus.asset import authority_id
from consensus.hashes import AssetId, from_text, to_text
from consensus.tx import NATIVE
from tests.support.rpc_node import ToyNode
from tests.support.wallet_cli import Tael
from wallet.answers import AssetInfo
from wallet.cli.assets_of import told_apart


def issue(node: ToyNode, wallet: Tael, *args: str) -> str:
    asset = str(wallet.json("issue", *args, "--yes")["asset"])
    node.mine()
    return asset


def test_issued_units_belong_to_the_issuer(node: ToyNode, alice: Tael) -> None:
    asset = issue(node, alice, "GOLD", "1000.50", "--decimals", "2", "--name", "Fine gold")
    assert alice.balance(asset)["confirmed"] == 100_050
    (shown,) = alice.json("assets")["assets"]
    assert (shown["ticker"], shown["name"], shown["decimals"]) == ("GOLD", "Fine gold", 2)
    assert shown["supply"] == {"amount": "1000.50", "units": 100_050}


def test_payment_in_an_asset_pays_its_fee_in_native_coins(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    asset = issue(node, alice, "GOLD", "1000", "--decimals", "2")
    native = alice.balance()["confirmed"]
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "12.34", "--asset", "GOLD", "--yes")
    node.mine()
    assert bob.balance(asset)["confirmed"] == 1_234
    assert alice.balance(asset)["confirmed"] == 100_000 - 1_234
    assert alice.balance()["confirmed"] == native - sent["fee"]["units"]


def test_all_of_an_asset_can_be_sent(node: ToyNode, alice: Tael, bob: Tael) -> None:
    asset = issue(node, alice, "GOLD", "7")
    alice.run("send", bob.json("address")["address"], "all", "--asset", asset, "--yes")
    node.mine()
    assert (alice.balance(asset)["confirmed"], bob.balance(asset)["confirmed"]) == (0, 7)


def test_issuing_to_another_address_gives_the_units_away(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    asset = issue(node, alice, "POINT", "5", "--to", address)
    assert bob.balance(asset)["confirmed"] == 5


def test_authority_coin_allows_more_until_it_is_given_up(node: ToyNode, alice: Tael) -> None:
    asset = issue(node, alice, "EURX", "100", "--reissuable")
    alice.run("reissue", asset, "50", "--yes")
    node.mine()
    assert alice.balance(asset)["confirmed"] == 150
    shown = alice.json("asset", asset)
    assert (shown["reissuable"], shown["authority_left"]) == (True, True)
    alice.run("reissue", "EURX", "1", "--last", "--yes")
    node.mine()
    assert alice.balance(asset)["confirmed"] == 151
    assert "no authority coin" in alice.fails("reissue", asset, "1", "--yes")
    authority = authority_id(AssetId(from_text(asset)))
    assert node.chain.supply(authority) == 0
    shown = alice.json("asset", asset)
    assert (shown["reissuable"], shown["authority_left"]) == (True, False)


def test_fixed_supply_cannot_be_raised(node: ToyNode, alice: Tael) -> None:
    asset = issue(node, alice, "FIX", "100")
    assert "no authority coin" in alice.fails("reissue", asset, "1", "--yes")


def test_destroyed_units_leave_the_supply(node: ToyNode, alice: Tael) -> None:
    asset = issue(node, alice, "GOLD", "100")
    alice.run("destroy", "30", "--asset", "GOLD", "--yes")
    node.mine()
    assert alice.balance(asset)["confirmed"] == 70
    assert alice.json("asset", asset)["supply"]["units"] == 70


def test_bumped_issue_makes_the_same_asset(node: ToyNode, alice: Tael) -> None:
    made = alice.json("issue", "GOLD", "100", "--yes")
    alice.run("bump", made["txid"], "--yes")
    assert len(node.mempool) == 1
    node.mine()
    assert alice.balance(made["asset"])["confirmed"] == 100


def test_terms_are_committed_to_by_their_hash(node: ToyNode, alice: Tael) -> None:
    terms = alice.folder / "terms.txt"
    terms.write_text("Redeemable at the counter.")
    asset = issue(node, alice, "BOND", "10", "--terms", str(terms))
    shown = alice.json("asset", asset)
    assert shown["terms"] == hashlib.sha256(terms.read_bytes()).hexdigest()


def test_ticker_that_two_assets_share_is_refused(node: ToyNode, alice: Tael, bob: Tael) -> None:
    first = issue(node, alice, "GOLD", "1")
    second = issue(node, alice, "GOLD", "2")
    address = bob.json("address")["address"]
    line = alice.fails("send", address, "1", "--asset", "GOLD", "--yes")
    assert first in line
    assert second in line


def test_node_that_lies_about_decimals_is_caught(node: ToyNode, alice: Tael) -> None:
    asset = issue(node, alice, "GOLD", "100", "--decimals", "2")
    node.overrides["getasset"] = {**node.getasset(asset), "decimals": 4}
    assert "lies about the definition" in alice.fails("balance")


def _row(wallet: Tael, asset: str) -> dict[str, object]:
    (row,) = [row for row in wallet.json("balance")["assets"] if row["asset"] == asset]
    return dict(row)


def test_waiting_units_of_a_new_asset_have_a_name_for_the_issuer_only(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    args = ("issue", "GOLD", "100", "--decimals", "2", "--to", address, "--reissuable", "--yes")
    asset = alice.json(*args)["asset"]
    authority = to_text(authority_id(AssetId(from_text(asset))))
    assert _row(alice, authority)["ticker"] == "GOLD*"
    row = _row(bob, asset)
    assert (row["decimals"], row["unconfirmed"]) == (0, {"amount": "10000", "units": 10_000})
    node.mine()
    assert _row(bob, asset)["confirmed"] == {"amount": "100.00", "units": 10_000}


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("issue", "gold", "1"), "asset-ticker"),
        (("issue", "GOLD", "1", "--name", "x" * 65), "asset-name"),
        (("issue", "GOLD", "1.5"), "more than 0 decimals"),
        (("issue", "GOLD", "1", "--terms", "/nowhere"), "no such file"),
        (("issue", "GOLD", "10000000000000000000"), "at most 9,223,372,036,854,775,807"),
        (("reissue", "GOLD", "1"), "holds no asset called"),
        (("reissue", "TAEL", "1"), "by mining only"),
        (("destroy", "1", "--asset", "zz" * 32), "not an asset id"),
        (("asset", "11" * 32), "no such asset"),
    ],
)
def test_wrong_asset_command_is_one_line(
    alice: Tael, args: tuple[str, ...], complaint: str
) -> None:
    yes = () if args[0] == "asset" else ("--yes",)
    assert complaint in alice.fails(*args, *yes)


def test_asset_with_the_name_of_the_native_coin_is_not_issued(alice: Tael) -> None:
    assert "choose another ticker" in alice.fails("issue", "TAEL", "1000000", "--yes")


def test_asset_that_poses_as_the_native_coin_istold_apart() -> None:
    fake = AssetId(bytes(31) + b"\xab")
    posing = told_apart(AssetInfo(fake, "TAEL", 8), "TAEL")
    assert posing.ticker == f"TAEL#{to_text(fake)[:8]}"
    assert told_apart(AssetInfo(NATIVE, "TAEL", 8), "TAEL").ticker == "TAEL"
    assert told_apart(AssetInfo(fake, "GOLD", 8), "TAEL").ticker == "GOLD"


def test_shortage_of_an_asset_is_told_by_its_ticker_and_decimals(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    issue(node, alice, "GOLD", "10", "--decimals", "2")
    said = alice.fails("send", bob.json("address")["address"], "12.5", "--asset", "GOLD", "--yes")
    assert "not enough GOLD: 2.50 short" in said


def test_ticker_and_name_that_no_asset_can_have_are_told_with_what_they_can_be(
    alice: Tael,
) -> None:
    assert "1 to 12 characters A-Z and 0-9" in alice.fails("issue", "gold", "10", "--yes")
    assert "at most 64 bytes" in alice.fails("issue", "GOLD", "10", "--name", "x" * 65, "--yes")
