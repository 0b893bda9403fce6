"""A node for tests of clients: the JSON-RPC methods that a wallet calls, answered from a ToyChain.

It listens on a real socket of this machine. Its mempool keeps the rules of the ledger, a least fee
and replacement by fee; everything else is as simple as can be.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from consensus.address import decode_address, encode_address
from consensus.asset import authority_id
from consensus.block import Block
from consensus.errors import Invalid, Missing, Refused, Rule, Violation
from consensus.hashes import AssetId, LockHash, Txid, from_text, to_text
from consensus.header_tree import HeaderNode
from consensus.keys import are_signed
from consensus.params import COIN, COINBASE_MATURITY
from consensus.tx import BURN_LOCK, NATIVE, Coin, OutPoint, Tx, TxOut, decode_tx
from consensus.tx_rules import check_spend, check_tx
from tests.support.chain import DAVE, ToyChain, coins_made

USER, PASSWORD = "__cookie__", "toy"
PAGE = 7
"""Entries of one page: few, so that tests turn pages."""


class RpcFault(Exception):
    """An error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ToyNode:
    """A chain, a mempool, and the methods."""

    def __init__(self, chain: ToyChain) -> None:
        self.chain = chain
        self.hrp = chain.params.hrp.decode()
        self.mempool: dict[Txid, tuple[Tx, tuple[Coin, ...], int]] = {}
        self.calls: list[str] = []
        self.faults: dict[str, RpcFault] = {}
        """Methods that answer with an error instead."""
        self.silent: set[str] = set()
        """Methods that act and then break the connection."""
        self.overrides: dict[str, Any] = {}
        """Methods whose answer is replaced."""

    # The mempool

    def _coin(self, spent: OutPoint) -> Coin | None:
        parent = self.mempool.get(Txid(spent[:32]))
        if parent is not None:
            return coins_made(parent[0], self.chain.tip.height + 1).get(spent)
        return self.chain.coins.get(spent)

    def _descendants(self, txid: Txid) -> set[Txid]:
        gone = {txid}
        for other, (tx, _, _) in self.mempool.items():
            if any(spent[:32] in gone for spent in tx.body.inputs):
                gone.add(other)
        return gone

    def _check(self, tx: Tx, rate_max: int = 0) -> tuple[tuple[Coin, ...], int, set[Txid]]:
        if tx.txid in self.mempool:
            raise Refused(Rule.ALREADY_IN_MEMPOOL)
        checked = check_tx(tx)
        coins = [self._coin(spent) for spent in tx.body.inputs]
        spend = check_spend(checked, coins, self.chain.supply, self.chain.context())
        if spend.fee < checked.cost:
            raise Refused(Rule.FEE_TOO_LOW, spend.fee, checked.cost)
        if rate_max and spend.fee > (most := rate_max * checked.cost // 1_000):
            raise Refused(Rule.FEE_ABSURD, spend.fee, most)
        gone: set[Txid] = set()
        for other, (waiting, _, _) in list(self.mempool.items()):
            if set(waiting.body.inputs) & set(tx.body.inputs):
                gone |= self._descendants(other)
        least = sum(self.mempool[txid][2] for txid in gone) + checked.cost
        if gone and spend.fee < least:
            raise Refused(Rule.REPLACEMENT_FEE, spend.fee, least)
        if not are_signed(spend.checks):  # last, as the real one does
            raise Invalid(Rule.BAD_SIGNATURE)
        return tuple(coin for coin in coins if coin), spend.fee, gone

    def submit(self, tx: Tx, rate_max: int = 0) -> None:
        """Take a transaction into the mempool. Raises: Violation."""
        coins, fee, gone = self._check(tx, rate_max)
        for txid in gone:
            del self.mempool[txid]
        self.mempool[tx.txid] = (tx, coins, fee)

    def mine(self, count: int = 1, payout: LockHash = DAVE.lock) -> None:
        """Mine the mempool into a block, and empty blocks after it."""
        self.chain.mine([tx for tx, _, _ in self.mempool.values()], payout)
        self.mempool.clear()
        self.chain.mine_empty(count - 1, payout)

    # The methods

    def _locks(self, query: dict[str, Any]) -> dict[LockHash, str]:
        if not 1 <= len(query["addresses"]) <= 100:
            raise RpcFault(-8, "addresses must hold 1 to 100 addresses")
        return {decode_address(self.hrp, text): text for text in query["addresses"]}

    def _blocks(self) -> Iterator[tuple[int, Block]]:
        nodes = []
        node: HeaderNode | None = self.chain.tip
        while node is not None:
            nodes.append(node)
            node = node.parent
        for entry in reversed(nodes):
            yield entry.height, self.chain.blocks[entry.hash]

    def getblockchaininfo(self) -> Any:
        tip = self.chain.tip
        return {
            "chain": self.chain.params.name.decode(), "chainid": to_text(self.chain.chain_id),
            "hrp": self.hrp, "ticker": self.chain.params.ticker.decode(),
            "blocks": tip.height, "headers": tip.height, "bestblockhash": to_text(tip.hash),
            "mediantime": tip.median_time(), "initialblockdownload": False,
        }  # fmt: skip

    def getaddressutxos(self, query: dict[str, Any]) -> Any:
        locks = self._locks(query)
        found = sorted(
            (spent, coin) for spent, coin in self.chain.coins.items() if coin.lock in locks
        )
        start = int(query.get("cursor") or 0)
        rows = [
            {
                "address": locks[coin.lock], "txid": to_text(spent[:32]),
                "outputIndex": int.from_bytes(spent[32:], "big"), "asset": to_text(coin.asset),
                "satoshis": coin.amount, "height": coin.height, "delayed": coin.delayed,
                "mature_height": coin.height + (COINBASE_MATURITY if coin.delayed else 0),
            }
            for spent, coin in found[start : start + PAGE]
        ]  # fmt: skip
        cursor = str(start + PAGE) if start + PAGE < len(found) else None
        return {"utxos": rows, "cursor": cursor, "height": self.chain.tip.height,
                "hash": to_text(self.chain.tip.hash)}  # fmt: skip

    def getaddressmempool(self, query: dict[str, Any]) -> Any:
        locks = self._locks(query)
        rows = []
        for tx, coins, _ in self.mempool.values():
            txid = to_text(tx.txid)
            for index, (spent, coin) in enumerate(zip(tx.body.inputs, coins, strict=True)):
                if coin.lock in locks:
                    rows.append(
                        {"address": locks[coin.lock], "txid": txid, "index": index,
                         "asset": to_text(coin.asset), "satoshis": -coin.amount, "timestamp": 1,
                         "prevtxid": to_text(spent[:32]),
                         "prevout": int.from_bytes(spent[32:], "big")}
                    )  # fmt: skip
            for index, output in enumerate(tx.body.outputs):
                if output.lock in locks:
                    rows.append(
                        {"address": locks[output.lock], "txid": txid, "index": index,
                         "asset": to_text(output.asset), "satoshis": output.amount,
                         "timestamp": 1}
                    )  # fmt: skip
        if "limit" not in query:
            return rows
        start = int(query.get("cursor") or 0)
        cursor = str(start + PAGE) if start + PAGE < len(rows) else None
        return {"entries": rows[start : start + PAGE], "cursor": cursor}

    def _deltas(self, locks: dict[LockHash, str]) -> list[dict[str, Any]]:
        rows = []
        for height, block in self._blocks():
            undo: Sequence[Sequence[Coin]] = ((), *self.chain.undo[block.header.hash])
            for position, (tx, coins) in enumerate(zip(block.txs, undo, strict=False)):
                sums: defaultdict[tuple[bytes, bytes], list[int]] = defaultdict(lambda: [0, 0])
                for coin in coins:
                    sums[coin.lock, coin.asset][1] += coin.amount
                for output in tx.body.outputs:
                    sums[output.lock, output.asset][0] += output.amount
                rows += [
                    {"address": locks[LockHash(lock)], "txid": to_text(tx.txid), "height": height,
                     "blockindex": position, "asset": to_text(asset), "received": received,
                     "spent": spent, "satoshis": received - spent}
                    for (lock, asset), (received, spent) in sums.items() if lock in locks
                ]  # fmt: skip
        return rows

    def getaddressdeltas(self, query: dict[str, Any]) -> Any:
        rows = self._deltas(self._locks(query))
        start = int(query.get("cursor") or 0)
        cursor = str(start + PAGE) if start + PAGE < len(rows) else None
        return {"deltas": rows[start : start + PAGE], "cursor": cursor}

    def getaddressbalance(self, query: dict[str, Any]) -> Any:
        totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in self._deltas(self._locks(query)):
            totals[row["asset"]][0] += row["satoshis"]
            totals[row["asset"]][1] += row["received"]
        for row in self.getaddressmempool({"addresses": query["addresses"]}):
            totals[row["asset"]][2] += row["satoshis"]
        native = totals.pop("", [0, 0, 0])
        return {
            "balance": native[0], "received": native[1], "unconfirmed": native[2], "immature": 0,
            "assets": [
                {"asset": asset, "ticker": "", "decimals": 0, "balance": b, "received": r,
                 "unconfirmed": u} for asset, (b, r, u) in totals.items()
            ],
            "height": self.chain.tip.height, "bestblock": to_text(self.chain.tip.hash),
        }  # fmt: skip

    def getrawtransaction(self, text: str, verbosity: int = 0) -> Any:
        txid = from_text(text)
        waiting = self.mempool.get(Txid(txid))
        if waiting is not None:
            return _shown(waiting[0], verbosity, {})
        for height, block in self._blocks():
            for tx in block.txs:
                if tx.txid == txid:
                    depth = self.chain.tip.height - height + 1
                    place = {"blockhash": to_text(block.header.hash), "confirmations": depth,
                             "blocktime": block.header.time}  # fmt: skip
                    return _shown(tx, verbosity, place)
        raise RpcFault(-5, "No such mempool or blockchain transaction")

    def getindexinfo(self) -> Any:
        state = {"synced": True, "best_block_height": self.chain.tip.height}
        return {"txindex": state, "addressindex": state}

    def getblockhash(self, height: int) -> Any:
        found = next((block for at, block in self._blocks() if at == height), None)
        if found is None:
            raise RpcFault(-8, "Block height out of range")
        return to_text(found.header.hash)

    def getblockheader(self, text: str) -> Any:
        for height, block in self._blocks():
            if to_text(block.header.hash) == text:
                return {"hash": text, "height": height, "time": block.header.time}
        raise RpcFault(-5, "Block not found")

    def _decode(self, text: str) -> Tx:
        return decode_tx(bytes.fromhex(text), 100_000)

    def sendrawtransaction(self, text: str, maxfeerate: str = "0.1") -> Any:
        tx = self._decode(text)
        if tx.txid in self.mempool:
            return to_text(tx.txid)
        try:
            self.submit(tx, int(Decimal(maxfeerate) * COIN))
        except Missing as error:
            raise RpcFault(-25, str(error)) from None
        except Violation as error:
            raise RpcFault(-26, str(error)) from None
        return to_text(tx.txid)

    def testmempoolaccept(self, texts: list[str], maxfeerate: str = "0.1") -> Any:
        answers = []
        for text in texts:
            tx = self._decode(text)
            answer: dict[str, Any] = {"txid": to_text(tx.txid), "allowed": True}
            try:
                self._check(tx, int(Decimal(maxfeerate) * COIN))
            except Violation as error:
                answer |= {"allowed": False, "reject-reason": str(error.rule),
                           "reject-details": str(error)}  # fmt: skip
            answers.append(answer)
        return answers

    def estimatesmartfee(self, blocks: int) -> Any:
        return {"errors": ["Insufficient data or no feerate found"], "blocks": blocks}

    def getasset(self, text: str) -> Any:
        asset = AssetId(from_text(text))
        record = self.chain.records.get(asset)
        if record is None:
            raise RpcFault(-5, "no such asset")
        shown: dict[str, Any] = {
            "asset": text, "height": record.height, "issued": record.issued,
            "destroyed": record.destroyed, "supply": record.supply,
        }  # fmt: skip
        definition = record.definition
        if definition is None:
            return shown | {"authority_of": to_text(record.authority_of)}
        return shown | {
            "ticker": definition.ticker.decode(), "name": definition.name.decode(),
            "decimals": definition.decimals, "terms": definition.terms.hex(),
            "reissuable": definition.reissuable,
            "authority_supply": self.chain.supply(authority_id(asset)),
            "outpoint": f"{to_text(record.outpoint[:32])}:"
                        f"{int.from_bytes(record.outpoint[32:], 'big')}",
        }  # fmt: skip

    def balance_of(self, address: str, asset: AssetId = NATIVE) -> int:
        """Base units in blocks under an address."""
        lock = decode_address(self.hrp, address)
        coins = self.chain.coins.values()
        return sum(coin.amount for coin in coins if (coin.lock, coin.asset) == (lock, asset))

    def answer(self, method: str, params: Sequence[Any]) -> Any:
        """Raises: RpcFault."""
        self.calls.append(method)
        if method in self.faults:
            raise self.faults[method]
        if method not in METHODS:
            raise RpcFault(-32601, f"Method not found: {method}")
        found: Callable[..., Any] = getattr(self, method)
        result = found(*params)
        return self.overrides.get(method, result)


def _shown(tx: Tx, verbosity: int, place: dict[str, Any]) -> Any:
    return {"txid": to_text(tx.txid), "hex": tx.raw.hex(), **place} if verbosity else tx.raw.hex()


METHODS = frozenset(
    {
        "getblockchaininfo", "getaddressutxos", "getaddressmempool", "getaddressdeltas",
        "getaddressbalance", "getrawtransaction", "sendrawtransaction", "testmempoolaccept",
        "estimatesmartfee", "getasset", "getblockhash", "getblockheader", "getindexinfo",
    }
)  # fmt: skip


def _handler_of(node: ToyNode) -> type[BaseHTTPRequestHandler]:
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # one packet per answer, else the next waits for an acknowledgement

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Authorization") != f"Basic {token}":
                self._reply(401, b"")
                return
            question = json.loads(body)
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": question["id"]}
            with lock:
                try:
                    answer["result"] = node.answer(question["method"], question["params"])
                except RpcFault as fault:
                    answer["error"] = {"code": fault.code, "message": fault.message}
            if question["method"] in node.silent:
                self.close_connection = True
                self.connection.close()
                return
            self._reply(200, json.dumps(answer).encode())

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Tests read what the client says, not this."""

    return Handler


@contextmanager
def serve(node: ToyNode, datadir: Path) -> Iterator[str]:
    """Serve `node` on this machine; yields the URL. The cookie lies in `datadir`."""
    datadir.mkdir(parents=True, exist_ok=True)
    (datadir / ".cookie").write_text(f"{USER}:{PASSWORD}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(node))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pay_from(node: ToyNode, address: str, amount: int, asset: AssetId = NATIVE) -> Tx:
    """Put a payment of DAVE to `address` into the mempool."""
    lock = decode_address(node.hrp, address)
    assert lock != BURN_LOCK
    tx = _payment(node, lock, amount, asset)
    node.submit(tx)
    return tx


def _payment(node: ToyNode, lock: LockHash, amount: int, asset: AssetId) -> Tx:
    busy = {spent for tx, _, _ in node.mempool.values() for spent in tx.body.inputs}
    chain = node.chain
    free = [s for s in chain.coins_of(DAVE, asset) if s not in busy]
    spent = next(s for s in free if chain.coins[s].amount >= amount + 1_000)
    change = chain.coins[spent].amount - amount - 1_000
    outputs = [TxOut(asset, amount, lock), TxOut(asset, change, DAVE.lock)]
    return chain.spend([spent], outputs)


def address_text(node: ToyNode, lock: LockHash) -> str:
    """The address of a lock on the node's network."""
    return encode_address(node.hrp, lock)
