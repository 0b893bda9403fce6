"""The calls of docs/events.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from tests.support.chain import ALICE
from tests.support.daemon import ROOT, Daemon, running, wait_for

CALLS = re.compile(r"```sh\n(rpc\(\).*?)```", re.DOTALL)


def test_calls_of_the_page_on_events_work_as_they_stand(tmp_path: Path) -> None:
    found = CALLS.search((ROOT / "docs" / "events.md").read_text())
    assert found is not None
    daemon = Daemon(tmp_path / ".tael" / "regtest", "--events")
    with running(daemon):
        daemon.call("generatetoaddress", 1, ALICE.address())
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", found[1].replace("29931", str(daemon.rpc_port))],
            capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "HOME": str(tmp_path), "address": ALICE.address()},
        )  # fmt: skip

        def told() -> list[str]:
            events = daemon.call("getevents", 0)["events"]
            return [event["address"] for event in events if event["kind"] == "payment_confirmed"]

        wait_for(lambda: told() == [ALICE.address()], "the payment of before is told")
    made, watched, page, acknowledged = (
        json.loads(line)["result"] for line in ran.stdout.splitlines()
    )
    assert made == 0
    assert watched["label"] == "a customer"
    assert acknowledged == page["events"][0]["number"] == 1
