"""Methods: the node itself."""

from __future__ import annotations

import asyncio
from itertools import groupby
from pathlib import Path
from typing import Annotated

import msgspec

from node.backup import BackupRefused
from node.rpc.described import Shown
from node.rpc.errors import Code, RpcError
from node.rpc.json import Json, fragment
from node.rpc.openrpc import Description
from node.rpc.ports import Node
from node.rpc.results.control import BackupInfo, BackupStarted, Document, Readiness


def show_help(node: Node, command: str = "") -> str:
    """All methods, or how to use one."""
    if command:
        method = node.methods.get(command)
        if method is None:
            raise RpcError(Code.METHOD_NOT_FOUND, f"help: unknown method {command[:40]!r}")
        return method.help
    parts = []
    for category, methods in groupby(node.methods.values(), lambda method: method.category):
        parts.append("\n".join([f"== {category} ==", *[method.usage for method in methods]]))
    return "\n\n".join(parts)


async def discover(node: Node) -> Annotated[msgspec.Raw, Shown(Document)]:
    """Every method with its parameters, results and errors, as an OpenRPC document.

    Programs make clients, forms and documentation from it. `x-role` is the role that may call a method.
    """
    shown = node.descriptions.get(node.version)
    if shown is None:
        description = Description()
        for method in node.methods.values():
            description.add(method)
            await asyncio.sleep(0)
        shown = fragment(description.document(node.version))
        node.descriptions.add(node.version, shown, len(bytes(shown)))
    return shown


def stop(node: Node) -> str:
    """Shut the node down in good order; answers before it does."""
    node.stop()
    return "Tael node stopping"


def backup(node: Node, destination: str) -> BackupStarted:
    """Begin to make a backup of the ledger while the node runs; `getbackupinfo` says how it goes.

    `destination` is the absolute path of a directory on the node's machine that does not exist yet,
    outside of its data directory; until the backup is whole its name ends in `.partial`. Blocks, undo
    data and the database are copied, and a list of checksums; not the settings, waiting transactions,
    addresses of peers or certificates. `taeld restore` makes a data directory of it.
    """
    try:
        node.backups.start(Path(destination))
    except BackupRefused as refused:
        raise RpcError(Code.PARAMETER, str(refused)) from None
    return {"destination": destination}


def getbackupinfo(node: Node) -> Annotated[Json, Shown(BackupInfo)]:
    """How far the last backup is: `state` is none, running, done or failed (then `error` says why)."""
    shown: dict[str, Json] = msgspec.to_builtins(node.backups.progress)  # a copy: it goes on
    return shown


def getreadiness(node: Node) -> Readiness:
    """Whether users can be sent to this node: `ready`, or not for these `reasons`.

    Each reason has a `name` for programs (syncing, behind, old-tip, storage, disk, disk-full) and a
    `detail` for people. What is asked of a node are its settings ready-behind, ready-tip-age and
    ready-free-mb. `freebytes` is the room on the disk of the data directory.
    """
    reasons = node.watch.reasons()
    return {
        "ready": not reasons,
        "reasons": [{"name": reason.name, "detail": reason.detail} for reason in reasons],
        "freebytes": node.watch.free_bytes(),
    }


def uptime(node: Node) -> int:
    """Seconds since the node started."""
    return int(node.clock() - node.started)
