"""Methods on mining, peers and the node itself."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from consensus.block import block_root, make_block, make_header, tree_root
from consensus.hashes import BlockHash, from_text, to_text
from consensus.params import COIN, REGTEST, TX_BYTES_MAX
from consensus.tx import decode_tx
from node.rpc.errors import Code
from node.rpc.methods import METHODS
from tests.node.rpc_kit import Bench, with_node
from tests.support.chain import ALICE, BOB, FEE, ToyChain, rebuilt, solve


def funded() -> ToyChain:
    """A chain on which Alice has a mature coin."""
    chain = ToyChain()
    chain.fund(ALICE)
    return chain


def test_an_outside_miner_can_build_the_block_from_the_template(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        bench.send(bench.chain.pay(ALICE, BOB, COIN))
        template = await bench.call(
            "getblocktemplate", {"rules": ["segwit"], "address": BOB.address()}
        )
        assert template["height"] == 102
        assert template["coinbasevalue"] == 5 * COIN + FEE
        assert template["transactions"][0]["fee"] == FEE
        txs = [
            decode_tx(bytes.fromhex(each["data"]), TX_BYTES_MAX)
            for each in template["transactions"]
        ]
        others_root = tree_root([tx.txid + tx.wtxid for tx in txs])
        assert template["othersroot"] == others_root.hex()
        coinbase = decode_tx(bytes.fromhex(template["coinbasetxn"]["data"])[:-8] + b"mined by", 200)
        previous = BlockHash(from_text(template["previousblockhash"]))
        header = make_header(
            template["version"], previous, block_root(coinbase.raw, others_root),
            template["curtime"], int(template["bits"], 16), 0,
        )  # fmt: skip
        block = solve(make_block(header, (coinbase, *txs)))
        assert int(template["target"], 16) >= int.from_bytes(block.header.hash, "little")
        assert await bench.call("submitblock", block.raw.hex()) is None
        assert await bench.call("getbestblockhash") == to_text(block.header.hash)
        assert await bench.call("submitblock", block.raw.hex()) == "duplicate"
        assert await bench.call("getrawmempool") == []
        balance = await bench.call("getaddressbalance", BOB.address())
        assert balance["balance"] == 6 * COIN + FEE

    with_node(tmp_path, scenario, chain=funded())


def test_a_template_needs_neither_peers_nor_transactions(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        template = await bench.call("getblocktemplate")
        assert (template["height"], template["transactions"]) == (1, [])
        assert "coinbasetxn" not in template
        assert await bench.code("getblocktemplate", {"mode": "proposal"}) == Code.PARAMETER
        assert await bench.code("getblocktemplate", {"address": "x"}) == Code.ADDRESS_OR_KEY
        assert await bench.code("getblocktemplate", {"address": 5}) == Code.INVALID_PARAMS

    with_node(tmp_path, scenario)


def test_a_wrong_block_is_answered_by_the_name_of_the_rule(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        chain = bench.chain
        greedy = chain.template(reward=6 * COIN)
        torn = rebuilt(chain.template(), lambda txs: [*txs, txs[0]])
        assert await bench.call("submitblock", greedy.raw.hex()) == "coinbase-amount"
        assert await bench.call("submitblock", greedy.raw.hex()) == "duplicate-invalid"
        assert await bench.call("submitblock", torn.raw.hex()) == "coinbase-misplaced"
        assert await bench.call("submitblock", chain.template().raw[:-1].hex()) == "malformed"
        assert await bench.call("submitblock", "00") == "malformed"
        assert await bench.code("submitblock", "0") == Code.DESERIALIZATION
        assert await bench.call("getblockcount") == 0

    with_node(tmp_path, scenario)


def test_blocks_are_made_at_once_where_work_costs_nothing(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        hashes = await bench.call("generatetoaddress", "3", BOB.address())
        assert [await bench.call("getblockhash", n) for n in (1, 2, 3)] == hashes
        assert await bench.code("generatetoaddress", 1_001, BOB.address()) == Code.PARAMETER
        assert await bench.code("generatetoaddress", 1, "x") == Code.ADDRESS_OR_KEY

    with_node(tmp_path, scenario)


def test_blocks_are_not_made_at_once_where_work_counts(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        assert (await bench.call("getblockchaininfo"))["chain"] == "main"
        assert await bench.code("generatetoaddress", 1, BOB.address()) == Code.MISC

    params = msgspec.structs.replace(REGTEST, name=b"campus", retarget=True)
    with_node(tmp_path, scenario, params=params)


def test_hash_rate_is_work_over_time(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        rate = float(await bench.call("getnetworkhashps"))
        tip = bench.ledger.tip
        seconds = tip.header.time - bench.ledger.tree.genesis.header.time
        assert rate == pytest.approx((tip.work - bench.ledger.tree.genesis.work) / seconds)
        assert float(await bench.call("getnetworkhashps", 2, 5)) > 0
        assert float(await bench.call("getnetworkhashps", 120, 0)) == 0
        assert await bench.code("getnetworkhashps", 2, 99) == Code.PARAMETER
        info = await bench.call("getmininginfo")
        assert (info["blocks"], info["pooledtx"]) == (5, 0)
        assert float(info["networkhashps"]) == rate

    chain = ToyChain()
    chain.mine_empty(5)
    with_node(tmp_path, scenario, chain=chain)


def test_peers_are_shown_as_clients_expect_them(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        first, second = await bench.call("getpeerinfo")
        assert (first["addr"], first["network"], first["inbound"]) == (
            "10.0.0.9:29932",
            "ipv4",
            False,
        )
        assert (first["pingtime"], first["bytessent"]) == ("0.25", 5)
        assert (second["network"], second["connection_type"]) == ("ipv6", "inbound")
        assert "pingtime" not in second
        assert (first["encrypted"], first["certificate"]) == (True, "ab" * 32)
        assert (second["encrypted"], second.get("certificate")) == (False, None)
        assert await bench.call("getconnectioncount") == 2
        info = await bench.call("getnetworkinfo")
        assert (info["connections"], info["connections_in"], info["connections_out"]) == (2, 1, 1)
        assert info["relayfee"] == "0.00001000"
        assert info["subversion"] == "/tael:0.1.0/"
        totals = await bench.call("getnettotals")
        assert (totals["totalbytesrecv"], totals["totalbytessent"]) == (11, 22)
        assert totals["timemillis"] == int(bench.now * 1_000)

    with_node(tmp_path, scenario)


def test_peers_are_added_removed_tried_and_disconnected(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        network = bench.network
        assert await bench.call("addnode", "10.1.1.1", "add") is None
        assert network.added == {("10.1.1.1", 29_932)}
        assert await bench.code("addnode", "10.1.1.1:29932", "add") == Code.NODE_ALREADY_ADDED
        assert await bench.call("addnode", node="10.1.1.1", command="remove") is None
        assert await bench.code("addnode", "10.1.1.1", "remove") == Code.NODE_NOT_ADDED
        await bench.call("addnode", "[2001:db8::2]:77", "onetry")
        await bench.call("addnode", "[2001:db8::2]", "onetry")
        await bench.call("addnode", "node.example:5", "onetry")
        await bench.call("disconnectnode", "10.0.0.9:29932")
        await bench.call("disconnectnode", nodeid=4)
        await bench.call("ping")
        assert network.told == [
            ("dial", "2001:db8::2", 77), ("dial", "2001:db8::2", 29_932),
            ("dial", "node.example", 5), ("disconnect", 3), ("disconnect", 4), ("ping",),
        ]  # fmt: skip
        assert await bench.call("addnode", f"10.1.1.2#{'AB' * 32}", "add") is None
        assert network.pins["10.1.1.2", 29_932] == b"\xab" * 32
        for text in ("10.1.1.3#", "10.1.1.3#xyz", f"#{'ab' * 32}", f"10.1.1.3##{'ab' * 32}"):
            assert await bench.code("addnode", text, "add") == Code.PARAMETER
        for text in ("", "a b", "1.2.3.4:0", "1.2.3.4:65536", "[::1", "::1", "x:y", "h" * 300):
            assert await bench.code("addnode", text, "add") == Code.PARAMETER
        assert await bench.code("addnode", "10.1.1.1", "ad") == Code.PARAMETER
        assert await bench.code("disconnectnode") == Code.INVALID_PARAMS
        assert await bench.code("disconnectnode", "10.0.0.9:29932", 3) == Code.INVALID_PARAMS
        assert await bench.code("disconnectnode", "10.0.0.8:29932") == Code.NODE_NOT_CONNECTED

    with_node(tmp_path, scenario)


def test_help_names_every_method_and_explains_each(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        text = await bench.call("help")
        assert all(f"\n{name}" in text for name in METHODS)
        for name in METHODS:
            assert (await bench.call("help", name)).startswith(name)

    with_node(tmp_path, scenario)


def test_the_node_tells_its_age_and_stops_when_told(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.call("uptime") == 61
        assert not bench.stopped
        assert await bench.call("stop") == "Tael node stopping"
        assert bench.stopped

    with_node(tmp_path, scenario)


@pytest.mark.parametrize(
    "junk", [[], {}, [[]], {"a": [1]}, "", "x", -1, 2**70, True, None, "9" * 99]
)
def test_junk_as_parameters_is_never_an_internal_error(tmp_path: Path, junk: object) -> None:
    async def scenario(bench: Bench) -> None:
        for name, method in METHODS.items():
            for count in range(1, len(method.arguments) + 1):
                code = await bench.code(name, *[junk] * count)
                assert code != Code.INTERNAL, (name, count)

    with_node(tmp_path, scenario)
