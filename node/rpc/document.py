"""docs/rpc.md, written from the table of methods: `python -m node.rpc.document > docs/rpc.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby

from node.rpc.auth import CREDENTIALS_LENGTH_MAX
from node.rpc.described import ByArgument
from node.rpc.dispatch import ANSWER_BYTES_MAX, BATCH_MAX
from node.rpc.errors import MEANINGS
from node.rpc.json import DEPTH_MAX
from node.rpc.limits import Limits
from node.rpc.method import Method, Role, show_default
from node.rpc.methods import METHODS
from node.rpc.schema import all_objects, alternatives, condition, fields_of, first_line, words

_LIMITS = Limits()

_INTRODUCTION = f"""# JSON-RPC

Written from the code by `python -m node.rpc.document`; a test keeps it up to date.

The names and shapes are those of Bitcoin Core wherever it has the same thing, so that its clients work
unchanged. Methods for addresses have the names and the form of question of the coins that have an address
index.

## Calling

    curl --user "$(cat ~/.tael/main/.cookie)" -H 'Content-Type: application/json' \\
      --data '{{"jsonrpc": "2.0", "id": 1, "method": "getblockcount"}}' http://127.0.0.1:9931/

- HTTP POST to `/`; `/wallet/NAME` is the same. The body is one request or an array of up to
  {BATCH_MAX:,}.
- With `"jsonrpc": "2.0"` the answer has either `result` or `error`, and the HTTP status is 200 with
  errors too. Without, it has both (one of them null), and the status is 404 for an unknown method, 400
  for a request that is none, 500 for other errors. Members of an array always get the second form. A 2.0
  request without `id` is a notification: it is run, and not answered (204). What is not JSON at all gets
  a 2.0 error and status 400.
- Parameters come by place (an array) or by name (an object); null means absent. A string is taken for a
  number, a boolean, an array or an object too, as `bitcoin-cli` sends them. A name that a method does not
  know is an error.
- Amounts of the native coin are JSON numbers with exactly 8 decimals, written from integers; a client
  must not read them as floats. They are taken as numbers or strings. `satoshis`, `assetamount` and what
  stands in `assets` are integers of base units.
- Txids, block hashes and asset ids are written in reversed hex, as in the field; locks, the coin-set hash
  and `memo` are not reversed. The empty asset id is the native coin.
- A transaction's size for fees is its *cost* (docs/protocol.md): `vsize` is the cost and `weight` four
  times that. Fee rates are native coins per 1 000 cost.
- `value` is native coin only. Of another asset, `asset` and `assetamount` stand beside a value of zero,
  so that a program that adds up values stays right.
