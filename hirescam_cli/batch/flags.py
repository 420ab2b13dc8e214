"""A flag that a signal handler may raise."""

from __future__ import annotations

import time

_LOOK_SECONDS = 0.02


class Flag:
    """Like threading.Event, without its lock.

    A signal handler runs in the main thread between two of its instructions. If that thread is just waiting on an
    Event, it may hold the Event's lock, and `set` in the handler would wait for it for ever.
    """

    def __init__(self) -> None:
        self._raised = False

    def set(self) -> None:
        """Raise the flag."""
        self._raised = True

    def is_set(self) -> bool:
        """Whether it was raised."""
        return self._raised

    def wait(self, seconds: float) -> bool:
        """Wait until it is raised, at most for `seconds`; whether it is."""
        end = time.monotonic() + seconds
        while not self._raised and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
        return self._raised
