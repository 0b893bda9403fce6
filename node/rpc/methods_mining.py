"""Methods: what is to be mined, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from consensus.address import AddressError, decode_address
from consensus.block import HEADER_BYTES, decode_header
from consensus.errors import DecodeError, Violation
from consensus.hashes import LockHash, to_text
from consensus.header_tree import HeaderNode, Status
from consensus.params import BLOCK_BYTES_MAX, BLOCK_COST_MAX
from consensus.tx import BURN_LOCK, EXTRANONCE_BYTES
from node.chain import BLOCK_PREFIX
from node.mempool_entry import Entry
from node.miner import MiningError, generate
from node.rpc import json
from node.rpc.described import Hash, Shown
from node.rpc.errors import Code, RpcError
from node.rpc.json import Json
from node.rpc.methods_chain import chain_name, find_height
from node.rpc.params import Bounds
from node.rpc.ports import Node
from node.rpc.results.mining import BlockTemplate, MiningInfo, StratumInfo, StratumWorker
from node.rpc.shapes import WEIGHT_PER_COST, difficulty
from node.stratum.messages import Refusal
from node.template import Choice, Template

GENERATED_MAX = 1_000
HASH_RATE_BLOCKS_MAX = 100_000


def getmininginfo(node: Node) -> MiningInfo:
    """Height, difficulty and estimated hash rate of the network, and how much waits."""
    tip = node.ledger.tip
    return {
        "blocks": tip.height,
        "bits": f"{tip.header.bits:08x}",
        "difficulty": difficulty(tip.header.bits),
        "networkhashps": _hash_rate(node, tip, 120),
        "pooledtx": len(node.ledger.mempool),
        "chain": chain_name(node.ledger.params),
        "warnings": "",
    }


def getnetworkhashps(
    node: Node,
    nblocks: Annotated[int, Bounds(-1, HASH_RATE_BLOCKS_MAX)] = 120,
    height: Annotated[int, Bounds(-1, 2**32 - 1)] = -1,
) -> float:
    """Estimated hashes a second, from the work and the times of `nblocks` blocks.

    The last of them is at `height`, −1 for the tip. `nblocks` of 0 or −1 takes 120.
    """
    last = node.ledger.tip if height < 0 else find_height(node, height)
    return _hash_rate(node, last, nblocks if nblocks > 0 else 120)


def _hash_rate(node: Node, last: HeaderNode, blocks: int) -> float:
    first = last.ancestor(max(0, last.height - blocks))
    seconds = last.header.time - first.header.time
    return (last.work - first.work) / seconds if seconds > 0 else 0.0


def getblocktemplate(
    node: Node, template_request: Mapping[str, object] | None = None
) -> Annotated[json.Written, Shown(BlockTemplate)]:
    """What the next block may hold, for a program that mines (BIP22).

    A block is `[header, [coinbase, transactions…]]`, and the header's root is
    SHA256d(SHA256d(coinbase) + R), where R is `othersroot`: one Merkle branch of one step. With
    `address` in the request, `coinbasetxn` is a whole coinbase that pays `coinbasevalue` to it; its
    last 8 bytes are the extranonce, free to choose. `depends` counts transactions from 1. Limits are
    in cost, and `weight` is four times the cost.
    """
    request = template_request or {}
    if request.get("mode", "template") != "template":
        raise RpcError(Code.PARAMETER, "`mode` must be template")
    payout = _payout(node, request.get("address"))
    ledger = node.ledger
    template = node.templates.build(ledger.tip, payout or BURN_LOCK)
    shown: dict[str, Json] = {
        "capabilities": [],
        "version": template.header(template.coinbase(bytes(EXTRANONCE_BYTES))).version,
        "rules": [],
        "vbavailable": {},
        "vbrequired": 0,
        "previousblockhash": to_text(template.parent.hash),
        "coinbaseaux": {},
        "coinbasevalue": template.value,
        "othersroot": template.choice.others_root.hex(),
        "target": f"{template.target:064x}",
        "mintime": template.time_min,
        "mutable": ["time", "transactions"],
        "noncerange": "00000000ffffffff",
        "sizelimit": BLOCK_BYTES_MAX,
        "costlimit": BLOCK_COST_MAX,
        "weightlimit": WEIGHT_PER_COST * BLOCK_COST_MAX,
        "curtime": template.time,
        "bits": f"{template.bits:08x}",
        "height": template.height,
    }
    if payout is not None:
        coinbase = template.coinbase(bytes(EXTRANONCE_BYTES))
        shown["coinbasetxn"] = {"data": coinbase.raw.hex(), "txid": to_text(coinbase.txid)}
    start = json.encode(shown)[:-1]
    transactions = show_transactions(template.choice)
    return json.Written((start, b',"transactions":[', transactions, b"]}"))


def _payout(node: Node, address: object) -> LockHash | None:
    if address is None:
        return None
    if not isinstance(address, str):
        raise RpcError(Code.INVALID_PARAMS, "`address` must be a string")
    try:
        return decode_address(node.ledger.params.hrp.decode(), address)
    except AddressError as error:
        raise RpcError(Code.ADDRESS_OR_KEY, f"`address` is not an address: {error}") from None


_NO_DEPENDS = b'"depends":[]'


def show_transactions(choice: Choice) -> bytes:
    """The members of a JSON array, put together once from what is kept of each entry."""
    if choice.shown is None:
        pieces = [entry.shown or show_entry(entry) for entry in choice.entries]
        places: dict[Entry, int] = {}
        for number, entry in enumerate(choice.entries):
            if entry.parents or entry.children:  # few are
                places[entry] = number + 1
                # Those that it needs come before it, and others have been mined.
                needed = [str(places[parent]) for parent in entry.parents]
                depends = f'"depends":[{",".join(needed)}]'.encode()
                pieces[number] = pieces[number].replace(_NO_DEPENDS, depends, 1)
        choice.shown = b",".join(pieces)
    return choice.shown


def show_entry(entry: Entry) -> bytes:
    """The JSON object of an entry that depends on nothing; it stays with the entry."""
    tx = entry.tx
    entry.shown = (
        f'{{"data":"{tx.raw.hex()}","txid":"{to_text(tx.txid)}","hash":"{to_text(tx.wtxid)}",'
        f'"depends":[],"fee":{entry.fee},"cost":{entry.cost},'
        f'"weight":{WEIGHT_PER_COST * entry.cost}}}'
    ).encode()
    return entry.shown


def prepare_template(template: Template) -> None:
    """Make ready what an answer takes time for."""
    show_transactions(template.choice)
    _ = template.choice.others_root


async def submitblock(node: Node, hexdata: bytes, dummy: str = "") -> str | None:
    """Hand in a mined block; answers null, or the name of the rule that it breaks.

    `duplicate` and `duplicate-invalid` tell that the block was known. `dummy` is ignored.
    """
    known = _known_as(node, hexdata)
    if known is not None:
        return known
    try:
        await node.ledger.submit_block(hexdata)
    except Violation as violation:
        return str(violation.rule)
    return None


def _known_as(node: Node, raw: bytes) -> str | None:
    start = len(BLOCK_PREFIX)
    try:
        header = decode_header(raw[start : start + HEADER_BYTES])
    except DecodeError:
        return None
    at = node.ledger.tree.get(header.hash)
    if at is None or at.status is Status.HEADER:
        return None
    return "duplicate-invalid" if at.status is Status.INVALID else "duplicate"


def getstratuminfo(node: Node) -> StratumInfo:
    """The miners that this node gives work to over Stratum, and what each has done.

    A worker is a user name on all its connections. `work` sums the difficulties of its shares, and
    `hashps` is estimated from those of the last minutes.
    """
    workers = node.stratum
    now = node.clock()
    shown: list[StratumWorker] = [
        {
            "name": worker.name,
            "address": worker.address,
            "agent": worker.agent,
            "connections": worker.connections,
            "difficulty": worker.difficulty,
            "accepted": worker.accepted,
            "stale": worker.refused[Refusal.STALE],
            "duplicate": worker.refused[Refusal.DUPLICATE],
            "lowdifficulty": worker.refused[Refusal.LOW_DIFFICULTY],
            "invalid": worker.refused[Refusal.OTHER],
            "work": worker.work,
            "hashps": worker.hash_rate(now),
            "blocks": worker.blocks,
            "lastshare": worker.last_share,
        }
        for worker in workers
    ]
    return {
        "listening": workers.endpoint,
        "connections": workers.connections,
        "hashps": sum(worker.hash_rate(now) for worker in workers),
        "workers": shown,
    }


async def generatetoaddress(
    node: Node, nblocks: Annotated[int, Bounds(1, GENERATED_MAX)], address: LockHash
) -> list[Hash]:
    """Mine blocks to an address at once and answer their hashes.

    Only where the difficulty is constant (regtest): elsewhere it would take hours.
    """
    ledger = node.ledger
    if ledger.params.retarget:
        raise RpcError(Code.MISC, "this network has real proof of work: see `mine-to`")

    def build(payout: LockHash) -> Template:
        return node.templates.build(ledger.tip, payout)

    try:
        made = await generate(nblocks, address, build, ledger.submit_known, node.extranonces)
    except MiningError as error:
        raise RpcError(Code.MISC, str(error)) from None
    return [to_text(block_hash) for block_hash in made]
