"""Parameters of a method, derived from its signature: how each is read, checked and described.

`bitcoin-cli` sends every argument of a method it does not know as a string, so a string is taken for
an integer, a boolean, an array or an object too. A parameter of the wrong type answers −32602, one
with an impossible value −8, and the message names it.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, NewType, Union, get_args, get_origin, get_type_hints

from consensus.address import AddressError, decode_address
from consensus.hashes import HASH_BYTES, AssetId, BlockHash, LockHash, Txid
from consensus.params import AMOUNT_MAX, BLOCK_BYTES_MAX, COIN, Params
from consensus.tx import NATIVE
from node.rpc import json
from node.rpc.errors import Code, RpcError

INTEGER_MAX = 2**53 - 1
"""Beyond this a client that reads numbers as doubles would mean another one."""
ITEMS_MAX = 1_000
"""Elements of an array."""
ADDRESSES_MAX = 100
AMOUNT_KIND = "amount"

Amount = NewType("Amount", int)
"""Base units of the native coin; written as coins, as a number or a string."""
HashOrHeight = NewType("HashOrHeight", str)
"""A block hash, or the height of a block of the best chain as a number or in digits."""
ScriptHash = NewType("ScriptHash", bytes)
"""32 bytes, the SHA-256 of a script; the text form is reversed hex."""


class Verbosity(enum.IntEnum):
    """0, 1 or 2; also false and true. More is taken for 2."""

    HEX = 0
    BRIEF = 1
    FULL = 2


class Addresses(NamedTuple):
    """`{"addresses": [...], "limit": 100, "cursor": "…"}`, an array of addresses, or one address."""

    locks: tuple[LockHash, ...]
    """In ascending order, each once."""
    limit: int | None = None
    cursor: bytes | None = None


class Bounds(NamedTuple):
    """`Annotated[int, Bounds(low, high)]`: an integer in this range."""

    low: int
    high: int


PAGE = Bounds(1, 1_000)
"""How many entries of a list a client may ask for at once."""


class Also(NamedTuple):
    """`Annotated[X, Also("verbose")]`: another name by which clients call the parameter."""

    name: str


class _Wrong(Exception):
    """A value that cannot be read. The wrong kind of JSON, unless `code` says otherwise."""

    def __init__(self, message: str, code: Code = Code.INVALID_PARAMS) -> None:
        super().__init__(message)
        self.code = code


Read = Callable[[object, Params], Any]


class Kind(NamedTuple):
    """What a type of parameters is, for people and for programs."""

    words: str
    read: Read
    schema: Mapping[str, object]
    """JSON schema of its plain form; a string that holds the same is read too."""
    python: str
    """The annotation under which the typed client takes it."""
    codes: tuple[Code, ...] = ()
    """What an impossible value may answer, beside −32602 for one of a wrong type."""


class Argument(NamedTuple):
    """One parameter of a method."""

    name: str
    names: tuple[str, ...]
    type: Kind
    required: bool
    default: object

    @property
    def kind(self) -> str:
        """What it is, for people."""
        return self.type.words


def arguments_of(function: Callable[..., object]) -> tuple[Argument, ...]:
    """The parameters of a method: those of its function behind the first, which is the node."""
    hints = get_type_hints(function, include_extras=True)
    made = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        hint = hints[parameter.name]
        aliases = [m.name for m in getattr(hint, "__metadata__", ()) if isinstance(m, Also)]
        required = parameter.default is inspect.Parameter.empty
        made.append(
            Argument(
                parameter.name, (parameter.name, *aliases), _kind(hint), required,
                None if required else parameter.default,
            )
        )  # fmt: skip
    return tuple(made)


def bind(arguments: Sequence[Argument], given: object, network: Params) -> list[object]:
    """The values of a call, in the order of `arguments`. Raises: RpcError, naming the parameter."""
    values: list[object] = []
    for argument, value in zip(arguments, _in_order(arguments, given), strict=True):
        if value is None:
            if argument.required:
                raise RpcError(Code.INVALID_PARAMS, f"`{argument.name}` is missing")
            values.append(argument.default)
            continue
        try:
            values.append(argument.type.read(value, network))
        except _Wrong as wrong:
            raise RpcError(wrong.code, f"`{argument.name}` {wrong}") from None
    return values


def _in_order(arguments: Sequence[Argument], given: object) -> list[object]:
    """What is given for each argument. Null counts as absent."""
    if isinstance(given, dict):
        named = _by_name(arguments, given)
        return [named.get(argument.name) for argument in arguments]
    assert given is None or isinstance(given, list)
    values = given or []
    if len(values) > len(arguments):
        raise RpcError(
            Code.INVALID_PARAMS, f"{len(values)} parameters, at most {len(arguments)} are known"
        )
    return values + [None] * (len(arguments) - len(values))


def _by_name(arguments: Sequence[Argument], given: Mapping[str, object]) -> dict[str, object]:
    """Values by the names of the arguments, whatever names they were given under."""
    known = {alias: a.name for a in arguments for alias in a.names}
    named: dict[str, object] = {}
    for key, value in given.items():
        if key not in known:
            raise RpcError(Code.INVALID_PARAMS, f"no parameter is called `{key[:40]}`")
        if known[key] in named:
            raise RpcError(Code.INVALID_PARAMS, f"`{known[key]}` is given twice")
        named[known[key]] = value
    return named


def _kind(hint: Any) -> Kind:
    """The kind of parameters of a type."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *metadata = get_args(hint)
        for item in metadata:
            if isinstance(item, Bounds):
                schema = {"type": "integer", "minimum": item.low, "maximum": item.high}
                name = f"integer from {item.low} to {item.high}"
                return Kind(name, _bounded(item), schema, "int", (Code.PARAMETER,))
        return _kind(inner)
    if origin in (Union, UnionType):
        (inner,) = [each for each in get_args(hint) if each is not NoneType]
        return _kind(inner)
    if origin is list:
        item = _kind(get_args(hint)[0])
        schema = {"type": "array", "items": item.schema, "maxItems": ITEMS_MAX}
        codes = (Code.PARAMETER, *item.codes)
        name, python = f"array of {item.words}", f"Sequence[{item.python}]"
        return Kind(name, _array(item.read), schema, python, codes)
    return _KINDS[hint]


