"""A headless Chromium, spoken to over its debugging socket.

The protocol of the browser itself takes fewer words here than a driver beside it would take packages.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

T = TypeVar("T")
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0",
)  # fmt: skip
LIMIT_S = 20.0
MESSAGE_BYTES_MAX = 64 << 20
_LISTENING = re.compile(r"DevTools listening on (ws://\S+)")
_KEYS = {"Tab": 9, "Enter": 13}


class BrowserError(Exception):
    """The browser refused a command; the text is its own."""


class Browser:
    """One window. Waits for every answer, so that a test reads from top to bottom."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._session = ""
        self._http: aiohttp.ClientSession
        self._socket: aiohttp.ClientWebSocketResponse
        self._run(self._connect(url))
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(work, LIMIT_S))

    async def _connect(self, url: str) -> None:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(url, max_msg_size=MESSAGE_BYTES_MAX)

    def close(self) -> None:
        async def close() -> None:
            await self._socket.close()
            await self._http.close()

        self._run(close())
        self._loop.close()

    # The protocol

    def send(self, method: str, /, **params: Any) -> dict[str, Any]:
        """The result of a command. Raises: BrowserError."""
        return self._run(self._send(method, params))

    async def _send(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        while True:
            answer = await self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._socket.receive_str())
        if "method" in message:
            self._events.append(message)
        return message

    # What a person does

    def look(
        self, width: int, theme: str = "light", language: str = "en", height: int = 900
    ) -> None:
        """How wide the window is, and what the system says of theme and language."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        features = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.send("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})

    def open(self, url: str) -> None:
        """Go to a page, and wait until it and what belongs to it are loaded."""
        self._events.clear()
        failed = self.send("Page.navigate", url=url).get("errorText")
        if failed:
            raise BrowserError(f"{url}: {failed}")
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'", url)

    def do(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            told = found["exceptionDetails"]
            raise BrowserError(str(told.get("exception", told).get("description", told)))
        return found["result"].get("value")

    def wait(self, condition: str, what: str, limit_s: float = LIMIT_S) -> Any:
        """Ask until an expression is true; its value."""
        deadline = time.monotonic() + limit_s
        found = None
        while True:
            # Between two pages there is nothing that could be asked.
            with suppress(BrowserError):
                found = self.do(condition)
            if found:
                return found
            assert time.monotonic() < deadline, f"waited {limit_s} s in vain for {what}"
            self._run(asyncio.sleep(0.02))

    def press(self, key: str) -> None:
        """Press and let go a key: a character, Tab or Enter."""
        text = {"Tab": "", "Enter": "\r"}.get(key, key)
        common: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": _KEYS.get(key, 0)}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.send("Input.insertText", text=text)

    def complaints(self) -> list[str]:
        """What the console says since the page was opened: errors, refusals of the policy, warnings."""
        self.send("Runtime.evaluate", expression="0")  # what came before has arrived with it
        found: list[str] = []
        for event in self._events:
            told = event["params"]
            match event["method"]:
                case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                    found.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
                case "Runtime.exceptionThrown":
                    found.append(str(told["exceptionDetails"]))
                case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning"):
                    found.append(str(told["args"]))
        return found

    def asked_for(self) -> list[str]:
        """Every address that was asked for since the page was opened."""
        sent = [e for e in self._events if e["method"] == "Network.requestWillBeSent"]
        return [str(event["params"]["request"]["url"]) for event in sent]

    def picture(self, kind: str = "png", quality: int = 80, height_max: int = 20_000) -> bytes:
        """The page as it looks, from its top to its end; `kind` is png, jpeg or webp."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        height = min(size["height"], height_max)
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}
        options: dict[str, Any] = {"format": kind, "captureBeyondViewport": True, "clip": clip}
        if kind != "png":
            options["quality"] = quality
        return base64.b64decode(self.send("Page.captureScreenshot", **options)["data"])


def find_chromium() -> str:
    """Raises: AssertionError, with what to install."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no Chromium: apt-get install chromium fonts-wqy-microhei"
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser of its own, which is ended whatever happens."""
    program = find_chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            browser = Browser(_listening(process))
            try:
                yield browser
            finally:
                browser.close()
        finally:
            _end(process)


def _listening(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        if found := _LISTENING.search(line):
            return found[1]
        lines.append(line)
    raise BrowserError("Chromium ended: " + "".join(lines[-5:]))


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stderr is not None:
        process.stderr.close()


def save(picture: bytes, path: Path) -> None:
    """Write a picture where a person finds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
