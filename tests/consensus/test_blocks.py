"""Rules of a block on its own: its bytes, its root, its cost and its coinbase."""

from __future__ import annotations

import pytest

from consensus.block import (
    Block,
    BlockParts,
    block_pieces,
    block_root,
    decode_block,
    decode_header,
    encode_block,
    transactions_root,
    tree_root,
)
from consensus.block_rules import TRANSACTIONS_MAX, BlockCheck, check_block
from consensus.codec import encode
from consensus.errors import DecodeError, Invalid, Rule, Violation
from consensus.hashes import AssetId, hash_leaf, hash_node, sha256d
from consensus.params import BLOCK_BYTES_MAX, BLOCK_COST_MAX
from consensus.tx import (
    NATIVE,
    AssetDefinition,
    Body,
    Height,
    Issue,
    Key,
    Pruned,
    Transaction,
    Tx,
    TxOut,
    Witness,
    make_coinbase,
    make_tx,
    outpoint,
)
from tests.support.chain import ALICE, BOB, ToyChain, rebuilt
from tests.support.verdicts import violates

EXTRANONCE = bytes(8)


def unsigned(number: int, version: int = 1, outputs: int = 1) -> Tx:
    """A transaction that keeps the rules without context, unless another version is asked for."""
    body = Body(
        version,
        (outpoint(number.to_bytes(32, "big"), 0),),
        (TxOut(NATIVE, 1, BOB.lock),) * outputs,
        (),
        Height(0),
    )
    return make_tx(body, (Witness(Key(ALICE.pubkey), (b"\x01" + bytes(64),)),))


def block_of(txs: list[Tx]) -> Block:
    """A solved block of exactly these transactions."""
    return rebuilt(ToyChain().template(), lambda _: txs)


def with_txs(block: Block, txs: list[Tx]) -> bytes:
    """Other transactions under the same header."""
    return encode_block(block.header, txs)


@pytest.fixture(scope="module")
def block() -> Block:
    return ToyChain().template([unsigned(number) for number in range(5)])


def test_block_decodes_to_what_was_encoded(block: Block) -> None:
    assert decode_block(block.raw) == block
    assert check_block(block.raw).block == block


@pytest.mark.parametrize("size", [0, 79, 81])
def test_header_of_another_size_is_refused(size: int) -> None:
    with violates(Rule.HEADER_SIZE, DecodeError):
        decode_header(bytes(size))


def test_block_without_transactions_is_refused(block: Block) -> None:
    with violates(Rule.BLOCK_EMPTY, Invalid):
        check_block(with_txs(block, []))


def test_block_above_the_byte_limit_is_refused_before_it_is_decoded() -> None:
    with violates(Rule.OVERSIZED, DecodeError):
        check_block(b"\xc1" * (BLOCK_BYTES_MAX + 1))
    with violates(Rule.MALFORMED, DecodeError):
        check_block(b"\xc1" * BLOCK_BYTES_MAX)


def test_block_with_a_wide_array_header_is_not_canonical(block: Block) -> None:
    header, count, *txs = block_pieces(block.header.raw, [tx.raw for tx in block.txs])[1:]
    assert count == b"\x96"
    for wide in (b"\xdc\x00\x06", b"\xdd\x00\x00\x00\x06"):
        with violates(Rule.NON_CANONICAL, DecodeError):
            check_block(b"".join((b"\x92", header, wide, *txs)))
        with violates(Rule.NON_CANONICAL, DecodeError):
            decode_block(b"".join((b"\x92", header, wide, *txs)))


def test_every_mutation_of_the_list_of_transactions_is_a_wrong_root(block: Block) -> None:
    coinbase, *others = block.txs
    doubled = [coinbase, *others, others[-1]]  # CVE-2012-2459 doubled the last of an odd number
    swapped = [coinbase, others[1], others[0], *others[2:]]
    fewer = [coinbase, *others[:-1]]
    witness = make_tx(others[0].body, (Witness(Key(BOB.pubkey), others[0].witnesses[0].items),))
    rolled = make_coinbase(1, coinbase.body.outputs, b"rollings")
    for mutated in (doubled, swapped, fewer, [coinbase, witness, *others[1:]], [rolled, *others]):
        with violates(Rule.BLOCK_ROOT, Invalid):
            check_block(with_txs(block, mutated))
    assert check_block(block.raw).block.header.hash == block.header.hash


def test_a_spoiled_transaction_says_nothing_of_the_block_that_the_header_means(
    block: Block,
) -> None:
    # Whoever spoils a transaction on the way must not make the honest header look invalid.
    coinbase, *others = block.txs
    two_coinbases = [coinbase, coinbase, *others]
    bad_version = [coinbase, unsigned(7, version=2), *others[1:]]
    bad_coinbase = [make_coinbase(1, [TxOut(AssetId(bytes(32)), 1, BOB.lock)], EXTRANONCE), *others]
    too_dear = [coinbase, *[unsigned(number, outputs=480) for number in range(45)]]
    for spoiled in (two_coinbases, others, bad_version, bad_coinbase, too_dear):
        check = BlockCheck(with_txs(block, spoiled))
        with pytest.raises(Invalid):
            check.step(2 * BLOCK_COST_MAX)
        assert not check.is_of_header()
    assert BlockCheck(block.raw).is_of_header()


