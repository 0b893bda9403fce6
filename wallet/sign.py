"""Signing: which atoms of a lock the wallet can satisfy, which branches it shows, and the witness.

Every signature has scope *all*: it commits to the data of every coin that the transaction spends.
So whoever lies to the wallet about a coin, be it a node or a cosigner, gets a signature that is
worth nothing, and never a ruinous fee.

Source: docs/protocol.md, "Locks" and "Signatures".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from consensus.codec import encode
from consensus.errors import Violation
from consensus.hashes import Txid
from consensus.keys import are_signed, is_signed, sig_check
from consensus.locks import PREIMAGE_BYTES, SIGNATURE_BYTES, BlockContext, lock_hash
from consensus.sighash import SCOPE_ALL, coins_digest, digest_all
from consensus.tx import (
    AfterHeight,
    AfterTime,
    Atom,
    Body,
    Coin,
    Key,
    Lock,
    Older,
    OutPoint,
    Path,
    Pruned,
    Sha256,
    Threshold,
    Tx,
    Witness,
    make_tx,
)
from consensus.tx_rules import COST_PER_SIGCHECK, check_spend, check_tx
from wallet.errors import WalletError
from wallet.keys import signature_item
from wallet.refusals import explain_refusal

SecretOf = Callable[[bytes], bytes | None]
"""Answers with the private key of a public key, or None if it is somebody else's."""
Signatures = Mapping[Path, bytes]
"""Witness items of one input by the place of their key in the lock."""


class Spendable(msgspec.Struct, frozen=True):
    """A coin that the wallet may spend, with the whole lock that it stands under."""

    outpoint: OutPoint
    coin: Coin
    lock: Lock
    pending: bool = False
    """True for the wallet's own change that is not in a block yet."""


class Situation(msgspec.Struct, frozen=True):
    """What there is to satisfy the lock of one input with."""

    coin: Coin
    ctx: BlockContext | None
    """The next block. None: assume that the time for everything has come."""
    signatures: Signatures
    preimages: Mapping[bytes, bytes]
    """Preimages by their SHA-256."""
    is_rehearsal: bool = False
    """True: as if every signature and preimage were there, to learn the size of a witness."""


class Signer(NamedTuple):
    """A row of the table of atoms."""

    can: Callable[[Any, Path, Situation], bool]
    item: Callable[[Any, Path, Situation], bytes]
    """The witness item; empty for an atom that takes none."""
    wanted: Callable[[Any], str]
    """What is missing if it cannot be satisfied, for people."""


_REHEARSED = bytes((SCOPE_ALL,)).ljust(SIGNATURE_BYTES, b"\0")


def _signature(atom: Key, path: Path, at: Situation) -> bytes:
    return _REHEARSED if at.is_rehearsal else at.signatures[path]


def _preimage(atom: Sha256, path: Path, at: Situation) -> bytes:
    return bytes(PREIMAGE_BYTES) if at.is_rehearsal else at.preimages[atom.digest]


def _nothing(atom: Atom, path: Path, at: Situation) -> bytes:
    return b""


SIGNERS: Mapping[type[Atom], Signer] = {
    Key: Signer(
        lambda atom, path, at: at.is_rehearsal or path in at.signatures,
        _signature,
        lambda atom: f"a signature of {atom.pubkey.hex()}",
    ),
    AfterHeight: Signer(
        lambda atom, path, at: at.ctx is None or at.ctx.height >= atom.height,
        _nothing,
        lambda atom: f"block {atom.height}",
    ),
    AfterTime: Signer(
        lambda atom, path, at: at.ctx is None or at.ctx.median_time >= atom.time,
        _nothing,
        lambda atom: f"a median time of {atom.time}",
    ),
    Older: Signer(
        lambda atom, path, at: at.ctx is None or at.ctx.height - at.coin.height >= atom.blocks,
        _nothing,
        lambda atom: f"the coin to be {atom.blocks} blocks old",
    ),
    Sha256: Signer(
        lambda atom, path, at: at.is_rehearsal or atom.digest in at.preimages,
        _preimage,
        lambda atom: f"the preimage of {atom.digest.hex()}",
    ),
}
"""How the wallet satisfies each atom that a lock can hold."""

_ROOT = Path(b"")


def _child(path: Path, index: int) -> Path:
    return Path(path + bytes((index,)))


def atoms_of(lock: Lock, path: Path = _ROOT) -> list[tuple[Path, Atom]]:
    """Every atom of a whole lock with its place, depth first."""
    if isinstance(lock, Threshold):
        children = enumerate(lock.children)
        return [pair for index, child in children for pair in atoms_of(child, _child(path, index))]
    return [] if isinstance(lock, Pruned) else [(path, lock)]


