"""Methods: the chain of blocks, its headers, and the coin set."""

from __future__ import annotations

import asyncio
from binascii import hexlify
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from consensus.block import decode_parts
from consensus.hashes import HASH_BYTES, BlockHash, Txid, from_text, to_text
from consensus.header_tree import HeaderNode, Status
from consensus.params import UINT32_MAX, Params
from consensus.tx import NATIVE, Coin, Tx, identify, outpoint
from node.rpc.briefs import Brief, make_brief
from node.rpc.described import ByArgument, Hash, Hex, Shown
from node.rpc.errors import Code, RpcError
from node.rpc.json import Json, Written, amount, encode, fragment
from node.rpc.params import Also, Bounds, HashOrHeight, Verbosity
from node.rpc.ports import Node
from node.rpc.results.chain import (
    BlockchainInfo,
    BlockInfo,
    BlockStats,
    ChainTip,
    CoinSetInfo,
    FullBlockInfo,
    HeaderInfo,
    IndexState,
    TipStatus,
    UnspentOutput,
)
from node.rpc.shapes import (
    WEIGHT_PER_COST,
    cost_of_tx,
    difficulty,
    show_header,
    show_script,
    show_tx,
    show_worth,
)

TXS_PER_TURN = 20
"""Transactions shown before others get a turn."""
TIPS_MAX = 100
ASSETS_SHOWN_MAX = 10_000


def chain_name(params: Params) -> Literal["main", "test", "regtest"]:
    """What clients take for the kind of network; they know main, test, signet and regtest only."""
    match params.name:
        case b"test":
            return "test"
        case b"regtest":
            return "regtest"
        case _:
            return "main" if params.retarget else "regtest"


def find_node(node: Node, block_hash: BlockHash) -> HeaderNode:
    """Raises: RpcError."""
    found = node.ledger.tree.get(block_hash)
    if found is None:
        raise RpcError(Code.ADDRESS_OR_KEY, "Block not found")
    return found


def find_height(node: Node, height: int) -> HeaderNode:
    """A block of the best chain. Raises: RpcError."""
    if height > node.ledger.tip.height:
        raise RpcError(Code.PARAMETER, "Block height out of range")
    return node.ledger.tip.ancestor(height)


def need_index(node: Node) -> None:
    """Raises: RpcError where transactions and histories cannot be looked up."""
    if not node.ledger.is_indexed:
        raise RpcError(Code.MISC, "this node keeps no index: start it with `index` on")


def read_raw(node: Node, at: HeaderNode) -> bytes:
    """Raises: RpcError."""
    raw = node.ledger.read_block_raw(at)
    if raw is None:
        raise RpcError(Code.MISC, "Block not available: only its header is known")
    return raw


async def read_txs(raw: bytes) -> AsyncIterator[Tx]:
    """The transactions of a stored block; others get a turn now and then."""
    for number, tx in enumerate(decode_parts(raw).transactions, 1):
        yield identify(tx)
        if number % TXS_PER_TURN == 0:
            await asyncio.sleep(0)


def getblockchaininfo(node: Node) -> BlockchainInfo:
    """The state of the chain.

    `chain` is main, test or regtest; a private network is main to clients, or regtest if its difficulty
    is constant, and `network` has its name. `chainid` is the hash of its genesis block, `hrp` the prefix
    of its addresses.
    """
    ledger, params = node.ledger, node.ledger.params
    tip, best = ledger.tip, ledger.tree.best_header
    return {
        "chain": chain_name(params),
        "network": params.name.decode(),
        "chainid": to_text(ledger.chain_id),
        "hrp": params.hrp.decode(),
        "ticker": params.ticker.decode(),
        "blocks": tip.height,
        "headers": best.height,
        "bestblockhash": to_text(tip.hash),
        "bits": f"{tip.header.bits:08x}",
        "difficulty": difficulty(tip.header.bits),
        "time": tip.header.time,
        "mediantime": tip.median_time(),
        "verificationprogress": 1.0 if tip.work >= best.work else tip.work / best.work,
        "initialblockdownload": ledger.is_syncing,
        "chainwork": f"{tip.work:064x}",
        "pruned": False,
        "warnings": "",
    }


