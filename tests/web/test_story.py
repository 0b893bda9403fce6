"""What pages show of things that go their way: a request that is paid, a block that loses, hostile text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from consensus.address import encode_address
from consensus.asset import asset_id, authority_id
from consensus.block import genesis
from consensus.hashes import to_text
from consensus.params import REGTEST
from consensus.tx import BURN_LOCK, NATIVE, AssetDefinition, Issue, TxOut
from tests.support.chain import ALICE, BOB, CAROL, ToyChain, blocks_of
from tests.support.daemon import feed
from tests.web.site import Site, parse, serving
from wallet.uri import PaymentUri, decode_uri, encode_uri

HOSTILE = "</td><script>alert(1)</script>\u202egnp.exe"


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def request(site: Site, amount: str = "1.5", **more: str) -> str:
    """What the page of a request says."""
    given = {"address": BOB.address(), "amount": amount, **more}
    query = "&".join(f"{name}={quote(value)}" for name, value in given.items())
    answer = site.get(f"/pay?{query}")
    assert answer.status == 200
    parse(answer.text)
    return words(answer.text)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(tmp_path) as found:
        yield found


def test_request_is_unpaid_then_waiting_then_paid_then_overpaid(site: Site) -> None:
    toy = ToyChain()
    toy.fund(ALICE, 3)
    feed(site.daemon, blocks_of(toy))
    assert "Not paid yet" in request(site, label="Bread & butter")
    assert "Bread &amp; butter" in request(site, label="Bread & butter")
    parts = [toy.pay(ALICE, BOB, 100_000_000), toy.pay(ALICE, BOB, 50_000_000)]
    site.daemon.call("sendrawtransaction", parts[0].raw.hex())
    assert "Paid in part" in request(site)
    assert "Missing 0.5 0000000" in request(site)
    feed(site.daemon, [toy.mine([parts[0]])])
    second = toy.pay(ALICE, BOB, 50_000_000)
    site.daemon.call("sendrawtransaction", second.raw.hex())
    assert "Paid, waiting to be mined" in request(site)
    feed(site.daemon, [toy.mine([second]), toy.mine()])
    assert "Paid · 2 confirmations" in request(site)
    assert "Paid, and more than was asked for · 3 confirmations" in request(site, "0.7")
    assert f"tael:{BOB.address()}?amount=1.5" in request(site)
    uri = quote(f"tael:{BOB.address()}?amount=1.5&label=Bread", safe="")
    assert "Paid · 2 confirmations" in words(site.get(f"/pay?uri={uri}").text)


def test_request_on_a_page_and_in_a_wallet_are_the_same(nodes: Site) -> None:
    asked = PaymentUri(
        address=BOB.address(), amount="0.5", label="Bäcker & Söhne", message="1 + 1 = 2; 果园",
        request="2041-a", expires=4_000_000_000,
    )  # fmt: skip
    page = nodes.get(f"/pay?uri={quote(encode_uri(asked), safe='')}")
    assert page.status == 200
    shown = [html.unescape(each) for each in re.findall(r"tael:[^<]+", page.text)]
    assert [decode_uri(each) for each in shown] == [asked]
    assert "Bäcker &amp; Söhne" in page.text
    long = nodes.get(
        f"/pay?address={ALICE.address()}&label={quote('果' * 200)}&message={quote('园' * 200)}"
    )
    assert "Too long for a QR code" in long.text
    late = nodes.get(f"/pay?address={ALICE.address()}&amount=9999&expires=9")
    assert "Expired, and not paid in full" in late.text


@pytest.mark.parametrize(
    "query",
    [
        "address=x", "uri=bitcoin:x", "uri=tael:", "amount=1&address={bob}&asset=00",
        "address={bob}&amount=-1", "address={bob}&expires=soon", "address={bob}&request=a%20b",
        "address={bob}&amount=0", "address={bob}&amount=1e5", "address={bob}&amount=0.000000001",
        "address={bob}&amount=99999999999999999999", "address={bob}&amount=%D9%A1",
        "address={bob}&asset=" + "0" * 64, "uri=tael:{bob}%3Freq-lock%3D1",
        "uri=tael:{bob}%3Famount%3D1%26req-amount%3D2", "address={bob}&amount=1%E2%80%8B5",
        "uri=tael:{bob}%3Famount%3D1%25E2%2580%258B5",
        "uri=tael:{bob}%3Fx%3D" + "0" * (1_982 - len(BOB.address())) + "%26amount%3D1500",
    ],
)  # fmt: skip
def test_request_that_makes_no_sense_is_refused(nodes: Site, query: str) -> None:
    answer = nodes.get(f"/pay?{query.format(bob=BOB.address())}")
    assert answer.status == 404
    parse(answer.text)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One node for questions that change nothing, with a hostile asset, memo and fork on it."""
    with serving(tmp_path_factory.mktemp("nodes")) as found:
        toy = ToyChain()
        toy.fund(ALICE, 1)
        (spent,) = toy.coins_of(ALICE)
        definition = AssetDefinition(b"EVIL", b"<i>Evil", 18, b"", True)
        made = asset_id(spent, definition)
        outputs = [
            TxOut(NATIVE, toy.coins[spent].amount - 10_000, CAROL.lock, HOSTILE.encode()),
            TxOut(NATIVE, 5_000, BURN_LOCK, b"\xff\xfe"),
            TxOut(made, 2**62, CAROL.lock),
            TxOut(authority_id(made), 1, CAROL.lock),
        ]
        feed(found.daemon, blocks_of(toy))
        stale = toy.template((), BOB.lock)
        tx = toy.spend([spent], outputs, issuances=[Issue(0, definition, 2**62)])
        feed(found.daemon, [toy.mine([tx]), toy.mine()])
        found.daemon.call("submitblock", stale.raw.hex())
        found.paths = {
            "tx": f"/tx/{to_text(tx.txid)}", "asset": f"/asset/{to_text(made)}",
            "stale": f"/block/{to_text(stale.header.hash)}", "owner": f"/address/{CAROL.address()}",
        }  # fmt: skip
        yield found


