"""`taeld` that announces payments at once. It exists to be compared with nodes that do so too.

    python -m scripts.bench.undelayed --network …

The delay hides where a payment began, so the node itself has no option to switch it off.
"""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

from node import app
from node.__main__ import main
from p2p.config import NetworkConfig

if __name__ == "__main__":
    with patch.object(app, "NetworkConfig", partial(NetworkConfig, tx_delay_s=(0.0, 0.0))):
        main()
