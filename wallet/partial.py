"""A transaction on its way between cosigners: JSON that holds all that a signer must see.

Nothing in it is believed: locks must hash to those of the coins, signatures are verified, and a
signature of scope *all* commits to every coin, so false amounts make it worthless.

Source: docs/wallet.md, "Partially signed transactions".
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import Invalid, Violation
from consensus.hashes import AssetId, LockHash, from_text, to_text
from consensus.locks import lock_hash
from consensus.params import AMOUNT_MAX
from consensus.tx import NATIVE, Body, Coin, Height, Lock, OutPoint, Path
from consensus.tx_rules import check_outputs
from wallet.errors import WalletError
from wallet.sign import Spendable, is_signature_good, txid_of

FORMAT = "tael-partial-transaction"
VERSION = 1
FILE_BYTES_MAX = 4 * 1024 * 1024
_BODY = decoder_of(Body)
_LOCK = decoder_of(Lock)


class PartialInput(msgspec.Struct, forbid_unknown_fields=True):
    """One input as the file shows it."""

    asset: str
    amount: int
    lock: str
    """The whole lock: hex of its canonical encoding."""
    height: int
    """Height of the coin's block, for locks that wait for its age."""
    signatures: dict[str, str]
    """Hex of the witness item by hex of the place of its key in the lock."""


class PartialFile(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    format: str
    version: int
    network: str
    chainid: str
    name: str
    """What the proposer calls the shared lock."""
    txid: str
    body: str
    """Hex of the canonical encoding."""
    inputs: list[PartialInput]


class Partial(msgspec.Struct):
    """A partially signed transaction, verified."""

    network: str
    chain_id: bytes
    name: str
    body: Body
    inputs: tuple[Spendable, ...]
    signatures: tuple[dict[Path, bytes], ...]
    """One table per input: witness items by place."""

    @property
    def fee(self) -> int:
        """Base units of the native coin."""
        come = sum(e.coin.amount for e in self.inputs if e.coin.asset == NATIVE)
        go = sum(output.amount for output in self.body.outputs if output.asset == NATIVE)
        return come - go

    def add(self, signatures: Sequence[dict[Path, bytes]]) -> int:
        """Take in signatures that were seen to hold; return how many were new."""
        new = 0
        for have, more in zip(self.signatures, signatures, strict=True):
            new += len(more.keys() - have.keys())
            have.update({path: item for path, item in more.items() if path not in have})
        return new


def encode_partial(partial: Partial) -> bytes:
    """The bytes of the file."""
    file = PartialFile(
        FORMAT, VERSION, partial.network, to_text(partial.chain_id), partial.name,
        to_text(txid_of(partial.body)), encode(partial.body).hex(),
        [
            PartialInput(
                to_text(entry.coin.asset), entry.coin.amount, encode(entry.lock).hex(),
                entry.coin.height,
                {path.hex(): item.hex() for path, item in sorted(items.items())},
            )
            for entry, items in zip(partial.inputs, partial.signatures, strict=True)
        ],
    )  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def decode_partial(data: bytes, chain_id: bytes) -> Partial:
    """Read and verify a file. Raises: WalletError, naming what is wrong."""
    try:
        file = msgspec.json.decode(data, type=PartialFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WalletError(f"not a partially signed transaction: {error}") from None
    if file.format != FORMAT:
        raise WalletError("not a partially signed transaction")
    if file.version != VERSION:
        raise WalletError(
            f"the partially signed transaction has version {file.version}; this tael knows {VERSION}"
        )
    if file.chainid != to_text(chain_id):
        raise WalletError(f"the transaction is for another chain (network {file.network[:32]!r})")
    try:
        body: Body = decode_canonical(_BODY, bytes.fromhex(file.body))
        check_outputs(body.outputs)
    except (ValueError, Violation) as error:
        raise WalletError(f"the body of the transaction is wrong: {error}") from None
    if len(set(body.inputs)) != len(body.inputs) or len(file.inputs) != len(body.inputs):
        raise WalletError("the file does not list each coin that the transaction spends once")
    if to_text(txid_of(body)) != file.txid:
        raise WalletError("the txid in the file is not that of its body")
    pairs = enumerate(zip(body.inputs, file.inputs, strict=True))
    inputs = tuple(_input(index, spent, entry) for index, (spent, entry) in pairs)
    signatures = tuple(
        _signatures(body, inputs, index, entry, chain_id) for index, entry in enumerate(file.inputs)
    )
    partial = Partial(file.network, chain_id, file.name, body, inputs, signatures)
    if partial.fee < 0:
        raise WalletError("the transaction pays more than its coins hold")
    return partial


def _input(index: int, spent: OutPoint, entry: PartialInput) -> Spendable:
    try:
        lock: Lock = decode_canonical(_LOCK, bytes.fromhex(entry.lock))
        digest: LockHash = lock_hash(lock)
        asset = AssetId(from_text(entry.asset))
    except (ValueError, Invalid, Violation) as error:
        raise WalletError(f"input {index} is wrong: {error}") from None
    if len(asset) not in (0, 32) or not 1 <= entry.amount <= AMOUNT_MAX:
        raise WalletError(f"input {index} is wrong: asset or amount")
    if not 0 <= entry.height < 2**32:
        raise WalletError(f"input {index} is wrong: height")
    return Spendable(spent, Coin(asset, entry.amount, digest, Height(entry.height), False), lock)


def _signatures(
    body: Body, inputs: Sequence[Spendable], index: int, entry: PartialInput, chain_id: bytes
) -> dict[Path, bytes]:
    found: dict[Path, bytes] = {}
    for place, item in entry.signatures.items():
        try:
            path, witness = Path(bytes.fromhex(place)), bytes.fromhex(item)
        except ValueError:
            raise WalletError(f"input {index}: a signature is not hex") from None
        if not is_signature_good(body, inputs, index, path, witness, chain_id):
            raise WalletError(f"input {index}: the signature at {place or 'the root'} is wrong")
        found[path] = witness
    return found


def combine(partials: Sequence[Partial]) -> Partial:
    """The signatures of several files of one transaction together. Raises: WalletError."""
    first = partials[0]
    for other in partials[1:]:
        same_coins = [e.coin for e in other.inputs] == [e.coin for e in first.inputs]
        same_locks = [e.lock for e in other.inputs] == [e.lock for e in first.inputs]
        if other.body != first.body or not (same_coins and same_locks):
            raise WalletError("the files are not of one transaction")
        first.add(other.signatures)
    return first
