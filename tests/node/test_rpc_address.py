"""Methods on addresses and assets, answered by a real ledger."""

from __future__ import annotations

from itertools import chain as links
from pathlib import Path
from typing import Any

import pytest

from consensus.asset import asset_id, authority_id
from consensus.hashes import to_text
from consensus.params import COIN
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AssetDefinition,
    Issue,
    OutPoint,
    Tx,
    TxOut,
    outpoint,
)
from node.rpc.errors import Code
from tests.node.rpc_kit import Bench, with_node
from tests.support.chain import ALICE, BOB, CAROL, DAVE, FEE, ToyChain, coins_made

GOLD = AssetDefinition(b"GOLD", b"Gold in grams", 3, bytes(range(32)), True)


def funded(coins: int = 1) -> ToyChain:
    """A chain on which Alice has mature coins."""
    chain = ToyChain()
    chain.fund(ALICE, coins)
    return chain


def issue_gold(chain: ToyChain, amount: int = 5_000) -> Tx:
    """Alice issues gold: 1 000 of it to Bob, 500 destroyed, the rest and the authority to herself."""
    spent = chain.coins_of(ALICE)[0]
    gold = asset_id(spent, GOLD)
    outputs = [
        TxOut(gold, 1_000, BOB.lock),
        TxOut(gold, amount - 1_500, ALICE.lock),
        TxOut(gold, 500, BURN_LOCK),
        TxOut(authority_id(gold), 1, ALICE.lock),
        TxOut(NATIVE, 5 * COIN - FEE, ALICE.lock),
    ]
    return chain.spend([spent], outputs, issuances=[Issue(0, GOLD, amount)])


async def pages(bench: Bench, method: str, key: str, **query: Any) -> list[list[Any]]:
    """Every page of a list."""
    found = []
    cursor = None
    while True:
        asked = query if cursor is None else {**query, "cursor": cursor}
        page = await bench.call(method, asked)
        found.append(page[key])
        cursor = page["cursor"]
        if cursor is None:
            return found