def _unwrap(value: object) -> object:
    """A string that holds JSON as the value it holds."""
    if isinstance(value, str):
        try:
            return json.decode(value)
        except json.JsonError:
            return value
    return value


def _integer(value: object, network: Params) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,16}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Wrong("must be an integer")
    if abs(value) > INTEGER_MAX:
        raise _Wrong("is out of range", Code.PARAMETER)
    return value


def _bounded(bounds: Bounds) -> Callable[[object, Params], int]:
    def read(value: object, network: Params) -> int:
        number = _integer(value, network)
        if not bounds.low <= number <= bounds.high:
            raise _Wrong(f"must be from {bounds.low} to {bounds.high}", Code.PARAMETER)
        return number

    return read


def _boolean(value: object, network: Params) -> bool:
    found = {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())
    if found is None or not isinstance(value, bool | int | str):
        raise _Wrong("must be true or false")
    return found


def _text(value: object, network: Params) -> str:
    if not isinstance(value, str):
        raise _Wrong("must be a string")
    return value


def _verbosity(value: object, network: Params) -> Verbosity:
    if isinstance(value, bool) or value in ("true", "false"):
        return Verbosity(_boolean(value, network))
    return Verbosity(max(0, min(2, _integer(value, network))))


def _anything(value: object, network: Params) -> object:
    return value


def _hash_or_height(value: object, network: Params) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,10}|[0-9a-fA-F]{64}", text):
        raise _Wrong("must be a height or a block hash", Code.PARAMETER)
    return text


def _digest(value: object, network: Params) -> bytes:
    digest = _unhex(_text(value, network))
    if digest is None or len(digest) != HASH_BYTES:
        raise _Wrong(f"must be {2 * HASH_BYTES} hexadecimal digits", Code.PARAMETER)
    return digest[::-1]


def _asset(value: object, network: Params) -> bytes:
    if value in ("", network.ticker.decode()):
        return NATIVE
    return _digest(value, network)


def _hex(value: object, network: Params) -> bytes:
    text = _text(value, network)
    if len(text) > 2 * BLOCK_BYTES_MAX + 2:
        raise _Wrong("is larger than any block", Code.DESERIALIZATION)
    data = _unhex(text)
    if data is None:
        raise _Wrong("must be hexadecimal, two digits a byte", Code.DESERIALIZATION)
    return data


