"""Where a recorded payment stands, as the node tells it, and what follows from that.

A transaction that expires is in one of three ages. Until its expiry it may be mined, so it is sent
again and again. After it, it can be mined no more on this chain, but a reorganisation could go back to
where it can. Only `FINAL_DEPTH` blocks later is it taken for void, and may the payment be signed anew.

Source: docs/payments.md, "Paid once".
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import msgspec

from consensus.hashes import Txid, to_text
from consensus.params import COINBASE_MATURITY
from wallet.answers import ChainInfo, Node, ask
from wallet.book import Sent
from wallet.client import MINED_ALREADY
from wallet.errors import NodeError, NodeSilent, RpcError, WalletError

FINAL_DEPTH = COINBASE_MATURITY
"""Blocks after its expiry from which a transaction is void: as deep as the ledger lets new coins wait."""
ANY_FEE = "0"
"""The fee was agreed to when the payment was made; a guard against slips comes too late for it."""
_UNKNOWN = -5
_TX_INDEX = "txindex"


class State(enum.StrEnum):
    """Where a payment stands."""

    CONFIRMED = "confirmed"
    WAITING = "waiting"
    """In the mempool of the node."""
    UNSENT = "unsent"
    """Recorded, but no node has it: send it again."""
    EXPIRED = "expired"
    """Not mined in its time; a reorganisation could still bring that back."""
    VOID = "void"
    """Not mined, and no more to be mined: only now may it be signed anew."""


class Standing(msgspec.Struct, frozen=True):
    """What the node says of a payment."""

    state: State
    txid: Txid
    """Of the transaction that is meant: the mined or waiting one, else the newest."""
    expiry: int
    confirmations: int = 0
    height: int | None = None
    """Of the block that holds it."""
    reason: str = ""
    """Why the node does not have it, in the node's words."""

    @property
    def final_at(self) -> int:
        """The height from which it is void unless it was mined."""
        return self.expiry + FINAL_DEPTH


class TxAnswer(msgspec.Struct, frozen=True):
    """From getrawtransaction with verbosity 1."""

    txid: str
    confirmations: int = 0
    blockhash: str = ""


async def look_up(node: Node, txid: Txid) -> TxAnswer | None:
    """What the node knows of a transaction; None if it knows nothing. Raises: NodeError."""
    try:
        answer = await ask(node, TxAnswer, "getrawtransaction", to_text(txid), 1)
    except RpcError as error:
        if error.code == _UNKNOWN:
            return None
        raise
    if answer.txid != to_text(txid) or answer.confirmations < 0:
        raise NodeError("the node answered getrawtransaction with another transaction")
    return answer


async def check_indexed(node: Node) -> None:
    """See that "unknown" means something: without an index a node does not find what is mined.

    Raises: NodeError.
    """
    if _TX_INDEX not in await ask(node, dict[str, Any], "getindexinfo"):
        raise NodeError(
            "the node keeps no index, so it cannot tell what was mined: start it with `index` on"
        )


async def standing(node: Node, attempts: Sequence[Sent]) -> Standing:
    """Where the payment of `attempts`, oldest first, stands now. Sends nothing. Raises: NodeError."""
    newest = attempts[-1]
    expiry = newest.tx().body.expiry
    if not expiry:
        raise WalletError(f"{to_text(newest.txid)} has no expiry")
    # Asked first: blocks that come in between make a payment look younger than it is, never older.
    info = await ask(node, ChainInfo, "getblockchaininfo")
    waiting: Sent | None = None
    for entry in reversed(attempts):
        found = await look_up(node, entry.txid)
        if found is None:
            continue
        if found.confirmations and found.blockhash:
            at = await ask(node, ChainInfo, "getblockchaininfo")
            height = at.blocks - found.confirmations + 1
            return Standing(State.CONFIRMED, entry.txid, expiry, found.confirmations, height)
        waiting = waiting or entry
    if waiting is not None:
        return Standing(State.WAITING, waiting.txid, expiry)
    await check_indexed(node)
    state = State.UNSENT
    if info.blocks >= expiry:
        state = State.VOID if info.blocks >= expiry + FINAL_DEPTH else State.EXPIRED
    return Standing(state, newest.txid, expiry)


async def send_again(node: Node, attempts: Sequence[Sent], now: Standing) -> Standing:
    """Hand an unsent payment to the node, the newest of its transactions first.

    Raises: NodeSilent (whether it was taken is unknown), NodeError.
    """
    reason = ""
    for entry in reversed(attempts):
        if entry.tx().body.expiry != now.expiry:
            break  # an older one, that is void
        try:
            await ask(node, str, "sendrawtransaction", entry.raw.hex(), ANY_FEE)
        except NodeSilent:
            raise
        except RpcError as error:
            if error.code == MINED_ALREADY:
                return await standing(node, attempts)
            reason = reason or error.message
        else:
            return Standing(State.WAITING, entry.txid, now.expiry)
    return msgspec.structs.replace(now, reason=reason)
