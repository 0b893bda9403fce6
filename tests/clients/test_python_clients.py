"""Python clients of Bitcoin Core as they come from their authors, against a node."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import bitcoin.rpc
import pytest
from bitcoin_core_rpc import BitcoinCoreRpcClient, RpcChannel, RpcError
from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

from consensus.params import COIN
from tests.clients.served import PAID, Served

PAID_COINS = Decimal(PAID) / COIN


# python-bitcoinrpc


def test_bitcoinrpc_reads_the_chain_and_exact_amounts(node: Served) -> None:
    proxy: Any = AuthServiceProxy(node.auth_url)
    assert proxy.getblockcount() == node.chain.tip.height
    assert proxy.getblockhash(node.chain.tip.height) == node.names["block"]
    block = proxy.getblock(node.names["block"], 2)
    assert [tx["txid"] for tx in block["tx"]][1] == node.names["mined"]
    paid = proxy.getrawtransaction(node.names["mined"], 1)["vout"][0]["value"]
    assert paid == PAID_COINS
    assert isinstance(paid, Decimal)


def test_bitcoinrpc_sends_batches(node: Served) -> None:
    proxy: Any = AuthServiceProxy(node.auth_url)
    hashes = proxy.batch_([["getblockhash", height] for height in range(50)])
    headers = proxy.batch_([["getblockheader", each] for each in hashes])
    assert [header["height"] for header in headers] == list(range(50))


def test_bitcoinrpc_raises_the_code_of_an_error(node: Served) -> None:
    proxy: Any = AuthServiceProxy(node.auth_url)
    calls: list[tuple[Callable[[], object], int]] = [
        (lambda: proxy.getblockhash(10**6), -8),
        (lambda: proxy.getblock("00" * 32), -5),
        (proxy.getwalletinfo, -32601),
        (lambda: proxy.sendrawtransaction("00"), -22),
        (lambda: proxy.batch_([["getblockcount"], ["getblockhash", -1]]), -8),
    ]
    for call, code in calls:
        with pytest.raises(JSONRPCException) as raised:
            call()
        assert raised.value.code == code


def test_bitcoinrpc_sends_what_it_read_from_the_mempool(node: Served) -> None:
    proxy: Any = AuthServiceProxy(node.auth_url)
    raw = proxy.getrawtransaction(node.names["child"])
    assert proxy.sendrawtransaction(raw) == node.names["child"]
    assert proxy.testmempoolaccept([raw])[0]["allowed"] is False


# python-bitcoinlib


def test_raw_proxy_of_bitcoinlib_reads_chain_and_mempool(node: Served) -> None:
    proxy = bitcoin.rpc.RawProxy(node.auth_url)
    assert proxy.getblockchaininfo()["chain"] == "regtest"
    assert set(proxy.getrawmempool()) == {node.names["parent"], node.names["child"]}
    entry = proxy.getmempoolentry(node.names["child"])
    assert entry["depends"] == [node.names["parent"]]
    assert isinstance(entry["fees"]["base"], Decimal)
    assert proxy.gettxout(node.names["mined"], 0) is None, "the mempool spends it"
    assert proxy.gettxout(node.names["mined"], 0, False)["value"] == PAID_COINS


def test_raw_proxy_of_bitcoinlib_raises_errors_by_code(node: Served) -> None:
    proxy = bitcoin.rpc.RawProxy(node.auth_url)
    with pytest.raises(bitcoin.rpc.JSONRPCError) as raised:
        proxy.getrawtransaction("11" * 32)
    assert raised.value.error["code"] == -5


def test_raw_proxy_of_bitcoinlib_finds_the_cookie_by_a_configuration(node: Served) -> None:
    # It looks into its `datadir`, as its networks have it: without a folder of its own on main.
    daemon = node.daemon
    conf = daemon.datadir.parent / "bitcoin.conf"
    conf.write_text(f"datadir={daemon.datadir}\nrpcconnect=127.0.0.1\nrpcport={daemon.rpc_port}\n")
    proxy = bitcoin.rpc.RawProxy(btc_conf_file=str(conf))
    assert proxy.getblockcount() == node.chain.tip.height


# bitcoin-core-rpc


@pytest.fixture
def client(node: Served) -> BitcoinCoreRpcClient:
    return BitcoinCoreRpcClient(node.daemon.url, cookie_path=node.daemon.datadir / ".cookie")


def test_bitcoin_core_rpc_knows_the_chain(client: BitcoinCoreRpcClient) -> None:
    client.assert_chain("regtest")


def test_bitcoin_core_rpc_calls_by_place_and_by_name(
    client: BitcoinCoreRpcClient, node: Served
) -> None:
    height = node.chain.tip.height
    assert client.call("getblockhash", [height]) == node.names["block"]
    block = client.call("getblock", {"blockhash": node.names["block"], "verbosity": 2})
    assert block["tx"][1]["vout"][0]["value"] == PAID_COINS
    rpc: Any = RpcChannel(client)
    assert rpc.getblock(blockhash=node.names["block"], verbose=False) == client.call(
        "getblock", [node.names["block"], 0]
    )


def test_bitcoin_core_rpc_batches_keep_each_error_in_its_place(
    client: BitcoinCoreRpcClient, node: Served
) -> None:
    answers = client.call_batch(
        [("getblockcount", None), ("getblockhash", [10**6]), ("nonsense", None), ("uptime", [])]
    )
    assert answers[0] == node.chain.tip.height
    failed = [each.code if isinstance(each, RpcError) else 0 for each in answers]
    assert failed == [0, -8, -32601, 0]


def test_bitcoin_core_rpc_calls_our_own_methods(client: BitcoinCoreRpcClient, node: Served) -> None:
    query = {"addresses": [node.names["address"]]}
    balance = client.call("getaddressbalance", [query])
    assert balance["balance"] == PAID
    assert balance["assets"][0]["asset"] == node.names["gold"]
    asset = client.call("getasset", {"asset": node.names["gold"]})
    assert (asset["ticker"], asset["supply"]) == ("GOLD", 5_000)


def test_bitcoin_core_rpc_may_name_a_wallet_in_the_path(
    client: BitcoinCoreRpcClient, node: Served
) -> None:
    assert client.for_wallet("hot").call("getblockcount") == node.chain.tip.height


def test_bitcoin_core_rpc_hears_a_wrong_password(node: Served) -> None:
    stranger = BitcoinCoreRpcClient(node.daemon.url, user="somebody", password="wrong")
    with pytest.raises(Exception, match="401"):
        stranger.call("getblockcount")
