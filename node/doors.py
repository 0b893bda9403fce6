"""Servers beside the JSON-RPC, each off unless an option names where it listens.

They open when the node is ready, and close before anything that they ask is closed. To add one: a
module that speaks its protocol, its option in node/config.py and node/options.py, and its lines below.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import NamedTuple, Protocol

from node.config import ConfigError, Settings
from node.database import Database
from node.descriptors import Shares
from node.electrum.server import ElectrumServer
from node.rpc import ports
from node.rpc.auth import Authenticator
from node.stratum.server import StratumServer
from node.zmq_topics import ZmqPublisher
from p2p.ports import Endpoint

ELECTRUM_FOLDER = "electrum"


class Door(Protocol):
    """Listens somewhere and answers from what the node knows."""

    @property
    def option(self) -> str:
        """The option that asks for it, without hyphens before it."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens; once started, with the port that it has."""

    async def start(self) -> None:
        """Raises: OSError (the port is taken)."""

    async def close(self) -> None: ...


class House(NamedTuple):
    """What doors are made of."""

    settings: Settings
    node: ports.Node
    authenticator: Authenticator
    """Knows who may do more than look, also after a configuration was read again."""
    shares: Shares
    """How many connections each door may hold."""
    monotonic: Callable[[], float]
    """Seconds since some moment; never goes back."""
    open_database: Callable[[str], Database]
    """A database of a door's own in the data directory, by the name of its folder. Raises: StorageError."""


def make_doors(house: House) -> list[Door]:
    """Those that the settings ask for."""
    doors: list[Door] = []
    settings = house.settings
    if settings.web is not None:
        # Its templates and charts take megabytes that a node without it should not.
        server = import_module("node.web.server")
        doors.append(
            server.WebServer(
                house.node, settings.web, house.authenticator, settings.config.web_host,
                house.shares.web,
            )
        )  # fmt: skip
    if settings.stratum is not None:
        doors.append(
            StratumServer(
                house.node, settings.stratum, settings.stratum_to, settings.mine_to,
                house.monotonic, settings.config.mine_interval, house.shares.stratum,
            )
        )  # fmt: skip
    if settings.electrum is not None:
        doors.append(
            ElectrumServer(
                house.node, settings.electrum, house.shares.electrum,
                lambda: house.open_database(ELECTRUM_FOLDER),
            )
        )  # fmt: skip
    if settings.zmq is not None:
        doors.append(ZmqPublisher(house.node, settings.zmq))
    return doors


async def listen_as(option: str, endpoint: Endpoint | None, listening: Awaitable[None]) -> None:
    """Await `listening`; if the port cannot be had, say so by its name. Raises: ConfigError."""
    try:
        await listening
    except OSError as error:
        # asyncio puts the address in the text too; names that are not found have negative numbers.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise ConfigError(
            f"cannot listen at {endpoint}: {reason}; give another --{option}"
        ) from None
