"""Parameters, from a signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pytest

from consensus.hashes import AssetId, BlockHash, LockHash, Txid
from consensus.params import AMOUNT_MAX, COIN, REGTEST
from node.rpc.errors import Code, RpcError
from node.rpc.params import Addresses, Also, Amount, Bounds, Verbosity, arguments_of, bind
from tests.support.chain import ALICE, BOB

HASH = "00" * 31 + "ff"
BOTH = tuple(sorted((ALICE.lock, BOB.lock)))


def read(hint: Any, value: object) -> object:
    """`value` as a method with one parameter of type `hint` gets it."""

    def method(node: object, it: object) -> None: ...

    method.__annotations__["it"] = hint
    (result,) = bind(arguments_of(method), [value], REGTEST)
    return result


@pytest.mark.parametrize(
    ("hint", "given", "wanted"),
    [
        (int, 5, 5), (int, "5", 5), (int, "-5", -5),
        (bool, True, True), (bool, "false", False), (bool, 1, True), (bool, "0", False),
        (str, "x", "x"),
        (bytes, "00fF", b"\x00\xff"), (bytes, "", b""),
        (Txid, HASH, b"\xff" + bytes(31)), (BlockHash, HASH.upper(), b"\xff" + bytes(31)),
        (AssetId, "", b""), (AssetId, "TAEL", b""), (AssetId, HASH, b"\xff" + bytes(31)),
        (Verbosity, True, 1), (Verbosity, 2, 2), (Verbosity, "1", 1), (Verbosity, "true", 1),
        (Verbosity, 9, 2),
        (LockHash, ALICE.address(), ALICE.lock), (LockHash, ALICE.address().upper(), ALICE.lock),
        (list[int], [1, "2"], [1, 2]), (list[int], "[1, 2]", [1, 2]),
        (Mapping[str, object], {"a": 1}, {"a": 1}), (Mapping[str, object], '{"a": 1}', {"a": 1}),
        (Amount, 2, 2 * COIN), (Amount, "0.00000001", 1), (Amount, "92233720368.54775807", AMOUNT_MAX),
        (Amount, 0, 0), (int | None, 3, 3), (Annotated[int, Bounds(1, 9)], "9", 9),
        (Addresses, ALICE.address(), Addresses((ALICE.lock,))),
        (Addresses, {"addresses": [ALICE.address(), BOB.address()]}, Addresses(BOTH)),
        (Addresses, [BOB.address(), ALICE.address()], Addresses(BOTH)),
        (Addresses, f'{{"addresses": ["{ALICE.address()}"]}}', Addresses((ALICE.lock,))),
        (Addresses, [ALICE.address()] * 2, Addresses((ALICE.lock,))),
        (Addresses, {"addresses": ALICE.address(), "limit": "7", "cursor": "00ff"},
         Addresses((ALICE.lock,), 7, b"\x00\xff")),
    ],
)  # fmt: skip
def test_a_fitting_value_is_read_also_from_a_string(
    hint: Any, given: object, wanted: object
) -> None:
    assert read(hint, given) == wanted


@pytest.mark.parametrize(
    ("hint", "given", "code"),
    [
        (int, True, Code.INVALID_PARAMS), (int, "1.0", Code.INVALID_PARAMS),
        (int, "0x10", Code.INVALID_PARAMS), (int, [], Code.INVALID_PARAMS),
        (int, 2**60, Code.PARAMETER), (int, "١", Code.INVALID_PARAMS),
        (bool, 2, Code.INVALID_PARAMS), (bool, "yes", Code.INVALID_PARAMS),
        (str, 1, Code.INVALID_PARAMS), (str, {}, Code.INVALID_PARAMS),
        (bytes, "0", Code.DESERIALIZATION), (bytes, "zz", Code.DESERIALIZATION),
        (bytes, "00 ", Code.DESERIALIZATION), (bytes, "00  00", Code.DESERIALIZATION),
        (bytes, "٠٠", Code.DESERIALIZATION), (Txid, "00 " * 21 + "0", Code.PARAMETER),
        (Txid, " " * 64, Code.PARAMETER), (bytes, 1, Code.INVALID_PARAMS),
        (bytes, "00" * 4_000_002, Code.DESERIALIZATION),
        (Txid, "00", Code.PARAMETER), (Txid, "zz" * 32, Code.PARAMETER), (Txid, 7, Code.INVALID_PARAMS),
        (LockHash, "rtael1qqqq", Code.ADDRESS_OR_KEY), (LockHash, 7, Code.INVALID_PARAMS),
        (LockHash, ALICE.address().replace("rtael", "tael"), Code.ADDRESS_OR_KEY),
        (list[int], "x", Code.INVALID_PARAMS), (list[int], {}, Code.INVALID_PARAMS),
        (list[int], [[]], Code.INVALID_PARAMS), (list[int], [1] * 1_001, Code.PARAMETER),
        (Mapping[str, object], [], Code.INVALID_PARAMS),
        (Amount, True, Code.INVALID_PARAMS), (Amount, "-1", Code.INVALID_PARAMS),
        (Amount, "1e3", Code.INVALID_PARAMS), (Amount, "0.000000001", Code.INVALID_PARAMS),
        (Amount, -1, Code.PARAMETER), (Amount, 10**12, Code.PARAMETER), (Amount, 10**30, Code.PARAMETER),
        (Annotated[int, Bounds(1, 9)], 10, Code.PARAMETER),
        (Addresses, {"address": []}, Code.INVALID_PARAMS), (Addresses, [], Code.PARAMETER),
        (Addresses, 5, Code.INVALID_PARAMS), (Addresses, ["x"], Code.ADDRESS_OR_KEY),
        (Addresses, [ALICE.address()] * 101, Code.PARAMETER), (Addresses, {}, Code.INVALID_PARAMS),
        (Addresses, {"addresses": [ALICE.address()], "limit": 1_001}, Code.PARAMETER),
        (Addresses, {"addresses": [ALICE.address()], "cursor": "x"}, Code.DESERIALIZATION),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_the_name_of_the_parameter(
    hint: Any, given: object, code: Code
) -> None:
    with pytest.raises(RpcError) as caught:
        read(hint, given)
    assert caught.value.code is code
    assert "`it`" in caught.value.message


def example(node: object, first: int, second: Annotated[bool, Also("verbose")] = True) -> None:
    """A method."""


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([1], [1, True]), ([1, None], [1, True]), ([1, False], [1, False]),
        ({"first": 1}, [1, True]), ({"second": False, "first": 1}, [1, False]),
        ({"verbose": False, "first": 1}, [1, False]),
    ],
)  # fmt: skip
def test_parameters_come_by_place_or_by_name(given: object, wanted: list[object]) -> None:
    assert bind(arguments_of(example), given, REGTEST) == wanted


@pytest.mark.parametrize(
    "given",
    [None, [], [None], [1, True, 3], {"first": 1, "third": 3}, {"second": True},
     {"first": 1, "second": True, "verbose": True}],
)  # fmt: skip
def test_a_call_that_does_not_fit_the_signature_is_refused(given: object) -> None:
    with pytest.raises(RpcError) as caught:
        bind(arguments_of(example), given, REGTEST)
    assert caught.value.code is Code.INVALID_PARAMS