def reveal(lock: Lock, at: Situation, path: Path = _ROOT) -> Lock | None:
    """`lock` with the branches that are not used pruned; None if it cannot be satisfied.

    Of the branches that can be, the cheapest are shown; in a rehearsal the dearest, so that the
    fee is enough whichever are chosen in the end.
    """
    if isinstance(lock, Pruned):
        return None
    if not isinstance(lock, Threshold):
        return lock if SIGNERS[type(lock)].can(lock, path, at) else None
    shown: list[tuple[int, int, Lock]] = []
    for index, child in enumerate(lock.children):
        opened = reveal(child, at, _child(path, index))
        if opened is not None:
            shown.append((_weight(opened), index, opened))
    if len(shown) < lock.required:
        return None
    shown.sort(key=lambda entry: (-entry[0] if at.is_rehearsal else entry[0], entry[1]))
    kept = {index: opened for _, index, opened in shown[: lock.required]}
    children = tuple(
        kept[index] if index in kept else Pruned(lock_hash(child))
        for index, child in enumerate(lock.children)
    )
    return Threshold(lock.required, children)


def _weight(lock: Lock) -> int:
    """Roughly what a revealed branch costs."""
    signatures = sum(isinstance(atom, Key) for _, atom in atoms_of(lock))
    return COST_PER_SIGCHECK * signatures + len(encode(lock))


def witness_of(lock: Lock, at: Situation) -> Witness | None:
    """The witness that satisfies `lock`, or None."""
    shown = reveal(lock, at)
    if shown is None:
        return None
    items = (SIGNERS[type(atom)].item(atom, path, at) for path, atom in atoms_of(shown))
    return Witness(shown, tuple(item for item in items if item))


def rehearse(lock: Lock, coin: Coin) -> Witness:
    """A witness of the size that spending will take, without any signature in it."""
    witness = witness_of(lock, Situation(coin, None, {}, {}, is_rehearsal=True))
    if witness is None:
        raise WalletError("the wallet knows only the hash of a branch of this lock")
    return witness


def missing_for(lock: Lock, at: Situation) -> list[str]:
    """What the atoms of `lock` still lack; not all of it may be needed."""
    return [
        SIGNERS[type(atom)].wanted(atom)
        for path, atom in atoms_of(lock)
        if not SIGNERS[type(atom)].can(atom, path, at)
    ]


def txid_of(body: Body) -> Txid:
    """The id that a transaction has whatever its witnesses."""
    return make_tx(body, ()).txid


def input_digest(
    body: Body, coins: Sequence[Coin], index: int, path: Path, chain_id: bytes
) -> bytes:
    """What the key at `path` of input `index` signs."""
    return digest_all(
        chain_id, path, body.inputs[index], coins[index], txid_of(body), coins_digest(coins)
    )


def sign_inputs(
    body: Body, inputs: Sequence[Spendable], secret_of: SecretOf, chain_id: bytes
) -> list[dict[Path, bytes]]:
    """A signature for every key in the inputs' locks that is the wallet's own.

    Raises: WalletError if a lock is not that of its coin, or the inputs are not those of `body`.
    """
    if tuple(entry.outpoint for entry in inputs) != body.inputs:
        raise WalletError("the coins are not those that the transaction spends")
    coins = [entry.coin for entry in inputs]
    made: list[dict[Path, bytes]] = []
    for index, entry in enumerate(inputs):
        if lock_hash(entry.lock) != entry.coin.lock:
            raise WalletError(f"input {index}: the lock shown is not the lock of the coin")
        items: dict[Path, bytes] = {}
        for path, atom in atoms_of(entry.lock):
            secret = secret_of(atom.pubkey) if isinstance(atom, Key) else None
            if secret is not None:
                digest = input_digest(body, coins, index, path, chain_id)
                items[path] = signature_item(secret, digest)
        made.append(items)
    return made


def is_signature_good(
    body: Body, inputs: Sequence[Spendable], index: int, path: Path, item: bytes, chain_id: bytes
) -> bool:
    """Whether `item` signs this transaction with the key at `path` of input `index`."""
    atom = dict(atoms_of(inputs[index].lock)).get(path)
    if not isinstance(atom, Key) or len(item) != SIGNATURE_BYTES or item[0] != SCOPE_ALL:
        return False
    digest = input_digest(body, [entry.coin for entry in inputs], index, path, chain_id)
    return is_signed(sig_check(atom.pubkey, digest, item[1:]))


def finish(
    body: Body,
    inputs: Sequence[Spendable],
    signatures: Sequence[Signatures],
    ctx: BlockContext,
    preimages: Mapping[bytes, bytes] | None = None,
) -> Tx:
    """The transaction with its witnesses, checked by the rules of the ledger.

    Raises: WalletError, naming what is missing.
    """
    witnesses: list[Witness] = []
    for index, (entry, items) in enumerate(zip(inputs, signatures, strict=True)):
        at = Situation(entry.coin, ctx, items, preimages or {})
        witness = witness_of(entry.lock, at)
        if witness is None:
            wanted = "; ".join(missing_for(entry.lock, at))
            raise WalletError(f"input {index} cannot be satisfied yet; missing: {wanted}")
        witnesses.append(witness)
    tx = make_tx(body, witnesses)
    try:
        # The supply matters to nothing but the limit of a reissue, which the node checks.
        spend = check_spend(check_tx(tx), [entry.coin for entry in inputs], lambda asset: 0, ctx)
    except Violation as violation:
        reason = explain_refusal(str(violation), "native coins")
        raise WalletError(f"the transaction would be refused: {reason}") from None
    if not are_signed(spend.checks):
        raise WalletError("a signature does not hold: a coin is not what it was said to be")
    return tx