- What a method answers stands under it: a kind of value, or the name of an object of [Objects](#objects). A
  member that is optional is absent, not null.
- `rpc.discover` answers all of this page for programs, as an OpenRPC document with JSON schemas.
- Lists that can grow come in pages: ask again with the `cursor` of the last answer until it is null.
- Requests may be sent without waiting for answers, which come in the order of the requests. What is no
  HTTP is answered with 400 and ends the connection; requests that came just before it may stay
  unanswered, and were not run then. Another version than HTTP/1.0 and HTTP/1.1 is refused (505).
- Of a JSON key that stands twice the last counts. NaN, Infinity and more than {DEPTH_MAX} levels of
  nesting are parse errors.

## Who may call

While it runs, a node keeps a user of role admin in the file `.cookie` of its data directory (mode 0600,
new with every start). Others are set in the configuration, as `rpc-user = ["NAME:SALT$HMAC"]`: the form
of Bitcoin Core's `rpcauth`, HMAC-SHA256 in hex with the salt's text as key and the password as message.
With `:readonly` behind it the user may call only what has role read below, and gets HTTP 403 for the
rest. Choose a long random password: the hash is fast, so that strangers cannot keep the node busy with
wrong ones.

The node listens at 127.0.0.1 unless told otherwise, and speaks plain HTTP: put a TLS proxy before it to
go further. Against pages in a browser on the same machine: a request with an `Origin` is refused (403),
and so is a `Host` that is neither an IP address nor `localhost` nor a name of `rpc-host`; the
`Content-Type` must be `application/json`, `application/json-rpc` or absent (415); only POST is served
(405); no answer has a CORS header.

## Limits

| what | at most |
|---|---|
| request | {_LIMITS.body_bytes >> 20} MiB (413), arriving within {_LIMITS.body_s:.0f} s (408) |
| pause within a request | {_LIMITS.piece_s:.0f} s (408) |
| answer | {ANSWER_BYTES_MAX >> 20} MiB, of an array altogether (−32002); read within {_LIMITS.send_s:.0f} s |
| requests at once | {_LIMITS.calls} (503) |
| connections | {_LIMITS.connections}, fewer where few files may be open; who rests longest makes room |
| rest of a connection | {_LIMITS.idle_s:.0f} s |
| credentials | {CREDENTIALS_LENGTH_MAX:,} characters |
| wrong passwords at once | {_LIMITS.failures_waiting} (429) |
| of one address | {_LIMITS.failures_waiting_per_address} (429); answered after {_LIMITS.failure_delay_s} s |

## Errors

| code | meaning |
|---|---|
"""

_AFTER_ERRORS = """
A rule that refuses a transaction or a block is named first in the message, such as `fee-too-low: 10,
340`; docs/protocol.md lists them. What cannot be decoded answers −22, what is missing −25, all else −26.
"""


_OBJECTS = """
## Objects

Hash is 64 hexadecimal digits; Asset the same, or empty for the native coin; Hex any number of pairs
of digits; Address an address; Coins a number with exactly 8 decimals; Units an integer of base units;
Time seconds since 1970; OpenRPC a document of that standard.
"""


def document() -> str:
    """The whole text."""
    return "".join(_parts())


def _parts() -> Iterator[str]:
    yield _INTRODUCTION
    for code, meaning in MEANINGS.items():
        yield f"| {str(int(code)).replace('-', '−')} | {meaning} |\n"
    yield _AFTER_ERRORS
    yield "\n## Methods\n"
    for category, methods in groupby(METHODS.values(), lambda method: method.category):
        names = ", ".join(f"[{method.name}](#{_anchor(method)})" for method in methods)
        yield f"\n{category.capitalize()}: {names}\n"
    for category, methods in groupby(METHODS.values(), lambda method: method.category):
        yield f"\n## {category.capitalize()}\n"
        for method in methods:
            yield _section(method)
    yield _OBJECTS
    for shape in all_objects(method.result for method in METHODS.values()):
        yield _object(shape)


def _anchor(method: Method) -> str:
    return method.name.replace(".", "")


def _section(method: Method) -> str:
    lines = [f"\n### {method.name}\n", f"\n    {method.usage}\n", f"\n{method.description}\n"]
    if method.role is Role.ADMIN:
        lines.append("\nRole: admin.\n")
    if method.arguments:
        lines.append("\n| parameter | what | default |\n|---|---|---|\n")
    for argument in method.arguments:
        name = " or ".join(f"`{name}`" for name in argument.names)
        default = "required" if argument.required else f"`{show_default(argument)}`"
        lines.append(f"| {name} | {argument.kind} | {default} |\n")
    lines.append(f"\n{_answer(method.result)}")
    return "".join(lines)


def _answer(result: object) -> str:
    if not isinstance(result, ByArgument):
        return f"Answers: {words(result, link)}.\n"
    chosen = [
        f"with {condition(result.argument, values)} {words(shape, link)}"
        for values, shape in alternatives(result)
    ]
    return f"Answers: {'; '.join(chosen)}.\n"


def link(name: str) -> str:
    """The name of an object, linked to what is said of it."""
    return f"[{name}](#{name.lower()})"


def _object(shape: type) -> str:
    lines = [f"\n### {shape.__name__}\n", f"\n{first_line(shape)}\n"]
    lines.append("\n| member | what | |\n|---|---|---|\n")
    for field in fields_of(shape):
        what = words(field.shape, link) + ("" if field.is_required else ", optional")
        lines.append(f"| `{field.name}` | {what} | {field.says} |\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(document())
