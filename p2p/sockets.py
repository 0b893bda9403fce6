"""Sockets that listen at every address that a host name stands for."""

from __future__ import annotations

import asyncio
import socket


async def listening_at(host: str, port: int, backlog: int) -> list[socket.socket]:
    """One for each address, not blocking; of the empty `host` every address of this machine.

    `backlog`: connections that the system keeps until they are accepted.
    Raises: OSError (the port is taken, or there is no such address); then none is left open.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    opened: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            listening = socket.create_server(address, family=family, backlog=backlog)
            listening.setblocking(False)
            opened.append(listening)
    except OSError:
        for listening in opened:
            listening.close()
        raise
    return opened
