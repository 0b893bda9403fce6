"""A consumer of the event log that may be killed at any moment: `python -m scripts.event_consumer DIR`.

DIR holds `port`, where the node answers at present, and `node/.cookie`. What comes is written to
`events.sqlite` in one transaction and only then acknowledged, so an event may come twice and is told by its
number. `scripts.event_kills` runs it.
"""

from __future__ import annotations

import base64
import http.client
import json
import sqlite3
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

NAME = "consumer"
LIMIT = 50
PAUSE_S = 0.02
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS lives (doubles INTEGER NOT NULL);
"""


def call(directory: Path, method: str, **params: Any) -> Any:
    """Raises: OSError, http.client.HTTPException, ValueError; RuntimeError, with what the node answered."""
    port = int((directory / "port").read_text())
    cookie = base64.b64encode((directory / "node" / ".cookie").read_bytes()).decode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        head = {"Content-Type": "application/json", "Authorization": f"Basic {cookie}"}
        connection.request("POST", "/", body, head)
        answer = json.loads(connection.getresponse().read())
    if "error" in answer:
        raise RuntimeError(answer["error"]["message"])
    return answer["result"]


def keep(database: sqlite3.Connection, events: Iterable[dict[str, Any]]) -> None:
    """Write events for good. One that was written before must be the same."""
    doubles = 0
    with database:
        for event in events:
            body = json.dumps(event, sort_keys=True)
            number = event["number"]
            known = database.execute("SELECT body FROM events WHERE number = ?", (number,))
            if (row := known.fetchone()) is None:
                database.execute("INSERT INTO events VALUES (?, ?)", (number, body))
            else:
                assert row == (body,), f"event {number} was {row[0]} and is {body}"
                doubles += 1
        if doubles:
            database.execute("INSERT INTO lives VALUES (?)", (doubles,))


def follow(directory: Path) -> None:
    """Follow until killed."""
    with closing(sqlite3.connect(directory / "events.sqlite")) as database:
        database.executescript(_SCHEMA)
        while True:
            try:
                call(directory, "ackevents", consumer=NAME, number=0)
                while True:
                    page = call(directory, "getevents", consumer=NAME, limit=LIMIT, wait=1)
                    keep(database, page["events"])
                    call(directory, "ackevents", consumer=NAME, number=page["next"])
            except (OSError, http.client.HTTPException, ValueError, RuntimeError):
                time.sleep(PAUSE_S)  # the node is down, or on its way


def main() -> None:
    follow(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
