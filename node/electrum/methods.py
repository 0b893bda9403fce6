"""Every method of the protocol, in one table, with what it answers.

Names, parameters and shapes are those of the Electrum protocol 1.4.2; docs/electrum.md says where an answer
means something else here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, NamedTuple

from consensus.errors import Violation
from consensus.hashes import Txid, to_text
from consensus.header_tree import HeaderNode
from node.electrum import history
from node.electrum.limits import HEADERS_MAX
from node.electrum.merkle import HeaderProofs, TxProof, TxProofs
from node.electrum.watch import Subscriber, Watch, show_header
from node.fees import TARGET_BLOCKS_MAX
from node.later import Later
from node.rpc import methods_tx
from node.rpc.errors import Code, RpcError
from node.rpc.json import Json, amount
from node.rpc.method import Method, Role, table
from node.rpc.params import INTEGER_MAX, Bounds, ScriptHash, Verbosity
from node.rpc.ports import Node

PROTOCOL_LEAST, PROTOCOL_MOST = (1, 4), (1, 4, 2)
_RATE_UNIT = 1_000
Height = Annotated[int, Bounds(0, 2**32 - 1)]
Count = Annotated[int, Bounds(0, INTEGER_MAX)]


class Service(NamedTuple):
    """What all clients ask."""

    node: Node
    watch: Watch
    header_proofs: HeaderProofs
    tx_proofs: TxProofs
    turns: asyncio.Semaphore
    """Held while a call is worked on."""


class Client(Subscriber):
    """The client that asks."""

    service: Service
    protocol: str = ""
    """The version that was agreed on; empty before."""


# Server


def version(client: Client, client_name: str = "", protocol_version: object = "1.4") -> Json:
    """Agree on a version of the protocol; the second time it is an error."""
    if client.protocol:
        raise RpcError(Code.INVALID_REQUEST, "server.version was sent already")
    asked = protocol_version if isinstance(protocol_version, list) else [protocol_version] * 2
    if len(asked) != 2:
        raise RpcError(Code.INVALID_PARAMS, "`protocol_version` is one, or the least and the most")
    least, most = _version_of(asked[0]), _version_of(asked[1])
    agreed = min(most, PROTOCOL_MOST)
    if agreed < max(least, PROTOCOL_LEAST):
        raise RpcError(Code.PARAMETER, "unsupported protocol version: 1.4 to 1.4.2 is spoken here")
    client.protocol = ".".join(map(str, agreed))
    return [_software(client), client.protocol]


def _version_of(text: object) -> tuple[int, ...]:
    parts = text.split(".") if isinstance(text, str) and len(text) < 20 else []
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        raise RpcError(Code.INVALID_PARAMS, "a version is written like 1.4")
    numbers = tuple(map(int, parts))
    return numbers if len(numbers) > 1 else (*numbers, 0)


def _software(client: Client) -> str:
    return f"tael {client.service.node.version}"


def ping(client: Client) -> Json:
    """Nothing, to show that both ends are there."""
    return None


def banner(client: Client) -> Json:
    """A line for people."""
    params = client.service.node.ledger.params
    return f"{_software(client)}, network {params.name.decode()}, {params.ticker.decode()}"


def donation_address(client: Client) -> Json:
    """None."""
    return ""


def features(client: Client) -> Json:
    """Which chain this is, and what is spoken."""
    return {
        "genesis_hash": to_text(client.service.node.ledger.chain_id),
        "hosts": {},
        "protocol_max": ".".join(map(str, PROTOCOL_MOST)),
        "protocol_min": ".".join(map(str, PROTOCOL_LEAST)),
        "pruning": None,
        "server_version": _software(client),
        "hash_function": "sha256",
    }


def peers(client: Client) -> Json:
    """Other servers: none are known, nor looked for."""
    return []


def add_peer(client: Client, features: object = None) -> Json:
    """Always false: this server gathers no others."""
    return False


# Headers


def _tip_at(client: Client, height: int) -> HeaderNode:
    tip = client.service.node.ledger.tip
    if height > tip.height:
        raise RpcError(Code.PARAMETER, f"height {height} is beyond the tip, {tip.height}")
    return tip.ancestor(height)


async def _proof(client: Client, height: int, cp_height: int) -> dict[str, Json]:
    if height > cp_height:
        raise RpcError(Code.PARAMETER, f"`cp_height` {cp_height} is below height {height}")
    end = _tip_at(client, cp_height)
    branch, root = await client.service.header_proofs.prove(end, height)
    return {"branch": [to_text(each) for each in branch], "root": to_text(root)}


async def block_header(client: Client, height: Height, cp_height: Height = 0) -> Json:
    """A header in hex; with `cp_height` an object, with a proof that it leads to that one."""
    shown = _tip_at(client, height).header.raw.hex()
    if not cp_height:
        return shown
    return {"header": shown} | await _proof(client, height, cp_height)


async def block_headers(
    client: Client, start_height: Height, count: Count, cp_height: Height = 0
) -> Json:
    """Up to 2 016 headers one behind the other in hex, perhaps with a proof of the last."""
    tip = client.service.node.ledger.tip
    count = max(0, min(count, HEADERS_MAX, tip.height + 1 - start_height))
    headers: list[bytes] = []
    node: HeaderNode | None = tip.ancestor(start_height + count - 1) if count else None
    while node is not None and len(headers) < count:
        headers.append(node.header.raw)
        node = node.parent
    shown: dict[str, Json] = {
        "hex": b"".join(reversed(headers)).hex(), "count": count, "max": HEADERS_MAX,
    }  # fmt: skip
    if count and cp_height:
        shown |= await _proof(client, start_height + count - 1, cp_height)
    return shown


def headers_subscribe(client: Client) -> Json:
    """The header of the tip, and then that of every new one."""
    return show_header(client.service.watch.subscribe_headers(client))


# Fees


def estimate_fee(
    client: Client, number: Annotated[int, Bounds(1, INTEGER_MAX)], mode: object = None
) -> Json:
    """Native coins per 1 000 cost, to be mined within so many blocks."""
    mempool = client.service.node.ledger.mempool
    return amount(mempool.estimate_fee_rate(min(number, TARGET_BLOCKS_MAX)))


def relay_fee(client: Client) -> Json:
    """Native coins per 1 000 cost that get into the mempool."""
    return amount(client.service.node.ledger.mempool.floor_rate)


def fee_histogram(client: Client) -> Json:
    """Base units for each one of cost, and the cost that waits at that rate; dearest first."""
    steps = reversed(client.service.node.ledger.mempool.waiting_costs())
    return [[Decimal(rate) / _RATE_UNIT, cost] for rate, cost in steps if cost]


# Script hashes


async def get_balance(client: Client, scripthash: ScriptHash) -> Json:
    """Base units of the native coin, confirmed and what the mempool adds or takes."""
    ledger = client.service.node.ledger
    lock = await client.service.watch.find(scripthash)
    await ledger.at_rest()
    return history.balance_of(ledger, lock) if lock else {"confirmed": 0, "unconfirmed": 0}


async def get_history(client: Client, scripthash: ScriptHash) -> Json:
    """Transactions that touch it, confirmed ones in the order of the chain, then the waiting ones."""
    lock = await client.service.watch.find(scripthash)
    return await history.history_of(client.service.node.ledger, lock) if lock else []


async def get_mempool(client: Client, scripthash: ScriptHash) -> Json:
    """The waiting transactions that touch it."""
    ledger = client.service.node.ledger
    lock = await client.service.watch.find(scripthash)
    await ledger.at_rest()
    return history.show_waiting(ledger, lock) if lock else []


async def list_unspent(client: Client, scripthash: ScriptHash) -> Json:
    """Native coins that no waiting transaction spends."""
    lock = await client.service.watch.find(scripthash)
    return await history.coins_of(client.service.node.ledger, lock) if lock else []


async def subscribe(client: Client, scripthash: ScriptHash) -> Json:
    """The status of a script hash, and then every other one that it gets."""
    return await client.service.watch.subscribe(client, scripthash)


def unsubscribe(client: Client, scripthash: ScriptHash) -> Json:
    """Whether it was watched until now."""
    return client.service.watch.unsubscribe(client, scripthash)


# Transactions


async def broadcast(client: Client, raw_tx: bytes) -> Json:
    """Put a transaction into the mempool and tell the peers; answers its hash."""
    try:
        sent = methods_tx.sendrawtransaction(client.service.node, raw_tx)
        answer = await sent if isinstance(sent, Later) else sent
    except Violation as violation:
        answer = violation
    if isinstance(answer, Violation):
        reason = f"the transaction was rejected by network rules.\n\n{answer}"
        raise RpcError(Code.REJECTED, reason)
    if isinstance(answer, Exception):
        raise answer
    return answer


async def get_transaction(
    client: Client, tx_hash: Txid, verbose: bool = False, merkle: bool = False
) -> Json:
    """A transaction in hex, or as getrawtransaction shows it; `merkle` changes nothing."""
    verbosity = Verbosity.BRIEF if verbose else Verbosity.HEX
    return await methods_tx.getrawtransaction(client.service.node, tx_hash, verbosity)


def _show_proof(proof: TxProof) -> dict[str, Json]:
    return {
        "merkle": [to_text(each) for each in proof.branch],
        "pos": proof.position,
        "leaf": to_text(proof.leaf),
        "tx_count": proof.tx_count,
    }


async def get_merkle(client: Client, tx_hash: Txid, height: Height) -> Json:
    """What leads from a transaction to the root in the header of its block (docs/electrum.md)."""
    found = client.service.node.ledger.read_tx(tx_hash)
    if found is None or found.node.height != height:
        raise RpcError(Code.ADDRESS_OR_KEY, f"no such transaction in the block at height {height}")
    proof = await client.service.tx_proofs.prove(found.node, found.position)
    return _show_proof(proof) | {"block_height": height}


async def id_from_pos(
    client: Client, height: Height, tx_pos: Count, merkle: bool = False
) -> Json:  # fmt: skip
    """The hash of the transaction at a place, perhaps with its proof."""
    proof = await client.service.tx_proofs.prove(_tip_at(client, height), tx_pos)
    txid = to_text(proof.txid)
    return {"tx_hash": txid} | _show_proof(proof) if merkle else txid


def _rows() -> Sequence[Method]:
    rows = (
        ("server.version", version),
        ("server.ping", ping),
        ("server.banner", banner),
        ("server.donation_address", donation_address),
        ("server.features", features),
        ("server.peers.subscribe", peers),
        ("server.add_peer", add_peer),
        ("blockchain.block.header", block_header),
        ("blockchain.block.headers", block_headers),
        ("blockchain.headers.subscribe", headers_subscribe),
        ("blockchain.estimatefee", estimate_fee),
        ("blockchain.relayfee", relay_fee),
        ("blockchain.scripthash.get_balance", get_balance),
        ("blockchain.scripthash.get_history", get_history),
        ("blockchain.scripthash.get_mempool", get_mempool),
        ("blockchain.scripthash.listunspent", list_unspent),
        ("blockchain.scripthash.subscribe", subscribe),
        ("blockchain.scripthash.unsubscribe", unsubscribe),
        ("blockchain.transaction.broadcast", broadcast),
        ("blockchain.transaction.get", get_transaction),
        ("blockchain.transaction.get_merkle", get_merkle),
        ("blockchain.transaction.id_from_pos", id_from_pos),
        ("mempool.get_fee_histogram", fee_histogram),
    )
    return [Method(name, function, Role.READ, name.split(".")[0]) for name, function in rows]


METHODS = table(_rows())
