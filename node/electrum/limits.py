"""How much clients of the Electrum protocol may ask, send, hold and leave unread."""

from __future__ import annotations

LINE_BYTES_MAX = 256 << 10
"""One line: the largest transaction in hex, with room to spare."""
BATCH_MAX = 500
CALLS_MAX = 8
"""Calls of all clients that are worked on in one turn of the event loop, a millisecond each."""
ANSWER_BYTES_MAX = 8 << 20
"""One answer, or those of a batch together. The largest transaction in hex fits."""
SMALL_BYTES = 64 << 10
"""Answers up to this size are sent without adding up what others leave unread."""
UNREAD_BYTES_MAX = 64 << 20
"""Answers of all clients together that are not taken from us yet."""
NOTICE_BACKLOG_BYTES_MAX = 1 << 20
"""A client that leaves so much unread when there is news for it is dropped."""

FIRST_LINE_S = 30
IDLE_S = 600
"""Longest time between two requests; `server.ping` is one."""
SEND_S = 60
"""Time for a client to take an answer."""
CLOSING_S = 2

REQUESTS_BURST = 5_000
REQUESTS_PER_S = 500
"""What one client may ask: so many at once, and then so many a second. More has to wait."""
BYTES_PER_REQUEST = 4_096
"""An answer counts as one request more for each of these."""

SUBSCRIPTIONS_MAX = 5_000
"""Script hashes that one client watches."""
SUBSCRIPTIONS_TOTAL_MAX = 50_000
"""Script hashes that are watched: some kilobyte each."""
HISTORY_MAX = 20_000
"""Transactions, or coins, of one script hash that are told at once: some two megabytes."""
HEADERS_MAX = 2_016

COALESCE_S = 0.2
"""Changes of so long are told as one."""
PAUSE_PER_ENTRY_S = 0.000_01
"""Waiting transactions that were gone through for the last round of news put the next one off."""
EVENT_BYTES_MAX = 16 << 20
"""Events of the ledger that wait to be gone through; what is beyond that is gone through at once."""
ROWS_PER_TURN = 300
"""Rows of a history that are read before others get a turn: about a millisecond."""
OUTPUTS_PER_TURN = 300
"""Inputs and outputs that are gone through before others get a turn."""
LEAVES_BYTES_MAX = 8 << 20
"""Hashes of the transactions of blocks that were asked for lately."""
