"""Shapes: the node itself."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from node.rpc.described import Says, Scalar

Document = Annotated[object, Scalar("OpenRPC", {"type": "object"}, dict)]


class BackupStarted(TypedDict):
    """A backup that has begun."""

    destination: str


class BackupInfo(TypedDict):
    """How far the last backup is."""

    destination: str
    state: Literal["none", "running", "done", "failed"]
    height: Annotated[int, Says("of the chain that is copied; −1 if not known yet")]
    bytes: Annotated[int, Says("copied so far")]
    rows: Annotated[int, Says("of the database, copied so far")]
    error: Annotated[str, Says("why it failed; else empty")]


class UnreadyReason(TypedDict):
    """Why users should not be sent to this node."""

    name: Annotated[str, Says("for programs")]
    detail: Annotated[str, Says("for people")]


class Readiness(TypedDict):
    """Whether users can be sent to this node."""

    ready: bool
    reasons: list[UnreadyReason]
    freebytes: Annotated[
        int | None, Says("room on the disk of the data directory; null if it cannot be told")
    ]
