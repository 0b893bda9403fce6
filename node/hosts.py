"""The names by which this machine may be called over HTTP.

A page in a browser can have its own name pointed at 127.0.0.1 and then reach what listens there; it sends
that name as Host. So a Host must be an IP address, `localhost`, or a name from the configuration.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache


class HostNames:
    """Answers whether a Host header names this machine."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """`names`: further ones beside `localhost` and addresses."""
        self._names = {"localhost", *(name.lower() for name in names)}

    def is_own(self, header: str | None) -> bool:
        if header is None:
            return True  # HTTP/1.0; every browser sends one
        name = _host_name(header)
        return name in self._names or _is_ip_address(name)


@lru_cache(64)
def _host_name(host: str) -> str:
    """The name in a Host header, without port; empty for what is none."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(:[0-9]{1,5})?", host)
    return match[1].strip("[]").lower().removesuffix(".") if match else ""


@lru_cache(64)
def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
