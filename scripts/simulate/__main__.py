"""Runs seeds, and says what they contained."""

from __future__ import annotations

import sys

from scripts.simulate.world import World

if __name__ == "__main__":
    world = World(int(sys.argv[1]))
    result = world.play()
    world.close()
    for entry in result.trace.entries:
        print(entry)
    print(result.counts, result.virtual_s)
    print(result.digest)
    print(result.failures)