def test_a_broken_rule_under_a_fitting_root_condemns_the_header() -> None:
    block = rebuilt(ToyChain().template(), lambda txs: [*txs, unsigned(1, version=2)])
    check = BlockCheck(block.raw)
    with violates(Rule.TX_VERSION, Invalid):
        check.step(BLOCK_COST_MAX)
    assert check.is_of_header()


@pytest.mark.parametrize("step", [1, 1_000, 150_000, BLOCK_COST_MAX])
def test_no_size_of_the_steps_lets_a_bad_block_pass(step: int) -> None:
    dear = [unsigned(number, outputs=480) for number in range(45)]
    wrong = rebuilt(ToyChain().template(), lambda txs: [*txs, *dear, unsigned(99, version=2)])
    check = BlockCheck(wrong.raw)
    with pytest.raises(Invalid):
        list(iter(lambda: check.step(step), True))


def test_more_transactions_than_a_block_can_pay_for_are_refused_unseen(block: Block) -> None:
    tiny = Transaction(unsigned(1).body, ())
    raw = encode(BlockParts(block.header.raw, (tiny,) * (TRANSACTIONS_MAX + 1)))
    with violates(Rule.BLOCK_COST, Invalid):
        BlockCheck(raw)


def test_a_check_in_small_steps_gives_the_same_block(block: Block) -> None:
    check = BlockCheck(block.raw)
    steps = 1
    while not check.step(1):
        steps += 1
    assert steps >= len(block.txs)
    assert check.finish() == check_block(block.raw)


# Shape of the coinbase


def with_coinbase(coinbase: Tx) -> bytes:
    return ToyChain().template(coinbase=coinbase).raw


def coinbase_of(
    witnesses: tuple[Witness, ...] = (Witness(Pruned(bytes(32)), (EXTRANONCE,)),),
    outputs: tuple[TxOut, ...] = (TxOut(NATIVE, 1, BOB.lock),),
    version: int = 1,
    issuances: tuple[Issue, ...] = (),
) -> Tx:
    return make_tx(Body(version, (), outputs, issuances, Height(1)), witnesses)


def test_coinbase_of_the_fixed_shape_passes() -> None:
    assert check_block(with_coinbase(coinbase_of())).coinbase == coinbase_of()
    assert check_block(with_coinbase(coinbase_of(outputs=()))).txs == ()


def test_coinbase_of_another_version_is_refused() -> None:
    with violates(Rule.TX_VERSION, Invalid):
        check_block(with_coinbase(coinbase_of(version=0)))


@pytest.mark.parametrize(
    "witnesses",
    [
        (),
        (Witness(Pruned(bytes(32)), ()),),
        (Witness(Pruned(bytes(32)), (bytes(7),)),),
        (Witness(Pruned(bytes(32)), (bytes(9),)),),
        (Witness(Pruned(bytes(32)), (bytes(8), bytes(8))),),
        (Witness(Pruned(bytes(32)), (bytes(8), b"")),),
        (Witness(Pruned(bytes(31) + b"\1"), (bytes(8),)),),
        (Witness(Key(ALICE.pubkey), (bytes(8),)),),
        (Witness(Pruned(bytes(32)), (bytes(8),)),) * 2,
    ],
)
def test_coinbase_witness_of_another_shape_is_refused(witnesses: tuple[Witness, ...]) -> None:
    with violates(Rule.COINBASE_SHAPE, Invalid):
        check_block(with_coinbase(coinbase_of(witnesses)))


def test_coinbase_that_issues_an_asset_is_refused() -> None:
    issue = Issue(0, AssetDefinition(b"GOLD", b"Gold", 0, b"", False), 1)
    with violates(Rule.COINBASE_SHAPE, Invalid):
        check_block(with_coinbase(coinbase_of(issuances=(issue,))))


def test_coinbase_that_pays_an_asset_is_refused() -> None:
    with violates(Rule.COINBASE_ASSET, Invalid):
        check_block(with_coinbase(coinbase_of(outputs=(TxOut(AssetId(b"a" * 32), 1, BOB.lock),))))


@pytest.mark.parametrize("amount", [0, -1, 2**63, 2**64 - 1])
def test_coinbase_amount_out_of_range_is_refused(amount: int) -> None:
    with violates(Rule.OUTPUT_AMOUNT_RANGE, Invalid):
        check_block(with_coinbase(coinbase_of(outputs=(TxOut(NATIVE, amount, BOB.lock),))))


