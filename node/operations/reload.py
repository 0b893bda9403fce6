"""Settings that change while the node runs, when its configuration is read again (SIGHUP)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from node.config import MEGABYTE, Config, ConfigError, Settings
from node.mempool import Mempool
from node.operations.watch import Watch, demands_of
from node.rpc.auth import AuthError, User, parse_user
from node.rpc.ports import NetworkPort, PinError
from p2p.ports import Endpoint

LIVE = (
    "connect", "log_file", "log_json", "log_level", "log_mb", "mempool_mb", "min_fee_rate",
    "ready_behind", "ready_free_mb", "ready_tip_age", "rpc_user",
)  # fmt: skip
"""Entries of the configuration that need no new start."""
SHRINK_BYTES = 1_000_000
"""What a mempool that becomes smaller lets go of before others get a turn."""


class Changes(NamedTuple):
    """What differs between two configurations, by the names of the file."""

    live: Sequence[str]
    """Done at once."""
    later: Sequence[str]
    """What counts only from the next start on."""


def compare(old: Config, new: Config) -> Changes:
    """What is different in `new`."""
    names = [name for name in Config.__struct_fields__ if getattr(old, name) != getattr(new, name)]
    live = [name.replace("_", "-") for name in names if name in LIVE]
    return Changes(live, [name.replace("_", "-") for name in names if name not in LIVE])


def take_over(old: Settings, new: Settings) -> Settings:
    """`old` with all of `new` that counts at once."""
    config = msgspec.structs.replace(old.config, **{n: getattr(new.config, n) for n in LIVE})
    return msgspec.structs.replace(
        old, config=config, connect=new.connect, pins=new.pins, log_file=new.log_file
    )


class Reload:
    """Has the parts of a node follow another configuration."""

    def __init__(
        self, mempool: Mempool, network: NetworkPort, watch: Watch, cookie: User,
        set_users: Callable[[Sequence[User]], None],
    ) -> None:  # fmt: skip
        """`cookie` is a user whatever the configuration says; `set_users` says who else is."""
        self._mempool = mempool
        self._network = network
        self._watch = watch
        self._cookie = cookie
        self._set_users = set_users
        self._shrinking: asyncio.Task[None] | None = None

    def apply(self, old: Settings, new: Settings) -> None:
        """Do what counts at once. Raises: ConfigError, and then nothing has changed."""
        users = users_of(new.config)
        self._add_peers(old, new)
        for endpoint in old.connect:
            if endpoint not in new.connect:
                self._network.remove(*endpoint)
        self._set_users([*users, self._cookie])
        self._watch.demands = demands_of(new.config)
        self._change_policy(new.config)

    def _add_peers(self, old: Settings, new: Settings) -> None:
        if new.pins and not self._network.certificate:
            raise ConfigError(
                "connect: fingerprints need p2p-tls, with which the node did not start"
            )
        for endpoint in old.connect:
            if endpoint in new.connect and old.pins.get(endpoint) != new.pins.get(endpoint):
                # A connection that is open was made without it.
                raise ConfigError(f"connect: another fingerprint of {endpoint} needs a new start")
        added: list[Endpoint] = []
        try:
            for endpoint in new.connect:
                if endpoint not in old.connect and self._add_peer(endpoint, new.pins.get(endpoint)):
                    added.append(endpoint)
        except ConfigError:
            for endpoint in added:
                self._network.remove(*endpoint)
            raise

    def _add_peer(self, endpoint: Endpoint, pin: bytes | None) -> bool:
        try:
            is_new = self._network.add(*endpoint, pin)
        except PinError as error:
            raise ConfigError(f"connect: {error}") from None
        if pin is not None and not is_new:
            raise ConfigError(f"connect: {endpoint} was added without that fingerprint (addnode)")
        return is_new

    def _change_policy(self, config: Config) -> None:
        mempool = self._mempool
        size = config.mempool_mb * MEGABYTE
        policy = msgspec.structs.replace(mempool.policy, min_fee_rate=config.min_fee_rate)
        self.end()
        if size < policy.size_bytes_max:
            mempool.set_policy(policy)
            self._shrinking = asyncio.create_task(_shrink(mempool, size))
        else:
            mempool.set_policy(msgspec.structs.replace(policy, size_bytes_max=size))

    def end(self) -> None:
        """Leave a mempool that shrinks as large as it is."""
        if self._shrinking is not None:
            self._shrinking.cancel()
            self._shrinking = None


async def _shrink(mempool: Mempool, size: int) -> None:
    """Lower the limit bit by bit: to let go of everything at once may take seconds."""
    while (policy := mempool.policy).size_bytes_max > size:
        step = max(size, min(policy.size_bytes_max, mempool.size_bytes) - SHRINK_BYTES)
        mempool.set_policy(msgspec.structs.replace(policy, size_bytes_max=step))
        await asyncio.sleep(0)


def users_of(config: Config) -> list[User]:
    """The users that the configuration names. Raises: ConfigError."""
    try:
        return [parse_user(line) for line in config.rpc_user]
    except AuthError as error:
        raise ConfigError(f"rpc-user: {error}") from None