def getblockcount(node: Node) -> int:
    """Height of the best chain; genesis is 0."""
    return node.ledger.tip.height


def getbestblockhash(node: Node) -> Hash:
    """Hash of the last block of the best chain."""
    return to_text(node.ledger.tip.hash)


def getdifficulty(node: Node) -> float:
    """Difficulty of the last block, as a multiple of the least difficulty of Bitcoin."""
    return difficulty(node.ledger.tip.header.bits)


def getblockhash(node: Node, height: Annotated[int, Bounds(0, UINT32_MAX)]) -> Hash:
    """Hash of the block at `height` of the best chain."""
    return to_text(find_height(node, height).hash)


def getblockheader(
    node: Node, blockhash: BlockHash, verbose: bool = True
) -> Annotated[HeaderInfo | str, ByArgument("verbose", {False: Hex, True: HeaderInfo})]:
    """A header as an object, or with `verbose` false its 80 bytes in hex.

    `confirmations` is −1 for a block off the best chain. `nTx` is 0 while its transactions are
    missing.
    """
    at = find_node(node, blockhash)
    return show_header(node.ledger, at) if verbose else at.header.raw.hex()


def getblock(
    node: Node,
    blockhash: BlockHash,
    verbosity: Annotated[Verbosity, Also("verbose")] = Verbosity.BRIEF,
) -> Annotated[
    Written | Coroutine[Any, Any, Written],
    ByArgument("verbosity", {0: Hex, 1: BlockInfo, 2: FullBlockInfo}),
]:
    """A block: with `verbosity` 0 in hex, with 1 its txids, with 2 its transactions.

    With 2, each transaction has its fee, and each input has the coin it spends as `prevout`.
    """
    at = find_node(node, blockhash)
    if verbosity is Verbosity.HEX:
        return _show_hex(node, at)
    brief = node.briefs.get(at.hash)
    if brief is not None:
        is_brief = verbosity is Verbosity.BRIEF
        txs = bytes(brief.txids) if is_brief else node.blocks.get((at.hash, verbosity))
        if txs is not None:
            return _show_block(node, at, brief, txs)
    return _read_block(node, at, verbosity)


def _show_hex(node: Node, at: HeaderNode) -> Written:
    key = at.hash, Verbosity.HEX
    shown = node.blocks.get(key)
    if shown is None:
        shown = hexlify(read_raw(node, at))
        node.blocks.add(key, shown, len(shown))
    return Written((b'"', shown, b'"'))


async def _read_block(node: Node, at: HeaderNode, verbosity: Verbosity) -> Written:
    raw = read_raw(node, at)
    brief = node.briefs.get(at.hash)
    if brief is None:
        brief = await make_brief(raw)
        node.briefs.add(at.hash, brief, len(bytes(brief.txids)))
    if verbosity is Verbosity.BRIEF:
        return _show_block(node, at, brief, bytes(brief.txids))
    undo = node.ledger.read_undo(at)
    shown: list[bytes] = []
    async for tx in read_txs(raw):
        coins = undo[len(shown) - 1] if undo is not None and shown else None
        shown.append(encode(show_tx(tx, node.ledger.params, coins)))
    txs = b"[%b]" % b",".join(shown)
    if undo is not None:  # else there is more to say once it is connected
        node.blocks.add((at.hash, verbosity), txs, len(txs))
    return _show_block(node, at, brief, txs)


def _show_block(node: Node, at: HeaderNode, brief: Brief, txs: bytes) -> Written:
    sizes = {"size": brief.size, "strippedsize": brief.size, "weight": WEIGHT_PER_COST * brief.cost}
    header = encode(show_header(node.ledger, at) | sizes | {"cost": brief.cost})
    return Written((header[:-1] + b',"tx":', txs, b"}"))


