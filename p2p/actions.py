"""What planners want done. They decide; `p2p.hub` performs.

`Send`, `Close`, `Blame`, `Serve…` and `Dial` take no time. The others change the ledger, and their
result comes back to the planner as another event.
"""

from __future__ import annotations

import msgspec

from consensus.block import Header
from consensus.hashes import BlockHash, Wtxid
from p2p.compact import Reconstruction
from p2p.messages import Message
from p2p.peer import ConnectionType, Fault, Reason
from p2p.ports import Endpoint


class Send(msgspec.Struct, frozen=True):
    """Queue a message for a peer."""

    peer: int
    message: Message


class Close(msgspec.Struct, frozen=True):
    """End the connection to a peer."""

    peer: int
    reason: Reason


class Blame(msgspec.Struct, frozen=True):
    """Add a fault to the score of a peer."""

    peer: int
    fault: Fault
    detail: str = ""


class ServeBlocks(msgspec.Struct, frozen=True):
    """Send the blocks that a peer asked for, each when the one before has gone."""

    peer: int
    hashes: tuple[BlockHash, ...]


class ServeTxs(msgspec.Struct, frozen=True):
    """Send the transactions that a peer asked for; `missing` ones it may not have."""

    peer: int
    wtxids: tuple[Wtxid, ...]
    missing: tuple[Wtxid, ...] = ()


class Dial(msgspec.Struct, frozen=True):
    """Open a connection."""

    endpoint: Endpoint
    kind: ConnectionType
    pin: bytes | None = None
    """Fingerprint of the one certificate that is believed this time, whatever is pinned for good."""


class AddHeaders(msgspec.Struct, frozen=True):
    """Add headers to the tree, then call `SyncPlanner.on_headers_added`."""

    peer: int
    headers: tuple[Header, ...]
    is_answer: bool


class AcceptBlock(msgspec.Struct, frozen=True):
    """Give a block to the ledger, then call `SyncPlanner.on_block_done`."""

    peer: int
    block_hash: BlockHash
    raw: bytes


class SubmitTx(msgspec.Struct, frozen=True):
    """Give a transaction to the mempool, then call `TxRelay.on_tx_done`."""

    peer: int
    wtxid: Wtxid
    raw: bytes


class AddCompact(msgspec.Struct, frozen=True):
    """Put a block together from the mempool, then call `BlockRelay.on_compact_done`."""

    peer: int
    block: Reconstruction


class AddBlockTxs(msgspec.Struct, frozen=True):
    """Complete a block with what was missing of it, then call `BlockRelay.on_compact_done`."""

    peer: int
    block: Reconstruction
    raws: tuple[bytes, ...]


LedgerAction = AddHeaders | AcceptBlock | SubmitTx | AddCompact | AddBlockTxs
Action = Send | Close | Blame | ServeBlocks | ServeTxs | Dial | LedgerAction
