"""Signals that ask a training to end: it finishes its step, keeps a checkpoint and ends so that it can be resumed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGUSR1 is what schedulers send some minutes before the time is up (sbatch --signal=USR1@300).
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """`number`: the signal that asked; None while none has."""

    def __init__(self) -> None:
        self.number: int | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen inside the context, in a process's main thread. The second SIGINT or SIGTERM ends it at once."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, self._asked)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