def test_an_address_is_told_from_a_mistyped_one(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        good = await bench.call("validateaddress", ALICE.address().upper())
        assert good["isvalid"] is True
        assert good["address"] == ALICE.address()
        assert good["scriptPubKey"] == "5120" + ALICE.lock.hex()
        for text in (
            "",
            "x",
            ALICE.address()[:-1],
            ALICE.address().replace("rtael", "tael"),
            "1" * 500,
        ):
            bad = await bench.call("validateaddress", text)
            assert bad["isvalid"] is False
            assert bad["error"]

    with_node(tmp_path, scenario)


def test_a_balance_tells_confirmed_from_waiting_and_immature(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        chain = bench.chain

        async def balance(*addresses: str) -> tuple[int, ...]:
            found = await bench.call("getaddressbalance", {"addresses": list(addresses)})
            assert found["bestblock"] == to_text(bench.ledger.tip.hash)
            assert found["assets"] == []
            fields = ("balance", "received", "unconfirmed", "immature")
            return tuple(found[field] for field in fields)

        alice, bob = ALICE.address(), BOB.address()
        assert await balance(alice) == (10 * COIN, 10 * COIN, 0, 0)
        assert await balance(bob) == (0, 0, 0, 0)
        tx = chain.pay(ALICE, BOB, COIN)
        bench.send(tx)
        assert await balance(alice) == (10 * COIN, 10 * COIN, -COIN - FEE, 0)
        assert await balance(bob) == (0, 0, COIN, 0)
        assert await balance(alice, bob) == (10 * COIN, 10 * COIN, -FEE, 0)
        await bench.mine(tx, payout=BOB.lock)
        assert await balance(bob) == (6 * COIN, 6 * COIN, 0, 5 * COIN)
        assert await balance(alice) == (9 * COIN - FEE, 14 * COIN - FEE, 0, 0)
        # The very last block before the coinbase of Bob matures, and the one that matures it.
        for _ in range(98):
            await bench.mine()
        assert (await balance(bob))[3] == 5 * COIN
        await bench.mine()
        assert (await balance(bob))[3] == 0

    with_node(tmp_path, scenario, chain=funded(2))


def test_a_spent_immature_coin_counts_no_longer(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        tx = bench.chain.spend(
            [bench.chain.coins_of(ALICE)[0]], [TxOut(NATIVE, 5 * COIN - FEE, BOB.lock)], expiry=105
        )
        await bench.mine(tx)  # so near its expiry that its outputs mature like a coinbase
        found = await bench.call("getaddressbalance", BOB.address())
        assert found["immature"] == found["balance"] == 5 * COIN - FEE
        utxo = (await bench.call("getaddressutxos", BOB.address()))["utxos"][0]
        assert (utxo["delayed"], utxo["mature_height"]) == (True, 202)

    with_node(tmp_path, scenario, chain=funded())


def test_coins_come_in_pages_across_addresses(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        addresses = [person.address() for person in (ALICE, BOB, CAROL)]
        whole = await bench.call("getaddressutxos", {"addresses": addresses})
        assert whole["cursor"] is None
        assert (whole["height"], whole["hash"]) == (12, to_text(bench.ledger.tip.hash))
        assert len(whole["utxos"]) == 12
        for limit in (1, 4, 5, 12, 100):
            split = await pages(bench, "getaddressutxos", "utxos", addresses=addresses, limit=limit)
            assert list(links.from_iterable(split)) == whole["utxos"]
            assert all(len(page) == limit for page in split[:-1])
            assert split[-1]
        named = await bench.call("getaddressutxos", addresses=addresses[:1], limit="3")
        assert len(named["utxos"]) == 3

    chain = ToyChain()
    for _ in range(4):
        for person in (ALICE, BOB, CAROL):
            chain.mine((), person.lock)
    with_node(tmp_path, scenario, chain=chain)


def test_history_comes_in_pages_in_the_order_of_the_chain(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        addresses = [person.address() for person in (ALICE, BOB, CAROL)]
        wanted = [to_text(b.txs[0].txid) for b in list(bench.chain.blocks.values())[1:]]
        tx = bench.chain.pay(DAVE, ALICE, COIN)
        await bench.mine(tx, payout=ALICE.lock)
        wanted += [to_text(each.txid) for each in bench.chain.blocks[bench.chain.tip.hash].txs]
        wanted = wanted[:12] + wanted[-2:]
        plain = await bench.call("getaddresstxids", {"addresses": addresses})
        assert plain == wanted
        for limit in (1, 5, 13, 14, 100):
            query = {"addresses": addresses, "limit": limit}
            split = await pages(bench, "getaddresstxids", "txids", **query)
            assert list(links.from_iterable(split)) == wanted
            split = await pages(bench, "getaddressdeltas", "deltas", **query)
            assert [delta["txid"] for delta in links.from_iterable(split)] == wanted

    chain = ToyChain()
    for _ in range(4):
        for person in (ALICE, BOB, CAROL):
            chain.mine((), person.lock)
    chain.mine_empty(101)
    with_node(tmp_path, scenario, chain=chain)


def test_deltas_say_what_each_transaction_did(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        tx = issue_gold(bench.chain)
        await bench.mine(tx)
        gold = to_text(asset_id(OutPoint(tx.body.inputs[0]), GOLD))
        found = await bench.call("getaddressdeltas", {"addresses": [ALICE.address()]})
        first, *later = found
        assert (first["height"], first["satoshis"], first["asset"]) == (1, 5 * COIN, "")
        changes = {delta["asset"]: delta["satoshis"] for delta in later}
        assert changes[""] == -FEE
        assert changes[gold] == 3_500
        assert all((delta["height"], delta["blockindex"]) == (102, 1) for delta in later)
        query = {"addresses": [ALICE.address()], "limit": 1}
        split = await pages(bench, "getaddressdeltas", "deltas", **query)
        assert [len(page) for page in split] == [1, 3]  # a transaction is never torn

    with_node(tmp_path, scenario, chain=funded())


def test_the_mempool_of_an_address_lists_what_comes_and_what_goes(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        first = bench.chain.pay(ALICE, BOB, COIN)
        bench.send(first)
        second = bench.chain.spend(
            [outpoint(first.txid, 0)],
            [TxOut(NATIVE, COIN - FEE, CAROL.lock)],
            extra_coins=coins_made(first, 102),
        )
        bench.send(second)
        query: dict[str, Any] = {"addresses": [BOB.address(), CAROL.address()]}
        rows = await bench.call("getaddressmempool", query)
        assert [(row["txid"], row["satoshis"]) for row in rows] == [
            (to_text(first.txid), COIN),
            (to_text(second.txid), -COIN),
            (to_text(second.txid), COIN - FEE),
        ]
        assert (rows[1]["prevtxid"], rows[1]["prevout"]) == (to_text(first.txid), 0)
        assert rows[2]["address"] == CAROL.address()
        split = await pages(bench, "getaddressmempool", "entries", **query, limit=1)
        assert [len(page) for page in split] == [1, 2]

    with_node(tmp_path, scenario, chain=funded())


@pytest.mark.parametrize(
    "method", ["getaddressutxos", "getaddresstxids", "getaddressdeltas", "getaddressmempool"]
)
def test_a_cursor_of_another_kind_is_refused(tmp_path: Path, method: str) -> None:
    async def scenario(bench: Bench) -> None:
        for cursor in ("00", "00" * 500):
            query = {"addresses": [ALICE.address()], "cursor": cursor}
            assert await bench.code(method, query) == Code.PARAMETER

    with_node(tmp_path, scenario)


def test_an_issued_asset_is_described_so_that_its_id_can_be_checked(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        tx = issue_gold(bench.chain)
        await bench.mine(tx)
        gold = asset_id(tx.body.inputs[0], GOLD)
        found = await bench.call("getasset", to_text(gold))
        assert found["supply"] == found["issued"] - found["destroyed"] == 4_500
        assert (found["ticker"], found["name"], found["decimals"]) == ("GOLD", "Gold in grams", 3)
        assert (found["reissuable"], found["terms"]) == (True, GOLD.terms.hex())
        spent = tx.body.inputs[0]
        assert found["outpoint"] == f"{to_text(spent[:32])}:{int.from_bytes(spent[32:], 'big')}"
        authority = await bench.call("getasset", found["authority"])
        assert (authority["authority_of"], authority["supply"]) == (to_text(gold), 1)
        assert found["authority_supply"] == 1
        assert authority["ticker"] == "GOLD"
        listed = await bench.call("listassets")
        assert listed == {"assets": [found], "cursor": None}
        balance = await bench.call("getaddressbalance", BOB.address())
        assert balance["assets"] == [
            {"asset": to_text(gold), "ticker": "GOLD", "decimals": 3, "balance": 1_000,
             "received": 1_000, "unconfirmed": 0},
        ]  # fmt: skip
        shown = await bench.call("getrawtransaction", to_text(tx.txid), 2)
        assert shown["issuances"][0]["asset"] == to_text(gold)
        assert shown["fee"] == "0.00010000"
        native = await bench.call("getasset", "TAEL")
        assert (native["asset"], native["decimals"]) == ("", 8)
        assert native["supply"] == 102 * 5 * COIN - FEE

    with_node(tmp_path, scenario, chain=funded())


def test_assets_are_listed_in_pages(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(3):
            await bench.mine(issue_gold(bench.chain))
        whole = (await bench.call("listassets"))["assets"]
        assert len(whole) == 3
        first = await bench.call("listassets", 2)
        second = await bench.call("listassets", 2, first["cursor"])
        assert first["assets"] + second["assets"] == whole
        assert second["cursor"] is None
        assert await bench.code("listassets", 2, "00") == Code.PARAMETER

    with_node(tmp_path, scenario, chain=funded(3))


def test_without_an_index_what_needs_one_says_so(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        for method in ("getaddressbalance", "getaddresstxids", "getaddressdeltas"):
            assert await bench.code(method, ALICE.address()) == Code.MISC
        assert await bench.code("gettxout", "00" * 32, 0) == Code.MISC
        assert await bench.call("getindexinfo") == {}
        utxos = (await bench.call("getaddressutxos", ALICE.address()))["utxos"]
        assert len(utxos) == 1
        assert await bench.code("getrawtransaction", utxos[0]["txid"]) == Code.ADDRESS_OR_KEY
        name = await bench.call("getblockhash", 1)
        assert await bench.call("getrawtransaction", utxos[0]["txid"], 0, name)

    with_node(tmp_path, scenario, chain=funded(), indexed=False)
