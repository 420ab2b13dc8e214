"""Ending on SIGINT and SIGTERM: the first asks the run to end, the second ends the process at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hirescam_cli.batch.flags import Flag

GRACE_SECONDS = 10.0
LIMIT_SECONDS = 25.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Dropped(BaseException):
    """Raised in the middle of a case that would take too long to finish after a signal."""


class Interruption:
    """The request to end, from a signal or from another thread.

    `number`: the signal that asked. `requested`: set by a signal or by `request`.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.requested = Flag()
        self._since = 0.0
        self._droppable = False
        self._on_request: list[Callable[[], None]] = []

    def on_request(self, call: Callable[[], None]) -> None:
        """Have `call` made when the end is asked for, or has been; it must neither block nor raise."""
        self._on_request.append(call)
        if self.requested.is_set():
            call()

    def request(self) -> None:
        """Ask the run to end."""
        self._since = time.monotonic()
        self.requested.set()
        for call in self._on_request:
            call()

    def remaining(self) -> float | None:
        """Seconds that are left to end in, None while nobody asked."""
        if not self.requested.is_set():
            return None
        return max(0.0, self._since + LIMIT_SECONDS - time.monotonic())

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to signals inside the context; only in a process's main thread."""
        before = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGALRM)}
        for number in _SIGNALS:
            signal.signal(number, self._asked)
        signal.signal(signal.SIGALRM, self._too_late)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def droppable(self) -> Iterator[None]:
        """What runs inside may be dropped (`Dropped`) when it takes too long after a signal."""
        self._droppable = True
        try:
            yield
        finally:
            self._droppable = False

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self.number = number
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
        self.request()

    def _too_late(self, _number: int, _frame: FrameType | None) -> None:
        if self._droppable:
            raise Dropped
