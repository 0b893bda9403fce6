"""Payments that several clients hand in at the same time, taken in the order in which they came.

One that comes alone is checked at once. Of those that come together, the signatures are checked by
a process while this one judges the next: 32 of the 65 us that a payment takes here, as a signature
drives everything else out of the processor's cache too. The process does no more than fill what is
remembered as verified. Whatever it answers, a payment enters by all rules, asked when it is its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from consensus.errors import Violation
from consensus.keys import SigCheck
from node.later import Later
from node.mempool import Mempool
from node.mempool_admission import Verdict
from node.mempool_entry import Entry

GATHERED_MAX = 3
"""Payments whose signatures are sent at once: the process begins while the others are judged."""

# A payment in the queue that seems to break a rule may do so only because of those before it, or
# because they have not entered: a child may follow its parent on another connection. It is asked
# again in its turn, so every client is answered as if all had come one after the other.

SendChecks = Callable[[Sequence[SigCheck], Callable[[], None]], bool]


class _Submission:
    """A payment on its way."""

    __slots__ = ("entered", "examined", "fee_rate_max", "is_due", "raw")

    def __init__(self, raw: bytes, fee_rate_max: int | None) -> None:
        self.raw = raw
        self.fee_rate_max = fee_rate_max
        self.examined: Verdict | None = None
        """None: it depends on what came before, and is judged when that has entered."""
        self.is_due = False
        self.entered = Later()
        """Settled with its entry, or with the violation."""


class Submissions:
    """A queue before the mempool, empty unless clients hand in payments at the same time."""

    def __init__(
        self, mempool: Mempool, send_checks: SendChecks, get_ready: Callable[[], None]
    ) -> None:  # fmt: skip
        """`send_checks` has signatures checked elsewhere and remembered, and calls back then; or it
        cannot, and returns False. `get_ready` is called when the first payment comes."""
        self._mempool = mempool
        self._send_checks = send_checks
        self._get_ready = get_ready
        self._is_ready = False
        self._queue: deque[_Submission] = deque()
        """In order of arrival; each has a client that waits, so that there are no more than these."""
        self._gathered: list[_Submission] = []
        self._is_turn = False
        """Whether one came in this turn of the loop."""

    def submit(self, raw: bytes, fee_rate_max: int | None) -> Entry | Later:
        """Like `Mempool.submit` with `retry`; the entry comes later if others are on their way."""
        if not self._is_ready:
            self._is_ready = True
            self._get_ready()
        if not self._queue and not self._is_turn:
            self._begin_turn()
            return self._mempool.submit(raw, retry=True, fee_rate_max=fee_rate_max)
        submission = _Submission(raw, fee_rate_max)
        try:
            submission.examined = self._mempool.examine(raw, fee_rate_max)
        except Violation:
            if not self._queue:  # nothing that is on its way can change that
                return self._mempool.submit(raw, retry=True, fee_rate_max=fee_rate_max)
        self._queue.append(submission)
        self._gathered.append(submission)
        if len(self._gathered) >= GATHERED_MAX:
            self._send()
        elif not self._is_turn:
            self._begin_turn()
        return submission.entered

    def _begin_turn(self) -> None:
        self._is_turn = True
        asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._is_turn = False
        if self._gathered:
            self._send()

    def _send(self) -> None:
        sent, self._gathered = self._gathered, []
        checks = [c for one in sent if one.examined is not None for c in one.examined.checks]
        if not checks or not self._send_checks(checks, lambda: self._take(sent)):
            # Not at once: the last of them has not been handed to whoever waits for it.
            asyncio.get_running_loop().call_soon(self._take, sent)

    def _take(self, answered: list[_Submission]) -> None:
        """Let in what is due, up to the first whose signatures are being checked."""
        for submission in answered:
            submission.is_due = True
        while self._queue and self._queue[0].is_due:
            self._enter(self._queue.popleft())

    def _enter(self, submission: _Submission) -> None:
        mempool, examined = self._mempool, submission.examined
        entered: Entry | Exception
        try:
            if examined is None:
                entered = mempool.submit(
                    submission.raw, retry=True, fee_rate_max=submission.fee_rate_max
                )
            else:
                entered = mempool.submit_examined(examined, submission.fee_rate_max)
        except Exception as error:
            entered = error
        submission.entered.settle(entered)
