"""What a signature signs.

A digest names the chain, the place of the key in its lock, the outpoint and the coin, and then
either the whole transaction (scope *all*) or everything in it that is not native (*sponsored*).

Source: docs/protocol.md, "Signatures".
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.codec import encode
from consensus.hashes import (
    Txid,
    hash_coins,
    hash_sighash_all,
    hash_sighash_sponsored,
    hash_terms,
)
from consensus.tx import NATIVE, Body, Coin, OutPoint, Path

SCOPE_ALL = 1
SCOPE_SPONSORED = 2
SCOPES = (SCOPE_ALL, SCOPE_SPONSORED)


def coins_digest(coins: Sequence[Coin]) -> bytes:
    """One hash of every coin that a transaction spends, in the order of its inputs.

    Scope *all* signs it, so a signer who is lied to about any other coin makes a useless signature
    instead of a ruinous fee.
    """
    return hash_coins(encode([(coin.asset, coin.amount, coin.lock) for coin in coins]))


def digest_all(
    chain_id: bytes, path: Path, outpoint: OutPoint, coin: Coin, txid: Txid, coins: bytes
) -> bytes:
    """Digest of scope *all*; `coins` is `coins_digest` of all inputs."""
    spent = (coin.asset, coin.amount, coin.lock)
    return hash_sighash_all(encode((chain_id, path, outpoint, spent, txid, coins)))


def terms_digest(body: Body) -> bytes:
    """One hash of everything in a transaction that is not native, for scope *sponsored*."""
    outputs = [output for output in body.outputs if output.asset != NATIVE]
    return hash_terms(encode((body.version, body.expiry, body.issuances, outputs)))


def digest_sponsored(
    chain_id: bytes, path: Path, outpoint: OutPoint, coin: Coin, terms: bytes
) -> bytes:
    """Digest of scope *sponsored*: others may add native inputs and outputs, nothing else.

    `terms` is `terms_digest`, made once: hashed anew for each signature, a large transaction would
    take time that grows with the square of its size.
    """
    spent = (coin.asset, coin.amount, coin.lock)
    return hash_sighash_sponsored(encode((chain_id, path, outpoint, spent, terms)))
