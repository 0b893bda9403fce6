"""Methods of a node: control. Written by `python -m scripts.make_client`."""

from __future__ import annotations

from typing import Any

import msgspec

from wallet.rpc.caller import Caller


class BackupInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How far the last backup is."""

    destination: str
    state: str
    height: int
    """Of the chain that is copied; −1 if not known yet."""
    bytes: int
    """Copied so far."""
    rows: int
    """Of the database, copied so far."""
    error: str
    """Why it failed; else empty."""


class BackupStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that has begun."""

    destination: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether users can be sent to this node."""

    ready: bool
    reasons: list[UnreadyReason]
    freebytes: int | None
    """Room on the disk of the data directory; null if it cannot be told."""


class UnreadyReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why users should not be sent to this node."""

    name: str
    """For programs."""
    detail: str
    """For people."""


class ControlMethods(Caller):
    """Methods of the category control."""

    async def discover(self) -> dict[str, Any]:
        """Every method with its parameters, results and errors, as an OpenRPC document.

        Programs make clients, forms and documentation from it. `x-role` is the role that may call a
        method.
        """
        found: dict[str, Any] = await self.ask(dict[str, Any], "rpc.discover")
        return found

    async def help(self, command: str | None = None) -> str:
        """All methods, or how to use one."""
        found: str = await self.ask(str, "help", command)
        return found

    async def backup(self, destination: str) -> BackupStarted:
        """Begin to make a backup of the ledger while the node runs; `getbackupinfo` says how it goes.

        `destination` is the absolute path of a directory on the node's machine that does not exist yet,
        outside of its data directory; until the backup is whole its name ends in `.partial`. Blocks,
        undo data and the database are copied, and a list of checksums; not the settings, waiting
        transactions, addresses of peers or certificates. `taeld restore` makes a data directory of it.
        """
        found: BackupStarted = await self.ask(BackupStarted, "backup", destination)
        return found

    async def getbackupinfo(self) -> BackupInfo:
        """How far the last backup is: `state` is none, running, done or failed (then `error` says why)."""
        found: BackupInfo = await self.ask(BackupInfo, "getbackupinfo")
        return found

    async def getreadiness(self) -> Readiness:
        """Whether users can be sent to this node: `ready`, or not for these `reasons`.

        Each reason has a `name` for programs (syncing, behind, old-tip, storage, disk, disk-full) and a
        `detail` for people. What is asked of a node are its settings ready-behind, ready-tip-age and
        ready-free-mb. `freebytes` is the room on the disk of the data directory.
        """
        found: Readiness = await self.ask(Readiness, "getreadiness")
        return found

    async def uptime(self) -> int:
        """Seconds since the node started."""
        found: int = await self.ask(int, "uptime")
        return found

    async def stop(self) -> str:
        """Shut the node down in good order; answers before it does."""
        found: str = await self.ask(str, "stop")
        return found
