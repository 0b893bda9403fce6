"""Replays a block file with libbitcoinkernel. Run by the Python that has `py-bitcoinkernel`:

    python kernel_replay.py DIRECTORY HEIGHT

`DIRECTORY/blocks/blk00000.dat` is a chain of Bitcoin's regtest. Prints seconds and MiB as JSON. It
stands alone, since nothing of this project is installed there.
"""

import importlib
import json
import os
import resource
import sys
import time


def main() -> None:
    """Connect every block, with the threads that Bitcoin Core uses on this machine."""
    pbk = importlib.import_module("pbk")
    directory, height = sys.argv[1], int(sys.argv[2])
    context = pbk.make_context(pbk.ChainType.REGTEST)
    options = pbk.ChainstateManagerOptions(context, directory, directory + "/blocks")
    options.set_wipe_dbs(True, True)
    # Beside the calling thread, which checks signatures too.
    options.set_worker_threads_num((os.cpu_count() or 1) - 1)
    began = time.perf_counter()
    manager = pbk.ChainstateManager(options)
    manager.import_blocks([])
    seconds = time.perf_counter() - began
    reached = manager.get_active_chain().height
    if reached != height:
        sys.exit(f"at block {reached} instead of {height}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()
