"""Whether nodes that are at peace agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consensus.errors import Missing, Refused, Rule
from consensus.hashes import HASH_BYTES, Txid
from consensus.tx import Tx
from node.ledger import Ledger


def agree(ledgers: Sequence[Ledger]) -> bool:
    """Whether all stand at one block, and whatever waits anywhere waits where it is let in.

    Not simply everywhere: what was there first decides between two payments of one coin, and a payment
    that a miner took for nothing comes back to those alone who had his block.
    """
    if len({ledger.tip.hash for ledger in ledgers}) > 1:
        return False
    waiting = {
        checked.tx.txid: checked.tx for ledger in ledgers for checked in ledger.waiting_txs()
    }
    return all(_lets_in_no_other(ledger, waiting) for ledger in ledgers)


def _lets_in_no_other(ledger: Ledger, waiting: Mapping[Txid, Tx]) -> bool:
    """Whether a node refuses all of `waiting` that it does not have, and what spends that."""
    absent = {txid: tx for txid, tx in waiting.items() if ledger.mempool.by_wtxid(tx.wtxid) is None}
    for tx in absent.values():
        try:
            ledger.mempool.test_tx(tx)
        except Refused as refusal:
            if refusal.rule is not Rule.ALREADY_CONFIRMED:
                continue
        except Missing:
            if any(spent[:HASH_BYTES] in absent for spent in tx.body.inputs):
                continue
        return False
    return True