def getchaintips(node: Node) -> list[ChainTip]:
    """The ends of all known branches, most work first, at most 100.

    `status`: active (the best chain), valid-fork (was connected), valid-headers (complete, never
    connected), headers-only, invalid.
    """
    ledger = node.ledger
    tips = [leaf for leaf in ledger.tree.leaves() if not ledger.is_on_best_chain(leaf)]
    tips = [ledger.tip, *sorted(tips, key=lambda leaf: -leaf.work)]
    return [
        {
            "height": tip.height,
            "hash": to_text(tip.hash),
            "branchlen": tip.height - ledger.tree.fork(tip, ledger.tip).height,
            "status": _tip_status(node, tip),
        }
        for tip in tips[:TIPS_MAX]
    ]


def _tip_status(node: Node, tip: HeaderNode) -> TipStatus:
    if tip is node.ledger.tip:
        return "active"
    if tip.status is Status.INVALID:
        return "invalid"
    if not tip.linked:
        return "headers-only"
    return "valid-headers" if node.ledger.read_undo(tip) is None else "valid-fork"


def getblockstats(
    node: Node, hash_or_height: HashOrHeight | None = None, stats: list[str] | None = None
) -> Annotated[Json | Coroutine[Any, Any, Json], Shown(BlockStats)]:
    """Sums over the transactions of a block of the best chain, given by hash or height.

    Amounts are in base units of the native coin, fee rates in base units per 1 000 cost. The coinbase
    counts in none of the fees and sizes. `stats` names those wanted; all without it.
    """
    at = _block_by_text(node, hash_or_height)
    found = node.stats.get(at.hash)
    return _choose(found, stats) if found is not None else _add_up(node, at, stats)


async def _add_up(node: Node, at: HeaderNode, stats: list[str] | None) -> Json:
    undo = node.ledger.read_undo(at)
    if undo is None:
        raise RpcError(Code.MISC, "Block not available: it was never connected")
    found = await _sum_up(node, at, undo)
    node.stats.add(at.hash, found, 1)
    return _choose(found, stats)


def _choose(found: Mapping[str, object], stats: list[str] | None) -> Json:
    if stats is None:
        return found
    unknown = [name for name in stats if name not in found]
    if unknown:
        raise RpcError(Code.PARAMETER, f"`stats` has no {unknown[0][:40]!r}")
    return {name: found[name] for name in stats}


def _block_by_text(node: Node, text: HashOrHeight | None) -> HeaderNode:
    if text is None:
        return node.ledger.tip
    if len(text) < 2 * HASH_BYTES:
        return find_height(node, int(text))
    return find_node(node, BlockHash(from_text(text)))


