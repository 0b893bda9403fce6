"""What the node asks of the process that it runs in."""

from __future__ import annotations

import subprocess
import sys

from tests.support.daemon import ROOT

CYCLES = 250_000
FREED_AT_ONCE_MAX = 25_000
_LEAVE_GARBAGE = f"""
import gc
from node.system import System

System().tune()
freed = []
gc.callbacks.append(lambda phase, told: freed.append(told["collected"]) if phase == "stop" else None)
for _ in range({CYCLES}):
    cycle = []
    cycle.append(cycle)
print(max(freed), sum(freed))
"""


def test_garbage_of_many_connections_is_freed_a_little_at_a_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEAVE_GARBAGE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    most, all_of_it = map(int, done.stdout.split())
    assert all_of_it > CYCLES // 2
    assert most < FREED_AT_ONCE_MAX
