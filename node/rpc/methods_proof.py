"""Methods: proofs that a transaction stands in a block, which hold without the node."""

from __future__ import annotations

from consensus.hashes import BlockHash, Txid, to_text
from consensus.inclusion import check_inclusion, decode_inclusion, encode_inclusion, prove_inclusion
from consensus.tx import Tx
from node.rpc.described import Hash, Hex
from node.rpc.errors import Code, RpcError
from node.rpc.methods_chain import find_node, need_index, read_raw, read_txs
from node.rpc.ports import Node


async def gettxoutproof(node: Node, txids: list[Txid], blockhash: BlockHash | None = None) -> Hex:
    """A proof in hex that a transaction stands in a block; `txids` has one element.

    docs/protocol.md, "Inclusion proofs", says what it is made of. Without `blockhash` the block of the
    best chain is found by the index.
    """
    if len(txids) != 1:
        raise RpcError(
            Code.PARAMETER, "`txids` must have one element: a proof is of one transaction"
        )
    if blockhash is not None:
        at = find_node(node, blockhash)
    else:
        need_index(node)
        found = node.ledger.read_tx(txids[0])
        if found is None:
            raise RpcError(Code.ADDRESS_OR_KEY, "Transaction not yet in block")
        at = found.node
    txs: list[Tx] = []
    async for tx in read_txs(read_raw(node, at)):
        txs.append(tx)
    for position, tx in enumerate(txs):
        if tx.txid == txids[0]:
            return encode_inclusion(prove_inclusion(at.header, txs, position)).hex()
    raise RpcError(
        Code.ADDRESS_OR_KEY, "Not all transactions found in specified or retrieved block"
    )


def verifytxoutproof(node: Node, proof: bytes) -> list[Hash]:
    """The txid that a proof is of, in an array that is empty if it proves nothing.

    The block must be one of the best chain: −5 if it is not.
    """
    included = check_inclusion(decode_inclusion(proof))
    at = node.ledger.tree.get(included.header.hash)
    if at is None or not node.ledger.is_on_best_chain(at):
        raise RpcError(Code.ADDRESS_OR_KEY, "Block not found in chain")
    return [to_text(included.txid)]