async def _sum_up(node: Node, at: HeaderNode, undo: Sequence[Sequence[Coin]]) -> BlockStats:
    fees, rates, sizes = [], [], []
    ins = outs = total_out = cost_sum = 0
    number = 0
    async for tx in read_txs(read_raw(node, at)):
        outs += len(tx.body.outputs)
        paid = sum(output.amount for output in tx.body.outputs if output.asset == NATIVE)
        if number > 0:
            cost = cost_of_tx(tx)
            spent = sum(coin.amount for coin in undo[number - 1] if coin.asset == NATIVE)
            fees.append(spent - paid)
            rates.append((spent - paid) * 1_000 // cost)
            sizes.append(len(tx.raw))
            ins += len(tx.body.inputs)
            total_out += paid
            cost_sum += cost
        number += 1
    fees.sort()
    rates.sort()
    sizes.sort()
    count = max(1, len(fees))
    return {
        "avgfee": sum(fees) // count,
        "avgfeerate": sum(fees) * 1_000 // max(1, cost_sum),
        "avgtxsize": sum(sizes) // count,
        "blockhash": to_text(at.hash),
        "feerate_percentiles": [_quantile(rates, percent) for percent in (10, 25, 50, 75, 90)],
        "height": at.height,
        "ins": ins,
        "maxfee": _quantile(fees, 100),
        "maxfeerate": _quantile(rates, 100),
        "maxtxsize": _quantile(sizes, 100),
        "medianfee": _quantile(fees, 50),
        "mediantime": at.median_time(),
        "mediantxsize": _quantile(sizes, 50),
        "minfee": _quantile(fees, 0),
        "minfeerate": _quantile(rates, 0),
        "mintxsize": _quantile(sizes, 0),
        "outs": outs,
        "subsidy": node.ledger.params.subsidy_at(at.height),
        "time": at.header.time,
        "total_out": total_out,
        "total_size": sum(sizes),
        "total_weight": WEIGHT_PER_COST * cost_sum,
        "totalfee": sum(fees),
        "txs": number,
        "utxo_increase": outs - ins,
    }


def _quantile(ascending: Sequence[int], percent: int) -> int:
    if not ascending:
        return 0
    return ascending[(len(ascending) - 1) * percent // 100]


def gettxout(
    node: Node, txid: Txid, n: Annotated[int, Bounds(0, UINT32_MAX)], include_mempool: bool = True
) -> UnspentOutput | None:
    """An unspent output, or null.

    With `include_mempool`, one that the mempool spends is gone and one that it makes is there, with
    0 confirmations. `coinbase` is true for every coin that matures like one of a coinbase.
    """
    need_index(node)
    ledger, spent = node.ledger, outpoint(txid, n)
    if include_mempool and ledger.mempool.spender(spent) is not None:
        return None
    coin = ledger.coin_at(spent)
    depth = ledger.tip.height - coin.height + 1 if coin is not None else 0
    if coin is None and include_mempool:
        coin = ledger.mempool.coin(spent)
    if coin is None:
        return None
    return {
        "bestblock": to_text(ledger.tip.hash),
        "confirmations": depth,
        **show_worth(coin.asset, coin.amount),
        "scriptPubKey": show_script(coin.lock, ledger.params),
        "coinbase": coin.delayed,
    }


async def gettxoutsetinfo(node: Node) -> Annotated[msgspec.Raw, Shown(CoinSetInfo)]:
    """The whole coin set: its height, hash, size and the supply of every asset.

    `coinset` is the same on every node at the same block. `supply` lists the base units in the coins
    of each asset, in the order of ids, at most 10 000; the empty id is the native coin. Reads every
    coin when it is first asked at a block, so it takes its time; one call at a time does.
    """
    async with node.scanning:
        kept = node.coin_sets.get(node.ledger.tip.hash)
        if kept is not None:
            return kept
        found = await node.ledger.coin_set()
    assets = sorted(found.supply)[:ASSETS_SHOWN_MAX]
    info: CoinSetInfo = {
        "height": found.height,
        "bestblock": to_text(found.block_hash),
        "txouts": found.coins,
        "coinset": found.digest.hex(),
        "hash_serialized_3": found.digest.hex(),
        "total_amount": amount(found.supply.get(NATIVE, 0)),
        "assets": len(found.supply) - (NATIVE in found.supply),
        "supply": [{"asset": to_text(a), "supply": found.supply[a]} for a in assets],
    }
    shown = fragment(info)
    node.coin_sets.add(found.block_hash, shown, len(bytes(shown)))
    return shown


def getindexinfo(node: Node, index_name: str = "") -> dict[str, IndexState]:
    """The indexes that this node keeps, and whether they are up to date."""
    names = ("txindex", "addressindex") if node.ledger.is_indexed else ()
    state: IndexState = {"synced": True, "best_block_height": node.ledger.tip.height}
    return {name: state for name in names if index_name in ("", name)}
