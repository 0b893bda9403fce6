"""Methods: the node itself."""

from __future__ import annotations

from itertools import groupby

from node.rpc.errors import Code, RpcError
from node.rpc.json import Json
from node.rpc.ports import Node


def show_help(node: Node, command: str = "") -> Json:
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


def stop(node: Node) -> Json:
    """Shut the node down in good order; answers before it does."""
    node.stop()
    return "Tael node stopping"


def uptime(node: Node) -> Json:
    """Seconds since the node started."""
    return int(node.clock() - node.started)
