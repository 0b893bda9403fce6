"""Keys of the wallet: words (BIP39), derivation (BIP32, BIP44), signatures.

`m / 44' / coin' / account' / chain / index`, chain 0 for addresses that are handed out, 1 for
change, 2 for keys that are given to cosigners.

Source: docs/wallet.md, "Keys".
"""

from __future__ import annotations

from bip32 import BIP32, HARDENED_INDEX
from coincurve import PrivateKey, PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from consensus.params import Params
from consensus.sighash import SCOPE_ALL
from wallet.errors import WalletError

PURPOSE = 44
COIN_TYPE = 1795
TEST_COIN_TYPE = 1
"""Shared by the test networks of every currency."""
RECEIVE, CHANGE, COSIGN = 0, 1, 2
CHAINS = (RECEIVE, CHANGE, COSIGN)
WORD_COUNTS = (12, 15, 18, 21, 24)
ENTROPY_BYTES = {12: 16, 15: 20, 18: 24, 21: 28, 24: 32}
ACCOUNT_MAX = 2**31 - 1
_ACCOUNT_DEPTH = 3
_MNEMONIC = Mnemonic("english")


def coin_type(params: Params) -> int:
    """The second level of the path: 1 on the public test networks, else 1795."""
    return TEST_COIN_TYPE if params.name in (b"test", b"regtest") else COIN_TYPE


def _network(coin: int) -> str:
    """How the library calls the two sorts of prefixes."""
    return "test" if coin == TEST_COIN_TYPE else "main"


def words_of(entropy: bytes) -> str:
    """The BIP39 words of 16, 20, 24, 28 or 32 random bytes."""
    return str(_MNEMONIC.to_mnemonic(entropy))


def check_words(text: str) -> str:
    """The words of `text`, one space apart. Raises: WalletError, which never quotes them."""
    words = text.lower().split()
    if len(words) not in WORD_COUNTS:
        raise WalletError(f"expected 12, 15, 18, 21 or 24 words, found {len(words)}")
    known = set(_MNEMONIC.wordlist)
    for number, word in enumerate(words, 1):
        if word not in known:
            raise WalletError(f"word {number} is not in the list of words (BIP39, English)")
    joined = " ".join(words)
    if not _MNEMONIC.check(joined):
        raise WalletError("the checksum of the words is wrong: one is mistyped or out of place")
    return joined


def seed_of(words: str, extra: str = "") -> bytes:
    """The BIP39 seed. The wallet itself uses no extra passphrase."""
    return bytes(Mnemonic.to_seed(words, extra))


class Account:
    """One BIP44 account: all its keys, or with an extended public key the public ones alone."""

    def __init__(self, node: BIP32) -> None:
        self._node = node
        # One level above the keys, so that each key takes one derivation.
        self._chains: dict[int, BIP32] = {}

    @classmethod
    def from_words(cls, words: str, coin: int, account: int) -> Account:
        """The account that checked words lead to."""
        root = BIP32.from_seed(seed_of(words), network=_network(coin))
        path = [level | HARDENED_INDEX for level in (PURPOSE, coin, account)]
        return cls(BIP32.from_xpriv(root.get_xpriv_from_path(path)))

    @classmethod
    def from_xpub(cls, text: str, coin: int) -> Account:
        """The public half of an account. Raises: WalletError, also if it is for other networks."""
        try:
            node = BIP32.from_xpub(text)
        except (ValueError, AssertionError, IndexError):
            raise WalletError("not an extended public key (xpub… or tpub…)") from None
        if node.network != _network(coin):
            wanted = "tpub" if coin == TEST_COIN_TYPE else "xpub"
            raise WalletError(f"on this network an extended public key begins with {wanted}")
        if node.depth != _ACCOUNT_DEPTH:
            raise WalletError(
                f"the extended public key has depth {node.depth}; that of an account has 3"
            )
        return cls(node)

    @property
    def xpub(self) -> str:
        """The extended public key: shows every address of the account, spends none."""
        return str(self._node.get_xpub())

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that tell accounts apart."""
        return bytes(self._node.get_fingerprint()).hex()

    @property
    def has_secrets(self) -> bool:
        return self._node.privkey is not None

    def pubkey(self, chain: int, index: int) -> bytes:
        """33 bytes."""
        node = self._chains.get(chain)
        if node is None:
            node = BIP32.from_xpub(self._node.get_xpub_from_path([chain]))
            self._chains[chain] = node
        return bytes(node.get_pubkey_from_path([index]))

    def secret(self, chain: int, index: int) -> bytes:
        """32 bytes. Raises: WalletError for an account without secrets."""
        if not self.has_secrets:
            raise WalletError("this account is watch-only: it has no private keys")
        return bytes(self._node.get_privkey_from_path([chain, index]))

    def derived_key(self, purpose: str, size: int) -> bytes:
        """`size` bytes that only who has the words can make, others for each purpose (RFC 5869).

        Raises: WalletError for an account without secrets.
        """
        if self._node.privkey is None:
            raise WalletError("this account is watch-only: it has no private keys")
        expand = HKDF(algorithm=SHA256(), length=size, salt=None, info=f"tael {purpose}".encode())
        return expand.derive(bytes(self._node.privkey))


def is_pubkey(pubkey: bytes) -> bool:
    """Whether `pubkey` is a point of the curve in the form that locks hold."""
    if len(pubkey) != 33 or pubkey[0] not in (2, 3):
        return False
    try:
        PublicKey(pubkey)
    except ValueError:
        return False
    return True


def sign_digest(secret: bytes, digest: bytes) -> bytes:
    """r || s, 64 bytes: deterministic (RFC 6979), low S."""
    # The recoverable form is the one that the library gives in compact bytes; its last byte is
    # the recovery id.
    return bytes(PrivateKey(secret).sign_recoverable(digest, hasher=None)[:64])


def signature_item(secret: bytes, digest: bytes) -> bytes:
    """The witness item: scope || r || s. The wallet signs with scope *all* and no other."""
    return bytes((SCOPE_ALL,)) + sign_digest(secret, digest)
