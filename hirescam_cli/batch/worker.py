"""The reader process: reads and prepares one scan after the other for the run that started it.

It may crash, hang or be ended by the system without harm to the run. It imports no network. Its arguments are
the descriptor of one end of a socket pair and the process id of the run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from typing import TYPE_CHECKING

from hirescam_cli.batch.transfer import Layout, pack
from hirescam_cli.case.identity import Finished
from hirescam_cli.durable import STORAGE_ERRNOS, output_error
from hirescam_cli.errors import HirescamError, MemoryUnavailableError, ScanError
from hirescam_cli.io.scan import Scan

if TYPE_CHECKING:
    from hirescam_cli.model.spec import ModelSpec
    from hirescam_cli.pipeline import Prepared
    from hirescam_cli.settings import Settings

_FIRST_TO_GO = "500"


@dataclass(frozen=True)
class Reading:
    """How readers read: functions that a reader process can import, and what they are called with.

    `read(scan, spec, settings)` gives what the network needs; `fingerprint(scan)` that of the input's bytes;
    `fingerprint_of(prepared)` the one that reading found.
    """

    read: Callable[[Scan, ModelSpec, Settings], Prepared]
    fingerprint: Callable[[Scan], str]
    fingerprint_of: Callable[[Prepared], str]
    spec: ModelSpec
    settings: Settings


@dataclass(frozen=True)
class Task:
    """One scan to read, unless `finished` shows that an earlier run did all of it.

    `handed_back`: it was with a cluster's worker that is gone, which may have finished it.
    """

    scan: Scan
    finished: Finished | None = None
    attempt: int = 1
    handed_back: bool = False

    def again(self) -> Task:
        """The task once more."""
        return replace(self, attempt=self.attempt + 1)


@dataclass(frozen=True)
class Unchanged:
    """The answer for a scan that needs nothing: its case is whole and of the same input."""


@dataclass(frozen=True)
class Packed:
    """The answer for a scan that was read; its data follow as a file descriptor."""

    layout: Layout


@dataclass(frozen=True)
class Failed:
    """The answer for a scan that cannot be used; `detail` is a traceback if that is a bug."""

    error: HirescamError
    detail: str | None = None


def perform(reading: Reading, task: Task) -> Unchanged | Prepared:
    """Read the task's scan: `Unchanged`, or what `reading.read` gives. Raises HirescamError."""
    finished = task.finished
    intact = finished is not None and finished.volume == task.scan.volume and finished.intact()
    if finished is not None and intact and _fingerprint(reading, task.scan) == finished.fingerprint:
        return Unchanged()
    prepared = reading.read(task.scan, reading.spec, reading.settings)
    if finished is not None and intact and reading.fingerprint_of(prepared) == finished.fingerprint:
        return Unchanged()
    return prepared


def _fingerprint(reading: Reading, scan: Scan) -> str | None:
    """The quick fingerprint, if there is one; what is wrong with the files, reading says better."""
    try:
        return reading.fingerprint(scan)
    except (OSError, HirescamError):
        return None


def failed(error: Exception, name: str, stage: str) -> Failed:
    """What to answer when `stage` of the scan called `name` raised `error`."""
    if isinstance(error, HirescamError):
        return Failed(error)
    if isinstance(error, MemoryError):
        return Failed(out_of_memory(name, stage))
    bug = ScanError(
        f"{name} met a bug of hirescam: {type(error).__name__}.",
        hint="Please report it with the traceback from the log file (--log-file).",
        code="bug",
        stage=stage,
    )
    return Failed(bug, "".join(traceback.format_exception(error)))


def out_of_memory(name: str, stage: str) -> MemoryUnavailableError:
    """The failure of a scan that does not fit."""
    return MemoryUnavailableError(
        f"{name} needs more memory than there is.",
        hint="Use a machine with more memory, or fewer --jobs.",
        stage=stage,
    )


def serve(connection: Connection) -> None:
    """Answer tasks until the other end closes."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        reading: Reading = connection.recv()
        connection.send(None)
        while True:
            _answer(connection, reading, connection.recv())


def _answer(connection: Connection, reading: Reading, task: Task) -> None:
    try:
        value = perform(reading, task)
        if isinstance(value, Unchanged):
            connection.send(value)
            return
    except Exception as error:
        connection.send(failed(error, task.scan.name, "read"))
        return
    try:
        descriptor, layout = pack(value)
    except Exception as error:
        connection.send(_not_handed_over(error, task.scan.name))
        return
    try:
        connection.send(Packed(layout))
        send_handle(connection, descriptor, os.getppid())
    finally:
        os.close(descriptor)


def _not_handed_over(error: Exception, name: str) -> Failed:
    """Handing over is writing: a limit or a full medium strikes every scan, unlike an error of reading this one."""
    if isinstance(error, OSError) and error.errno in STORAGE_ERRNOS:
        return Failed(output_error(error, name))
    return failed(error, name, "read")


def _end_with(parent: int) -> None:
    """Reading may hang for ever; nobody would be left to end this process."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = int(sys.argv[2])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_FIRST_TO_GO)
    serve(Connection(int(sys.argv[1])))