@pytest.mark.parametrize("name", ["tx", "asset", "owner"])
def test_hostile_text_is_shown_as_text(nodes: Site, name: str) -> None:
    text = nodes.get(nodes.paths[name]).text
    tree = parse(text)
    assert [each for each in tree.findall(".//script") if not each.get("src")] == []
    assert "\u202e" not in text
    if name == "tx":
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "U+202E" in text
        assert "0xfffe" in text  # of a memo that is no UTF-8
    if name == "asset":
        assert "&lt;i&gt;Evil" in text


def test_destroyed_coins_and_new_assets_are_named(nodes: Site) -> None:
    text = words(nodes.get(nodes.paths["tx"]).text)
    assert "destroyed for good" in text
    assert "nobody can ever spend this" in text
    assert "new asset" in text
    assert "4.611686018427387904" in text  # 18 decimals, and no digit lost
    burn = words(nodes.get(f"/address/{burn_address()}").text)
    assert "what is sent here is destroyed" in burn


def burn_address() -> str:
    return encode_address(REGTEST.hrp.decode(), BURN_LOCK)


def test_coin_of_authority_leads_to_its_asset(nodes: Site) -> None:
    shown = re.search(r"[0-9a-f]{64}", nodes.get(nodes.paths["asset"]).text[-3_000:])
    assert shown is not None
    text = nodes.get(nodes.paths["owner"]).text
    links = set(re.findall(r'href="(/asset/[0-9a-f]{64})"', text))
    assert len(links) == 2
    for link in links:
        answer = nodes.get(link)
        assert answer.status == 200 or answer.headers["Location"] == nodes.paths["asset"]


def test_block_that_lost_says_so(nodes: Site) -> None:
    text = words(nodes.get(nodes.paths["stale"]).text)
    assert "not part of the best chain" in text
    assert "Confirmations 0" in text


def test_genesis_has_pages_like_every_block(nodes: Site) -> None:
    first = to_text(genesis(REGTEST).header.hash)
    text = nodes.get("/block/0").text
    assert first in text
    parse(text)
    txid = re.search(r'href="(/tx/[0-9a-f]{64})"', text)
    assert txid is not None
    assert nodes.get(txid[1]).status == 200


def test_hashes_in_capitals_lead_to_the_one_page_there_is(nodes: Site) -> None:
    for name in ("tx", "asset", "stale"):
        kind, digest = nodes.paths[name][1:].split("/")
        answer = nodes.get(f"/{kind}/{digest.upper()}")
        assert (answer.status, answer.headers["Location"]) == (303, nodes.paths[name])


def test_node_without_an_index_says_what_it_cannot_show(tmp_path: Path) -> None:
    config = tmp_path / "taeld.toml"
    config.write_text("index = false\n")
    with serving(tmp_path / "node", "--config", str(config)) as site:
        txid = site.daemon.call("getblock", site.daemon.tip)["tx"][0]
        site.daemon.call("generatetoaddress", 1, BOB.address())
        assert site.get("/").status == site.get("/block/1").status == 200
        assert "keeps no index" in site.get(f"/address/{BOB.address()}").text
        for path in (f"/tx/{txid}", f"/pay?address={BOB.address()}"):
            answer = site.get(path)
            assert answer.status == 404
            assert "keeps no index" in answer.text


def test_page_whose_block_is_damaged_is_a_fault_and_the_next_one_is_not(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.daemon.call("generatetoaddress", 3, BOB.address())
        (file,) = (tmp_path / "blocks").glob("*")
        data = bytearray(file.read_bytes())
        data[-20] ^= 1
        file.write_bytes(data)
        answer = site.get("/block/3")
        assert answer.status == 500
        parse(answer.text)
        assert "Traceback" not in answer.text
        assert "went wrong" in site.get("/block/3", accept="*/*").text
        assert site.get("/block/1").status == site.get("/").status == 200
