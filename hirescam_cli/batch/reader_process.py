"""One reader process, seen from the run."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import TYPE_CHECKING

from hirescam_cli.batch.transfer import unpack
from hirescam_cli.batch.worker import Failed, Packed, Reading, Task, Unchanged
from hirescam_cli.children import child_command, child_environment

if TYPE_CHECKING:
    from hirescam_cli.pipeline import Prepared

_TAIL_BYTES = 4096
_MAIN = "from hirescam_cli.batch.worker import main; main()"
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True)
class Ending:
    """How a process ended: its exit status (negative: a signal), and the end of what it wrote to stderr."""

    status: int
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line that it wrote, as part of a sentence; empty if it wrote nothing."""
        return f" (it said: {self.stderr.splitlines()[-1][:200]})" if self.stderr else ""


class ReaderProcess:
    """One reader process and the task it is at."""

    def __init__(self, reading: Reading, threads: int) -> None:
        ours, theirs = socket.socketpair()
        environ = dict.fromkeys(_THREADS, str(threads)) | child_environment()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        with theirs:
            self.process = subprocess.Popen(
                child_command(_MAIN, str(theirs.fileno()), str(os.getpid())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=environ,
                process_group=0,
            )
        self.connection = Connection(ours.detach())
        self.connection.send(reading)
        self.ready = False
        self.task: Task | None = None
        self.since = time.monotonic()

    def give(self, task: Task) -> None:
        """Begin a task."""
        self.task, self.since = task, time.monotonic()
        self.connection.send(task)

    def answer(self) -> Unchanged | Failed | Prepared:
        """Take the answer that is there (the first is that the process is ready). Raises EOFError or an OSError of a
        closed connection."""
        message: Unchanged | Failed | Packed = self.connection.recv()
        if not isinstance(message, Packed):
            return message
        descriptor = recv_handle(self.connection)
        try:
            prepared: Prepared = unpack(descriptor, message.layout)
            return prepared
        finally:
            os.close(descriptor)

    def end(self) -> Ending:
        """End the process at once; how it had ended, if it had."""
        self.process.kill()
        status = self.process.wait()
        self.connection.close()
        with self._errors as errors:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return Ending(status, errors.read().decode("utf-8", "replace").strip())
