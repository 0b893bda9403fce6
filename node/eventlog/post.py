"""Sends webhooks by HTTP. The one module of the event log that opens connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

CONNECT_S = 5.0
TOTAL_S = 15.0
"""From looking the name up to the end of the answer's head."""
ANSWER_BYTES_MAX = 4 << 10
"""An answer that is longer costs its connection."""
CONNECTIONS_MAX = 16
AGENT = "tael"


class HttpPoster:
    """`node.eventlog.webhooks.Poster` over real sockets; none is opened before the first post."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Raises: OSError."""
        try:
            async with self._open().post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                # It is ignored. What is left of it when this ends closes the connection.
                await answer.content.read(ANSWER_BYTES_MAX)
                return answer.status
        except TimeoutError:
            raise TimeoutError("no answer in time") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise ConnectionError(str(error) or type(error).__name__) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TOTAL_S, connect=CONNECT_S),
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": AGENT},
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # its connections close in the next turn
