"""Looking into files in a process of its own, so that neither a crash, a hang nor memory costs the caller anything.

Discovery asks it what only voxels tell (is this a mask?): decoders of compressed pixels may crash or never end.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Protocol, TypeVar

from hirescam_cli.children import child_command, child_environment

Question = TypeVar("Question")
Answer = TypeVar("Answer")

SECONDS = 30.0
_MAIN = "from hirescam_cli.io.isolated import main; main()"


class Asking(Protocol):
    """How a question is asked: here or elsewhere."""

    def __call__(self, ask: Callable[[Question], Answer], question: Question, otherwise: Answer) -> Answer:
        """The answer, or `otherwise` where there is none."""


def directly(ask: Callable[[Question], Answer], question: Question, otherwise: Answer) -> Answer:
    """Ask in this process, where that is isolated already."""
    del otherwise
    return ask(question)


class Isolated:
    """Context that asks questions in another process, started at the first one and again after each failure.

    `seconds`: how long an answer may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Isolated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __call__(self, ask: Callable[[Question], Answer], question: Question, otherwise: Answer) -> Answer:
        """What `ask` answers; `otherwise` where it raises, crashes or takes too long.

        `ask` must be importable by name; question and answer are pickled.
        """
        try:
            connection = self._connection or self._start()
            connection.send((ask, question))
            if connection.poll(self._seconds):
                answered, answer = connection.recv()
                return answer if answered else otherwise
        except (EOFError, OSError):
            pass
        except BaseException:
            self._end()
            raise
        self._end()
        return otherwise

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                child_command(_MAIN, str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=child_environment(),
                process_group=0,
            )
        self._connection = Connection(ours.detach())
        return self._connection

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._connection = self._process = None


def main() -> None:
    """Entry point of the process: answers questions until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            ask, question = connection.recv()
            try:
                connection.send((True, ask(question)))
            except Exception:  # whatever a decoder raises: the caller has an answer for that
                connection.send((False, None))