def _unhex(text: str) -> bytes | None:
    """The bytes that a text spells in hex, two digits each and nothing between; else None."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    return data if 2 * len(data) == len(text) else None  # `fromhex` passes over spaces


def _amount(value: object, network: Params) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,8})?", value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _Wrong("must be an amount, a number or a string with up to 8 decimals")
    if isinstance(value, int):
        value = Decimal(value) if abs(value) <= AMOUNT_MAX else Decimal(-1)
    # By its digits first: 1e999999 has few, and a million as an integer.
    if not -8 <= value.adjusted() <= 12 or value.is_signed():
        if value == 0:
            return 0
        raise _Wrong("is not an amount that can exist", Code.PARAMETER)
    units = value * COIN
    if units != units.to_integral_value() or units > AMOUNT_MAX:
        raise _Wrong("is not an amount with at most 8 decimals", Code.PARAMETER)
    return int(units)


def _address(value: object, network: Params) -> LockHash:
    try:
        return decode_address(network.hrp.decode(), _text(value, network))
    except AddressError as error:
        raise _Wrong(f"is not an address: {error}", Code.ADDRESS_OR_KEY) from None


def _addresses(value: object, network: Params) -> Addresses:
    value = _unwrap(value)
    options: dict[str, object] = {}
    if isinstance(value, dict):
        options, value = value, value.get("addresses")
        if not set(options) <= {"addresses", "limit", "cursor"}:
            raise _Wrong("knows addresses, limit and cursor, and nothing else")
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise _Wrong('must be an address, an array of them, or {"addresses": [...]}')
    if not 1 <= len(items) <= ADDRESSES_MAX:
        raise _Wrong(f"must hold 1 to {ADDRESSES_MAX} addresses", Code.PARAMETER)
    limit, cursor = options.get("limit"), options.get("cursor")
    return Addresses(
        tuple(sorted({_address(item, network) for item in items})),
        None if limit is None else _bounded(PAGE)(limit, network),
        None if cursor is None else _hex(cursor, network),
    )


def _object(value: object, network: Params) -> Mapping[str, object]:
    value = _unwrap(value)
    if not isinstance(value, dict):
        raise _Wrong("must be an object")
    return value


def _array(read: Read) -> Read:
    def read_all(value: object, network: Params) -> list[object]:
        items = _unwrap(value)
        if not isinstance(items, list):
            raise _Wrong("must be an array")
        if len(items) > ITEMS_MAX:
            raise _Wrong(f"must have at most {ITEMS_MAX} elements", Code.PARAMETER)
        return [read(item, network) for item in items]

    return read_all


_HASH = {"type": "string", "pattern": f"^[0-9a-fA-F]{{{2 * HASH_BYTES}}}$"}
_ASSET = {
    "type": "string",
    "description": "64 hexadecimal digits; empty or the ticker: the native coin",
}
_HEX = {"type": "string", "pattern": "^([0-9a-fA-F]{2})*$"}
_ADDRESS = {"type": "string", "description": "an address of this network"}
_ADDRESS_LIST = {"type": "array", "items": _ADDRESS, "minItems": 1, "maxItems": ADDRESSES_MAX}
_ADDRESSES = {
    "anyOf": [
        {
            "type": "object",
            "properties": {
                "addresses": {"anyOf": [_ADDRESS_LIST, _ADDRESS]},
                "limit": {"type": "integer", "minimum": PAGE.low, "maximum": PAGE.high},
                "cursor": _HEX,
            },
            "required": ["addresses"],
            "additionalProperties": False,
        },
        _ADDRESS_LIST,
        _ADDRESS,
    ]
}
_VERBOSITY = {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}
_HEIGHT_OR_HASH = {"anyOf": [{"type": "integer", "minimum": 0}, _HASH]}
_AMOUNT = {"type": "number", "minimum": 0, "description": "native coins, with up to 8 decimals"}

_KINDS: Mapping[object, Kind] = {
    int: Kind("integer", _integer, {"type": "integer"}, "int", (Code.PARAMETER,)),
    bool: Kind("boolean", _boolean, {"type": "boolean"}, "bool"),
    str: Kind("text", _text, {"type": "string"}, "str"),
    bytes: Kind("hex", _hex, _HEX, "str", (Code.DESERIALIZATION,)),
    Txid: Kind("txid", _digest, _HASH, "str", (Code.PARAMETER,)),
    BlockHash: Kind("block hash", _digest, _HASH, "str", (Code.PARAMETER,)),
    AssetId: Kind("asset id", _asset, _ASSET, "str", (Code.PARAMETER,)),
    LockHash: Kind("address", _address, _ADDRESS, "str", (Code.ADDRESS_OR_KEY,)),
    Amount: Kind(AMOUNT_KIND, _amount, _AMOUNT, "Decimal", (Code.PARAMETER,)),
    HashOrHeight: Kind(
        "height or block hash", _hash_or_height, _HEIGHT_OR_HASH, "int | str", (Code.PARAMETER,)
    ),
    Verbosity: Kind(
        "0, 1 or 2 (less is taken for 0, more for 2), or a boolean", _verbosity, _VERBOSITY, "int",
        (Code.PARAMETER,),
    ),
    Addresses: Kind(
        "addresses", _addresses, _ADDRESSES, "Addresses", (Code.PARAMETER, Code.ADDRESS_OR_KEY)
    ),
    ScriptHash: Kind("script hash", _digest, _HASH, "str", (Code.PARAMETER,)),
    object: Kind("anything", _anything, {}, "object"),
    Mapping[str, object]: Kind("object", _object, {"type": "object"}, "Mapping[str, object]"),
}  # fmt: skip
"""Every type that a parameter can have."""
