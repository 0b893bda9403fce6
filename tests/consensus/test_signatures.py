"""Signatures by three libraries: the one in use, and two that serve as second and third opinion."""

from __future__ import annotations

from collections.abc import Callable

import coincurve
import ecdsa
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consensus.errors import Invalid, Rule
from consensus.keys import SIGCHECK_BYTES, are_signed, is_signed, sig_check
from consensus.tx import Tx, Witness, make_tx
from consensus.tx_rules import check_spend, check_tx
from tests.support.chain import ALICE, BOB, ToyChain
from tests.support.verdicts import violates

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
FIELD = 2**256 - 2**32 - 977
ECDSA = ec.ECDSA(Prehashed(SHA256()))

secrets = st.integers(1, ORDER - 1)
# Without multiples of the order: a signature of one holds for the negated key as well.
digests = st.binary(min_size=32, max_size=32).filter(lambda d: int.from_bytes(d, "big") % ORDER)


def pair(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def numbers(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def low(r: int, s: int) -> bytes:
    return pair(r, min(s, ORDER - s))


def says_openssl(pubkey: bytes, digest: bytes, signature: bytes) -> bool:
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), pubkey)
        key.verify(encode_dss_signature(*numbers(signature)), digest, ECDSA)
    except (ValueError, InvalidSignature):
        return False
    return True


def says_ecdsa(pubkey: bytes, digest: bytes, signature: bytes) -> bool:
    try:
        key = ecdsa.VerifyingKey.from_string(pubkey, curve=ecdsa.SECP256k1)
        key.verify_digest(signature, digest)
    except (ecdsa.MalformedPointError, ecdsa.BadSignatureError):
        return False
    return True


def verdict(pubkey: bytes, digest: bytes, signature: bytes) -> bool:
    """What all three say; the two others know nothing of low s, so that is taken into account."""
    ours = is_signed(sig_check(pubkey, digest, signature))
    is_low = numbers(signature)[1] <= ORDER // 2
    openssl = says_openssl(pubkey, digest, signature)
    assert openssl == says_ecdsa(pubkey, digest, signature)
    assert ours == (openssl and is_low)
    return ours


def signed(secret: int, digest: bytes) -> tuple[bytes, bytes]:
    key = coincurve.PrivateKey.from_int(secret)
    return key.public_key.format(), key.sign_recoverable(digest, hasher=None)[:64]


@given(secrets, digests)
@example(1, bytes(31) + b"\1")
@example(ORDER - 1, b"\xff" * 32)
@settings(max_examples=60)
def test_signature_made_by_any_of_three_is_accepted_by_all_three(
    secret: int, digest: bytes
) -> None:
    pubkey, signature = signed(secret, digest)
    assert verdict(pubkey, digest, signature)

    other = ec.derive_private_key(secret, ec.SECP256K1())
    assert verdict(pubkey, digest, low(*decode_dss_signature(other.sign(digest, ECDSA))))

    third = ecdsa.SigningKey.from_secret_exponent(secret, curve=ecdsa.SECP256k1)
    assert verdict(pubkey, digest, low(*numbers(third.sign_digest_deterministic(digest))))
    assert third.get_verifying_key().to_string("compressed") == pubkey


