"""Methods on blocks, transactions and the coin set, answered by a real ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.errors import Invalid
from consensus.hashes import AssetId, to_text
from consensus.inclusion import check_inclusion, decode_inclusion, encode_inclusion, prove_inclusion
from consensus.params import COIN
from consensus.tx import BURN_LOCK, NATIVE, TxOut, outpoint
from node.rpc.errors import Code
from node.rpc.kept import Kept
from node.rpc.shapes import cost_of_tx
from tests.node.rpc_kit import Bench, Failed, with_node
from tests.support.chain import ALICE, BOB, FEE, ToyChain, coins_made


def funded(coins: int = 1) -> ToyChain:
    """A chain on which Alice has mature coins."""
    chain = ToyChain()
    chain.fund(ALICE, coins)
    return chain


def test_the_state_of_the_chain_is_told_in_the_words_of_clients(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        info = await bench.call("getblockchaininfo")
        tip = bench.chain.tip
        assert info["chain"] == "regtest"
        assert (info["blocks"], info["headers"]) == (3, 3)
        assert info["bestblockhash"] == to_text(tip.hash)
        assert info["mediantime"] == tip.median_time()
        assert info["chainwork"] == f"{tip.work:064x}"
        assert (info["chainid"], info["hrp"]) == (to_text(bench.chain.chain_id), "rtael")
        assert (info["ticker"], info["pruned"]) == ("TAEL", False)
        assert info["initialblockdownload"] is False
        assert float(info["verificationprogress"]) == 1
        assert await bench.call("getblockcount") == 3
        assert await bench.call("getbestblockhash") == to_text(tip.hash)
        assert await bench.call("getblockhash", "3") == to_text(tip.hash)
        assert await bench.call("getindexinfo") == {
            name: {"synced": True, "best_block_height": 3} for name in ("txindex", "addressindex")
        }

    chain = ToyChain()
    chain.mine_empty(3)
    with_node(tmp_path, scenario, chain=chain)


def test_a_block_is_shown_in_hex_by_txids_or_whole(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        payment = bench.chain.pay(ALICE, BOB, COIN)
        block = await bench.mine(payment)
        name = to_text(block.header.hash)
        assert await bench.call("getblock", name, 0) == block.raw.hex()
        brief = await bench.call("getblock", name)
        assert brief["tx"] == [to_text(tx.txid) for tx in block.txs]
        assert (brief["height"], brief["nTx"], brief["confirmations"]) == (102, 2, 1)
        assert brief["merkleroot"] == to_text(block.header.root)
        assert brief["size"] == len(block.raw)
        assert "nextblockhash" not in brief
        whole = await bench.call("getblock", name, 2)
        coinbase, shown = whole["tx"]
        assert coinbase["vin"][0]["coinbase"]
        assert "fee" not in coinbase
        assert shown["fee"] == "0.00010000"
        assert shown["vin"][0]["prevout"]["value"] == "5.00000000"
        assert shown["vout"][0]["value"] == "1.00000000"
        assert shown["vout"][0]["scriptPubKey"]["address"] == BOB.address()
        assert shown["hex"] == payment.raw.hex()
        header = await bench.call("getblockheader", whole["previousblockhash"])
        assert header["nextblockhash"] == name
        assert await bench.call("getblockheader", name, "false") == block.header.raw.hex()

    with_node(tmp_path, scenario, chain=funded())


def test_a_block_shown_again_tells_what_has_changed_around_it(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        chain = bench.chain
        block = await bench.mine(chain.pay(ALICE, BOB, COIN))
        name = to_text(block.header.hash)
        first = await bench.call("getblock", name)
        assert await bench.call("getblock", name) == first
        whole = await bench.call("getblock", name, 2)
        assert await bench.call("getblock", name, 2) == whole
        assert [await bench.call("getblock", name, 0) for _ in "12"] == [block.raw.hex()] * 2
        full = whole["tx"]
        assert [tx["txid"] for tx in whole.pop("tx")] == first.pop("tx")
        assert whole == first
        after = await bench.mine()
        second = await bench.call("getblock", name)
        assert second["tx"] == [to_text(tx.txid) for tx in block.txs]
        assert second["confirmations"] == first["confirmations"] + 1
        assert second["nextblockhash"] == to_text(after.header.hash)
        chain.disconnect()
        chain.disconnect()
        for _ in range(3):
            await bench.mine()
        left = await bench.call("getblock", name)
        assert left["confirmations"] == -1
        assert "nextblockhash" not in left
        assert left["tx"] == second["tx"]
        whole = await bench.call("getblock", name, 2)
        assert (whole["tx"], whole["confirmations"]) == (full, -1)
        inside = await bench.call("getrawtransaction", left["tx"][1], 1, name)
        assert (inside["in_active_chain"], inside["confirmations"]) == (False, 0)

    with_node(tmp_path, scenario, chain=funded())


def test_the_cost_of_a_block_is_that_of_its_transactions(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        block = await bench.mine(bench.chain.pay(ALICE, BOB, COIN))
        shown = await bench.call("getblock", to_text(block.header.hash), 1)
        assert shown["cost"] == sum(cost_of_tx(tx) for tx in block.txs)
        assert shown["weight"] == 4 * shown["cost"]

    with_node(tmp_path, scenario, chain=funded())


def test_what_is_kept_has_a_size_and_the_longest_unused_goes_first() -> None:
    kept: Kept[str, int] = Kept(100)
    for key, size in (("a", 40), ("b", 40), ("a", 40)):
        kept.add(key, 1, size)
    assert kept.get("a") == 1
    kept.add("c", 3, 40)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    kept.add("d", 4, 101)
    assert [kept.get(key) for key in "acd"] == [1, 3, None]
    kept.add("e", 5, 100)
    assert [kept.get(key) for key in "ace"] == [None, None, 5]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("getblockhash", 4), Code.PARAMETER),
        (("getblockhash", -1), Code.PARAMETER),
        (("getblockhash", "x"), Code.INVALID_PARAMS),
        (("getblock", "00" * 32), Code.ADDRESS_OR_KEY),
        (("getblockheader", "00"), Code.PARAMETER),
        (("getblockstats", 4), Code.PARAMETER),
        (("getblockstats", "x"), Code.PARAMETER),
        (("getblockstats", 1, ["nothing"]), Code.PARAMETER),
        (("getrawtransaction", "00" * 32), Code.ADDRESS_OR_KEY),
        (("getmempoolentry", "00" * 32), Code.ADDRESS_OR_KEY),
        (("getmempoolancestors", "00" * 32), Code.ADDRESS_OR_KEY),
        (("decoderawtransaction", "00"), Code.DESERIALIZATION),
        (("sendrawtransaction", "xx"), Code.DESERIALIZATION),
        (("sendrawtransaction", "92"), Code.DESERIALIZATION),
        (("testmempoolaccept", []), Code.PARAMETER),
        (("testmempoolaccept", ["00"] * 26), Code.PARAMETER),
        (("getrawmempool", True, True), Code.PARAMETER),
        (("estimatesmartfee", 0), Code.PARAMETER),
        (("getasset", "00" * 32), Code.ADDRESS_OR_KEY),
        (("help", "nothing"), Code.METHOD_NOT_FOUND),
        (("nothing",), Code.METHOD_NOT_FOUND),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_an_error_with_a_code(
    tmp_path: Path, call: tuple[object, ...], code: Code
) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.code(str(call[0]), *call[1:]) == code

    chain = ToyChain()
    chain.mine_empty(3)
    with_node(tmp_path, scenario, chain=chain)


def test_a_header_without_its_block_is_shown_and_the_block_is_not_available(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        header = bench.chain.template().header
        bench.ledger.add_headers([header])
        shown = await bench.call("getblockheader", to_text(header.hash))
        assert (shown["confirmations"], shown["nTx"]) == (-1, 0)
        for verbosity in (0, 1, 2):
            name = to_text(header.hash)
            assert await bench.code("getblock", name, verbosity) == Code.MISC
        assert (await bench.call("getblockchaininfo"))["headers"] == 1

    with_node(tmp_path, scenario)


def test_tips_tell_the_branch_that_was_left_from_the_one_never_taken(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        chain = bench.chain
        base = chain.tip
        left = await bench.mine()
        chain.disconnect()
        other = chain.template(parent=base)
        await bench.ledger.submit_block(other.raw)
        header = chain.template(parent=base).header
        bench.ledger.add_headers([header])
        status = {tip["hash"]: tip for tip in await bench.call("getchaintips")}
        assert status[to_text(left.header.hash)]["status"] == "active"
        assert status[to_text(other.header.hash)]["status"] == "valid-headers"
        assert status[to_text(other.header.hash)]["branchlen"] == 1
        assert status[to_text(header.hash)]["status"] == "headers-only"
        chain.connect(other.raw)
        await bench.mine()
        status = {tip["hash"]: tip for tip in await bench.call("getchaintips")}
        assert status[to_text(left.header.hash)]["status"] == "valid-fork"
        invalid = chain.template(reward=10**12)
        with pytest.raises(Invalid, match="coinbase-amount"):
            await bench.ledger.submit_block(invalid.raw)
        status = {tip["hash"]: tip for tip in await bench.call("getchaintips")}
        assert status[to_text(invalid.header.hash)]["status"] == "invalid"

    with_node(tmp_path, scenario)


def test_statistics_of_a_block_add_up(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        chain = bench.chain
        first = chain.pay(ALICE, BOB, COIN)
        spent = chain.coins_of(ALICE)[1]
        second = chain.spend([spent], [TxOut(NATIVE, 5 * COIN - 50_000, BOB.lock)])
        block = await bench.mine(first, second)
        stats = await bench.call("getblockstats", 103)
        assert stats == await bench.call("getblockstats", to_text(block.header.hash))
        assert await bench.code("getblockstats", 103, ["nothing"]) == Code.PARAMETER
        assert (stats["txs"], stats["ins"], stats["outs"]) == (3, 2, 4)
        assert (stats["totalfee"], stats["minfee"], stats["maxfee"]) == (60_000, FEE, 50_000)
        assert stats["total_out"] == 10 * COIN - 60_000
        assert stats["subsidy"] == 5 * COIN
        assert stats["utxo_increase"] == 2
        assert await bench.call("getblockstats", "103", ["height"]) == {"height": 103}

    with_node(tmp_path, scenario, chain=funded(2))


def test_a_transaction_is_found_while_it_waits_and_when_it_is_mined(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        tx = bench.chain.pay(ALICE, BOB, COIN)
        txid = to_text(tx.txid)
        assert await bench.call("sendrawtransaction", tx.raw.hex()) == txid
        assert await bench.call("sendrawtransaction", tx.raw.hex()) == txid
        waiting = await bench.call("getrawtransaction", txid, 1)
        assert (waiting["txid"], waiting["hash"]) == (txid, to_text(tx.wtxid))
        assert "confirmations" not in waiting
        assert "blockhash" not in waiting
        assert (await bench.call("getrawtransaction", txid, 2))["fee"] == "0.00010000"
        block = await bench.mine(tx)
        await bench.mine()
        assert await bench.call("getrawtransaction", txid) == tx.raw.hex()
        mined = await bench.call("getrawtransaction", txid, True)
        assert (mined["confirmations"], mined["blockhash"]) == (2, to_text(block.header.hash))
        assert mined["time"] == mined["blocktime"] == block.header.time
        assert (mined["size"], mined["vsize"], mined["weight"]) == (len(tx.raw), 340, 1_360)
        inside = await bench.call("getrawtransaction", txid, 2, mined["blockhash"])
        assert (inside["fee"], inside["in_active_chain"]) == ("0.00010000", True)
        code = await bench.code("getrawtransaction", "11" * 32, 1, mined["blockhash"])
        assert code == Code.ADDRESS_OR_KEY
        assert await bench.code("sendrawtransaction", tx.raw.hex()) == Code.ALREADY_CONFIRMED

    with_node(tmp_path, scenario, chain=funded())


def test_named_parameters_and_other_names_for_them_are_understood(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        name = await bench.call("getbestblockhash")
        assert await bench.call("getblock", verbose=False, blockhash=name)
        assert (await bench.call("getblock", blockhash=name, verbosity=1))["hash"] == name
        assert await bench.code("getblock", blockhash=name, verbos=1) == Code.INVALID_PARAMS

    with_node(tmp_path, scenario)


def test_refusals_name_the_rule(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        chain = bench.chain
        tx = chain.pay(ALICE, BOB, COIN)
        cheap = chain.pay(ALICE, BOB, COIN, fee=10)
        dear = chain.pay(ALICE, BOB, COIN, fee=COIN)
        orphan = chain.spend(
            [chain.coins_of(ALICE)[0]], [TxOut(NATIVE, COIN, BOB.lock)],
        )  # fmt: skip
        stolen = chain.spend([chain.coins_of(ALICE)[0]], [TxOut(NATIVE, 5 * COIN - FEE, BURN_LOCK)])
        tests = [tx, cheap, dear, stolen]
        answers = await bench.call("testmempoolaccept", [each.raw.hex() for each in tests])
        assert [each["allowed"] for each in answers] == [True, False, False, True]
        assert answers[0]["fees"]["base"] == "0.00010000"
        assert answers[1]["reject-reason"] == "fee-too-low"
        assert answers[2]["reject-reason"] == "fee-absurd"
        assert (await bench.call("testmempoolaccept", ["00"]))[0]["reject-reason"] == "malformed"
        assert await bench.call("testmempoolaccept", [dear.raw.hex()], 0) != answers[2:3]
        assert await bench.call("getrawmempool") == []
        with pytest.raises(Failed) as refused:
            await bench.call("sendrawtransaction", cheap.raw.hex())
        assert refused.value.code == Code.REJECTED
        assert refused.value.message.startswith("fee-too-low: ")
        await bench.mine(tx)
        with pytest.raises(Failed) as missing:
            await bench.call("sendrawtransaction", orphan.raw.hex(), 0)
        assert missing.value.code == Code.VERIFY
        assert missing.value.message.startswith("coin-missing")

    with_node(tmp_path, scenario, chain=funded())


def test_decoding_tells_locks_in_words_and_keeps_assets_out_of_value(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        outputs = [
            TxOut(NATIVE, 7, BURN_LOCK),
            TxOut(NATIVE, 1, BOB.lock, b"hi"),
            TxOut(AssetId(b"\x01" * 32), 1_000, BOB.lock),
        ]
        tx = bench.chain.spend([bench.chain.coins_of(ALICE)[0]], outputs, expiry=500)
        shown = await bench.call("decoderawtransaction", tx.raw.hex())
        assert shown["expiry"] == 500
        assert shown["vin"][0]["lock"] == f"key {ALICE.pubkey.hex()}"
        burn, native, asset = shown["vout"]
        assert (burn["value"], burn["scriptPubKey"]["type"]) == ("0.00000007", "burn")
        assert "address" not in burn["scriptPubKey"]
        assert (native["memo"], native["value"]) == (b"hi".hex(), "0.00000001")
        assert (asset["value"], asset["assetamount"]) == ("0.00000000", 1_000)
        assert asset["asset"] == "01" * 32
        assert all(isinstance(each["scriptPubKey"]["asm"], str) for each in shown["vout"])

    with_node(tmp_path, scenario, chain=funded())


def test_an_output_is_unspent_until_the_mempool_or_a_block_spends_it(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        chain = bench.chain
        tx = chain.pay(ALICE, BOB, COIN)
        old = to_text(tx.body.inputs[0][:32])
        shown = await bench.call("gettxout", old, 0)
        assert (shown["value"], shown["coinbase"]) == ("5.00000000", True)
        assert shown["confirmations"] == 101
        new = bench.send(tx)
        assert await bench.call("gettxout", old, 0) is None
        assert await bench.call("gettxout", old, 0, False) is not None
        assert (await bench.call("gettxout", new, 0))["confirmations"] == 0
        assert await bench.call("gettxout", new, 0, False) is None
        await bench.mine(tx)
        assert await bench.call("gettxout", old, 0, "false") is None
        assert (await bench.call("gettxout", new, 0))["confirmations"] == 1
        assert await bench.call("gettxout", new, 9) is None

    with_node(tmp_path, scenario, chain=funded())


def test_the_coin_set_is_summed_up_by_asset(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        info = await bench.call("gettxoutsetinfo")
        assert (info["height"], info["txouts"]) == (3, 3)
        assert info["total_amount"] == "15.00000000"
        assert info["supply"] == [{"asset": "", "supply": 15 * COIN}]
        assert len(info["coinset"]) == 64
        assert await bench.call("gettxoutsetinfo") == info
        await bench.mine()
        assert (await bench.call("gettxoutsetinfo"))["coinset"] != info["coinset"]

    chain = ToyChain()
    chain.mine_empty(3)
    with_node(tmp_path, scenario, chain=chain)


def test_the_mempool_shows_what_waits_and_how_it_hangs_together(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        chain = bench.chain
        parent = chain.pay(ALICE, BOB, COIN)
        first = bench.send(parent)
        child = chain.spend(
            [outpoint(parent.txid, 0)],
            [TxOut(NATIVE, COIN - FEE, ALICE.lock)],
            extra_coins=coins_made(parent, 102),
        )
        second = bench.send(child)
        assert await bench.call("getrawmempool") == [first, second]
        verbose = await bench.call("getrawmempool", "true")
        assert verbose == {t: await bench.call("getmempoolentry", t) for t in (first, second)}
        entry = await bench.call("getmempoolentry", second)
        assert (entry["depends"], entry["spentby"]) == ([first], [])
        assert (entry["ancestorcount"], entry["descendantcount"]) == (2, 1)
        assert entry["fees"]["ancestor"] == "0.00020000"
        assert await bench.call("getmempoolancestors", second) == [first]
        assert list(await bench.call("getmempooldescendants", first, True)) == [second]
        info = await bench.call("getmempoolinfo")
        assert (info["size"], info["total_fee"]) == (2, "0.00020000")
        assert info["mempoolminfee"] == "0.00001000"
        sequence = await bench.call("getrawmempool", False, True)
        assert sequence["txids"] == [first, second]
        estimate = await bench.call("estimatesmartfee", "6", "CONSERVATIVE")
        assert estimate == {"feerate": "0.00001000", "blocks": 6}

    with_node(tmp_path, scenario, chain=funded())


def test_proof_of_a_transaction_holds_and_one_of_a_block_that_is_gone_does_not(
    tmp_path: Path,
) -> None:
    async def scenario(bench: Bench) -> None:
        payment = bench.chain.pay(ALICE, BOB, COIN)
        block = await bench.mine(payment)
        name = to_text(payment.txid)
        proof = await bench.call("gettxoutproof", [name])
        assert await bench.call("gettxoutproof", [name], to_text(block.header.hash)) == proof
        assert await bench.call("verifytxoutproof", proof) == [name]
        included = check_inclusion(decode_inclusion(bytes.fromhex(proof)))
        assert (included.txid, included.height) == (payment.txid, bench.chain.tip.height)
        for params, code in (
            (([],), Code.PARAMETER),
            (([name, name],), Code.PARAMETER),
            ((["00" * 32],), Code.ADDRESS_OR_KEY),
            ((["00" * 32], to_text(block.header.hash)), Code.ADDRESS_OR_KEY),
            (([name], "00" * 32), Code.ADDRESS_OR_KEY),
        ):
            with pytest.raises(Failed) as caught:
                await bench.call("gettxoutproof", *params)
            assert caught.value.code == code
        stranger = ToyChain()
        other = stranger.mine()
        foreign = encode_inclusion(prove_inclusion(other.header, other.txs, 0)).hex()
        for text, code in (
            (foreign, Code.ADDRESS_OR_KEY),
            ("00", Code.DESERIALIZATION),
            (proof.replace(block.header.root.hex(), "00" * 32), Code.REJECTED),
        ):
            with pytest.raises(Failed) as caught:
                await bench.call("verifytxoutproof", text)
            assert caught.value.code == code

    with_node(tmp_path, scenario, chain=funded())
