"""Bringing a chain back from its data directory: the same way after a stop, a crash and a reindex.

The database says at which block it stands and where the block files ended then. Whole blocks behind
that place were stored but perhaps not connected: they are found by reading on, and then connected
like any other. The database points at none of them, so where one is torn, the rest is cut off.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from consensus.block import HEADER_BYTES, Header, decode_header, transaction_count
from consensus.errors import StorageError
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderNode, Status
from node.archive import BlockPlace
from node.blockfiles import START, RecordFiles
from node.chain import BLOCK_PREFIX, Chain
from node.layout import FilePosition, TipRow

log = logging.getLogger(__name__)
PAUSE_EVERY = 64
"""Blocks read before others get a turn."""


async def restore(chain: Chain) -> None:
    """Fill `chain` from its store. Afterwards `chain.run` connects what is left.

    Raises: StorageError.
    """
    flushed = chain.store.flushed
    if flushed is None:
        await _begin(chain)
        start, tip = START, chain.tree.genesis
    else:
        _restore_headers(chain)
        start, tip = flushed.blocks_end, _tip_node(chain, flushed)
        if _is_before(chain.store.undo.end, flushed.undo_end):
            raise _files_too_short()
        chain.store.undo.truncate(flushed.undo_end)
    end = chain.store.blocks.end
    found = await _roll_forward(chain, start, may_drop=flushed is not None)
    if chain.store.blocks.end != end:
        log.warning("cut off what was half-written at the end of the block files")
    if found > 1:
        log.info("found %d stored blocks that the database does not know yet", found)
    if flushed is None:
        # From here on what a crash leaves half-written lies behind a flush.
        await chain.store.flush()
    chain.start_from(tip)


def _is_before(a: FilePosition, b: FilePosition) -> bool:
    return (a.file, a.offset) < (b.file, b.offset)


def _files_too_short() -> StorageError:
    return StorageError(
        "the block files are shorter than the database says",
        "restore them from a copy, or start once with --reindex to go on from what is left",
    )


async def check_sources(blocks: RecordFiles, genesis: bytes) -> None:
    """See that a database can be made again of the block files, before the one that there is goes.

    Raises: StorageError.
    """
    try:
        for number, _ in enumerate(blocks.verify(), 1):
            if number == 1:
                _check_genesis(blocks, genesis)
            if number % PAUSE_EVERY == 0:
                await asyncio.sleep(0)
    except StorageError as error:
        raise StorageError(f"{error.what}; the database is as it was", error.remedy) from None


def _check_genesis(blocks: RecordFiles, genesis: bytes) -> None:
    if blocks.read(START) != genesis:
        raise StorageError(
            "the block files belong to another network",
            "give the --network that they were made for, or another --datadir",
        )


async def _begin(chain: Chain) -> None:
    """A new directory, or one whose database is to be made again from the block files."""
    store = chain.store
    store.undo.truncate(START)
    # A new node may have been killed while it wrote its very first record.
    if next(store.blocks.scan(START), None) is None:
        store.blocks.append(chain.genesis.raw)
    _check_genesis(store.blocks, chain.genesis.raw)
    place = BlockPlace(START, None, len(chain.genesis.txs))
    chain.archive.restore(chain.chain_id, place)
    await chain.connect_genesis()


def _restore_headers(chain: Chain) -> None:
    for row in chain.store.headers():
        header = decode_header(row.raw)
        if row.block is not None:
            place = BlockPlace(row.block, row.undo, row.tx_count)
            chain.archive.restore(header.hash, place)
        if row.height > 0:
            chain.tree.restore(header, Status(row.status))


def _tip_node(chain: Chain, flushed: TipRow) -> HeaderNode:
    tip = chain.tree.get(BlockHash(flushed.hash))
    if tip is None or not tip.linked:
        raise StorageError(
            "the database lacks the headers that lead to its own tip",
            "start once with --reindex to rebuild it from the block files",
        )
    if _is_before(chain.store.blocks.end, flushed.blocks_end):
        raise _files_too_short()
    return tip


async def _roll_forward(chain: Chain, start: FilePosition, may_drop: bool) -> int:
    """Put the blocks from `start` on into the tree; return how many there are.

    They were checked before they were written and have a checksum; connecting them checks them again.
    """
    waiting: defaultdict[BlockHash, list[tuple[Header, BlockPlace]]] = defaultdict(list)
    count = 0
    for place, raw in chain.store.blocks.scan(start, may_drop):
        count += 1
        header = decode_header(raw[len(BLOCK_PREFIX) : len(BLOCK_PREFIX) + HEADER_BYTES])
        found = header, BlockPlace(place, None, transaction_count(raw))
        if chain.tree.get(header.hash) is None and chain.tree.get(header.previous) is None:
            # Blocks are stored as they come; the one before may stand further on.
            waiting[header.previous].append(found)
            continue
        ready = [found]
        while ready:
            header, known_place = ready.pop()
            if header.hash != chain.chain_id:
                chain.archive.restore(header.hash, known_place)
                chain.archive.note(chain.tree.restore(header, Status.STORED))
            ready += waiting.pop(header.hash, [])
        if count % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    return count