@given(secrets, digests, st.integers(0, SIGCHECK_BYTES * 8 - 1))
@settings(max_examples=150)
def test_one_flipped_bit_is_refused_by_all_three(secret: int, digest: bytes, bit: int) -> None:
    pubkey, signature = signed(secret, digest)
    check = bytearray(sig_check(pubkey, digest, signature))
    check[bit // 8] ^= 1 << bit % 8
    assert not verdict(bytes(check[:33]), bytes(check[33:65]), bytes(check[65:]))


@given(secrets, digests)
@settings(max_examples=40)
def test_high_s_is_refused_though_others_accept_it(secret: int, digest: bytes) -> None:
    pubkey, signature = signed(secret, digest)
    r, s = numbers(signature)
    high = pair(r, ORDER - s)
    assert says_openssl(pubkey, digest, high)
    assert not verdict(pubkey, digest, high)


@given(secrets, digests, st.sampled_from([0, ORDER, ORDER + 1, 2**256 - 1, FIELD]))
@settings(max_examples=40)
def test_r_or_s_out_of_range_is_refused_by_all_three(
    secret: int, digest: bytes, number: int
) -> None:
    pubkey, signature = signed(secret, digest)
    r, s = numbers(signature)
    for changed in (pair(number, s), pair(r, number), pair(number, number)):
        assert not verdict(pubkey, digest, changed)


@given(secrets, digests, st.integers(0, 2**256 - 1 - ORDER))
@settings(max_examples=20)
def test_r_and_s_are_not_reduced_by_the_order(secret: int, digest: bytes, small: int) -> None:
    pubkey, signature = signed(secret, digest)
    r, s = numbers(signature)
    assert not verdict(pubkey, digest, pair(ORDER + small, s))
    assert not verdict(pubkey, digest, pair(r, ORDER + small))


@given(secrets, secrets, digests)
@settings(max_examples=40)
def test_another_key_is_refused_by_all_three(secret: int, wrong: int, digest: bytes) -> None:
    pubkey, signature = signed(secret, digest)
    other, _ = signed(wrong, digest)
    assert verdict(other, digest, signature) == (other == pubkey)
    negated = bytes((pubkey[0] ^ 1,)) + pubkey[1:]
    assert not verdict(negated, digest, signature)


@given(st.one_of(st.integers(0, 2**256 - 1), st.integers(FIELD - 40, FIELD + 40)), digests)
@settings(max_examples=80)
def test_key_off_the_curve_is_refused_by_all_three(x: int, digest: bytes) -> None:
    _, signature = signed(7, digest)
    for first in (2, 3):
        pubkey = bytes((first,)) + x.to_bytes(32, "big")
        assert not verdict(pubkey, digest, signature)


@pytest.mark.parametrize("x", [0, 5, FIELD, FIELD + 1, 2**256 - 1])
def test_known_x_without_a_point_is_refused(x: int) -> None:
    pubkey = b"\x02" + x.to_bytes(32, "big")
    with pytest.raises(ecdsa.MalformedPointError):
        ecdsa.VerifyingKey.from_string(pubkey, curve=ecdsa.SECP256k1)
    assert not verdict(pubkey, bytes(32), signed(7, bytes(32))[1])


@pytest.mark.parametrize("first", [0, 1, 4, 5, 6, 7, 0x82, 0xFF])
def test_key_with_another_first_byte_is_refused(first: int) -> None:
    pubkey, signature = signed(7, bytes(32))
    assert not verdict(bytes((first,)) + pubkey[1:], bytes(32), signature)


@pytest.mark.parametrize("digest", [bytes(32), ORDER.to_bytes(32, "big")])
def test_all_three_agree_on_a_digest_of_zero(digest: bytes) -> None:
    pubkey, signature = signed(7, digest)
    negated = bytes((pubkey[0] ^ 1,)) + pubkey[1:]
    assert verdict(pubkey, digest, signature)
    assert verdict(negated, digest, signature)
    x = int.from_bytes(pubkey[1:], "big") % ORDER
    assert verdict(pubkey, digest, low(x, x))  # anyone can make this one, without the secret
    assert not verdict(pubkey, digest, pair(1, 1))


def test_one_bad_signature_among_many_is_enough() -> None:
    checks = []
    for secret in range(1, 9):
        digest = secret.to_bytes(32, "big")
        pubkey, signature = signed(secret, digest)
        checks.append(sig_check(pubkey, digest, signature))
    assert are_signed(checks)
    assert are_signed(())
    for place, check in enumerate(checks):
        wrong = check[:-1] + bytes((check[-1] ^ 1,))
        assert not are_signed([*checks[:place], wrong, *checks[place + 1 :]])


def by_openssl(secret: int, digest: bytes) -> bytes:
    return pair(
        *decode_dss_signature(ec.derive_private_key(secret, ec.SECP256K1()).sign(digest, ECDSA))
    )


def by_ecdsa(secret: int, digest: bytes) -> bytes:
    key = ecdsa.SigningKey.from_secret_exponent(secret, curve=ecdsa.SECP256k1)
    return bytes(key.sign_digest_deterministic(digest))


@pytest.mark.parametrize("sign", [by_openssl, by_ecdsa])
def test_a_spend_signed_by_another_library_is_mined_if_its_s_is_low_and_only_then(
    sign: Callable[[int, bytes], bytes],
) -> None:
    chain = ToyChain()
    chain.fund(ALICE, 4)
    for amount in range(1_000, 1_004):
        ours = chain.pay(ALICE, BOB, amount)
        coins = [chain.coins[spent] for spent in ours.body.inputs]
        (check,) = check_spend(check_tx(ours), coins, chain.supply, chain.context()).checks
        r, s = numbers(sign(int.from_bytes(ALICE.key.secret, "big"), check[33:65]))
        low_tx, high_tx = (
            spend_with(ours, pair(r, s)) for s in (min(s, ORDER - s), max(s, ORDER - s))
        )
        with violates(Rule.BAD_SIGNATURE, Invalid):
            chain.mine([high_tx])
        chain.mine([low_tx])
        assert chain.is_confirmed(ours.txid)


def spend_with(tx: Tx, signature: bytes) -> Tx:
    """A payment by one key with another signature."""
    (witness,) = tx.witnesses
    return make_tx(tx.body, [Witness(witness.lock, (witness.items[0][:1] + signature,))])