def test_coinbase_memo_above_128_bytes_is_refused() -> None:
    for size in (128, 129):
        raw = with_coinbase(coinbase_of(outputs=(TxOut(NATIVE, 1, BOB.lock, bytes(size)),)))
        if size == 128:
            check_block(raw)
        else:
            with violates(Rule.OUTPUT_MEMO_SIZE, Invalid):
                check_block(raw)


def test_block_without_a_coinbase_or_with_two_is_refused() -> None:
    one, other = coinbase_of(), coinbase_of(outputs=())
    for txs in ([unsigned(1)], [one, other], [unsigned(1), one], [one, unsigned(1), other]):
        with violates(Rule.COINBASE_MISPLACED, Invalid):
            check_block(block_of(txs).raw)


def test_extranonce_is_the_tail_of_the_coinbase() -> None:
    # A miner rolls it in place: the bytes before it never change.
    first, second = (
        make_coinbase(7, coinbase_of().body.outputs, nonce) for nonce in (b"a" * 8, b"b" * 8)
    )
    assert first.raw[:-8] == second.raw[:-8]
    assert (first.raw[-8:], second.raw[-8:]) == (b"a" * 8, b"b" * 8)
    assert first.txid == second.txid
    assert first.wtxid != second.wtxid


# Cost


def test_block_may_cost_exactly_the_limit_and_no_more() -> None:
    dear = [unsigned(number, outputs=480) for number in range(40)]
    base = check_block(block_of([coinbase_of(), *dear]).raw).cost
    # An output of a coinbase costs 200: what it takes, and what it adds to the state.
    for spare in (0, 1):
        outputs = (TxOut(NATIVE, 1, BOB.lock),) * ((BLOCK_COST_MAX - base) // 200 + 1 + spare)
        block = block_of([coinbase_of(outputs=outputs), *dear])
        if not spare:
            assert BLOCK_COST_MAX - 200 < check_block(block.raw).cost <= BLOCK_COST_MAX
        else:
            with violates(Rule.BLOCK_COST, Invalid):
                check_block(block.raw)


# The root


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, in its own recursive words."""
    if len(leaves) == 1:
        return hash_leaf(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hash_node(naive_root(leaves[:split]) + naive_root(leaves[split:]))


def test_tree_is_that_of_rfc_6962() -> None:
    leaves = [bytes((number,)) * 64 for number in range(70)]
    for count in range(1, 71):
        assert tree_root(leaves[:count]) == naive_root(leaves[:count])


def test_no_two_lists_of_leaves_share_a_root() -> None:
    # The last leaf doubled (CVE-2012-2459), an inner node as a leaf (CVE-2017-12842).
    a, b, c = (bytes((number,)) * 64 for number in range(3))
    pair = hash_leaf(a) + hash_leaf(b)
    lists: list[list[bytes]] = [
        [], [b""], [a], [a, a], [a, b], [a, b, c], [a, b, c, c], [a, b, c, c, c, c], [pair],
        [pair, c], [hash_node(pair), c], [hash_leaf(a), hash_leaf(b)],
    ]  # fmt: skip
    assert len({tree_root(leaves) for leaves in lists}) == len(lists)


def test_root_is_one_branch_of_one_step_to_a_miner(block: Block) -> None:
    coinbase, *others = block.txs
    root = sha256d(sha256d(coinbase.raw) + transactions_root(others))
    assert root == block.header.root == block_root(coinbase.raw, transactions_root(others))


def test_root_commits_to_every_witness_and_the_order(block: Block) -> None:
    _, first, *rest = block.txs
    other = make_tx(first.body, (Witness(Key(BOB.pubkey), first.witnesses[0].items),))
    assert other.txid == first.txid
    roots = {transactions_root(txs) for txs in ([first, *rest], [other, *rest], [*rest, first])}
    assert len(roots) == 3


def test_block_with_surplus_fields_or_bytes_is_refused(block: Block) -> None:
    header = encode(block.header.raw)
    txs = encode_block(block.header, block.txs)[1 + len(header) :]
    with violates(Rule.NON_CANONICAL, DecodeError):
        check_block(b"\x93" + header + txs + b"\x00")
    with violates(Rule.MALFORMED, DecodeError):
        check_block(block.raw + b"\x00")
    with violates(Rule.MALFORMED, DecodeError):
        check_block(block.raw[:-1])
    with violates(Rule.MALFORMED, DecodeError):
        check_block(b"")


def test_a_flipped_byte_anywhere_in_a_block_is_refused_or_another_header() -> None:
    block = ToyChain().template([unsigned(1)])
    for place in range(len(block.raw)):
        changed = bytearray(block.raw)
        changed[place] ^= 0x01
        if place in range(3, 39) or place in range(71, 83):  # the header outside its root
            assert decode_block(bytes(changed)).header.hash != block.header.hash
            continue
        with pytest.raises(Violation) as caught:
            check_block(bytes(changed))
        assert isinstance(caught.value, (DecodeError, Invalid))
