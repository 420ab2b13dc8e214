"""Reader processes, seen from the run: scans go in, prepared scans, refusals and crashes come out."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from hirescam_cli.batch.flags import Flag
from hirescam_cli.batch.options import processors
from hirescam_cli.batch.reader_process import Ending, ReaderProcess
from hirescam_cli.batch.worker import Failed, Reading, Task, Unchanged, failed, perform
from hirescam_cli.errors import HirescamError, ScanError

if TYPE_CHECKING:
    from hirescam_cli.pipeline import Prepared

_START_SECONDS = 120.0
_STARTS = 3
_CLOSED = (EOFError, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True, eq=False)
class Outcome:
    """How the reading of a task's scan ended: `value` is `Unchanged`, `Failed` or what reading gave."""

    task: Task
    value: Unchanged | Failed | Prepared
    began: float


class ReaderPool:
    """Reads tasks in `jobs` processes, or in this one for 0 jobs, at most `jobs` of them ahead of who takes
    them.

    A scan whose reader ends without an answer is read once more with no other beside it, then given up
    ("reader-crashed"); one that takes longer than `timeout` seconds is given up at once ("timeout").
    """

    def __init__(self, reading: Reading, jobs: int, timeout: float | None) -> None:
        self._reading, self._jobs, self._timeout = reading, jobs, timeout
        self._threads = max(1, processors() // max(1, jobs))
        self._processes: list[ReaderProcess] = []
        self._waiting: deque[Task] = deque()
        self._suspects: deque[Task] = deque()
        self._outcomes: queue.SimpleQueue[Outcome | HirescamError] = queue.SimpleQueue()
        self._untaken = 0
        self._false_starts = 0
        self._lock = threading.Lock()
        self._stopping = Flag()
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread: threading.Thread | None = None

    def start(self, tasks: int) -> None:
        """Start the processes, so that they load while the caller loads the network."""
        try:
            while len(self._processes) < min(self._jobs, tasks):
                self._processes.append(ReaderProcess(self._reading, self._threads))
        except OSError as error:
            raise _broken(error) from error

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Every task's outcome, in the order in which they end, until all are through or `stop` is called."""
        if self._jobs == 0:
            yield from self._inline(tasks)
            return
        self._waiting.extend(tasks)
        os.write(self._wake_writer, b"x")
        if self._thread is None:
            self._thread = threading.Thread(target=self._manage, name="hirescam-readers", daemon=True)
            self._thread.start()
        for _ in range(len(tasks)):
            item = self._next()
            if item is None:
                return
            if isinstance(item, HirescamError):
                raise item
            with self._lock:
                self._untaken -= 1
            os.write(self._wake_writer, b"x")
            yield item
            del item

    def current(self) -> list[tuple[str, float]]:
        """Cases that are being read, with the seconds since."""
        now = time.monotonic()
        return [(p.task.scan.case, now - p.since) for p in list(self._processes) if p.task is not None]

    def stop(self) -> None:
        """Give no more outcomes; whoever waits for one returns within a moment."""
        self._stopping.set()

    def close(self) -> None:
        """End every process."""
        self._stopping.set()
        os.write(self._wake_writer, b"x")
        if self._thread is not None:
            self._thread.join()
        for process in self._processes:
            process.end()
        self._processes.clear()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _inline(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        for task in tasks:
            if self._stopping.is_set():
                return
            began = time.monotonic()
            value: Unchanged | Failed | Prepared
            try:
                value = perform(self._reading, task)
            except Exception as error:
                value = failed(error, task.scan.name, "read")
            yield Outcome(task, value, began)
            del value

    def _next(self) -> Outcome | HirescamError | None:
        while not self._stopping.is_set():
            try:
                return self._outcomes.get(timeout=0.2)
            except queue.Empty:
                continue
        return None

    def _manage(self) -> None:
        """The thread that talks to the processes."""
        try:
            while not self._stopping.is_set():
                self._dispatch()
                ready = wait([self._wake_reader, *(p.connection for p in self._processes)], self._patience())
                if self._wake_reader in ready:
                    os.read(self._wake_reader, 4096)
                for process in list(self._processes):
                    if process.connection in ready:
                        self._on_message(process)
                    elif self._overdue(process):
                        self._give_up(process)
        except Exception as error:
            self._outcomes.put(_broken(error))

    def _dispatch(self) -> None:
        """Hand out tasks: suspects last, each with nothing beside it."""
        busy = [p for p in self._processes if p.task is not None]
        for process in self._processes:
            if process.task is not None or not process.ready:
                continue
            with self._lock:
                room = self._untaken + len(busy) < self._jobs
            if room and self._waiting:
                source = self._waiting
            elif not busy and not self._waiting and self._suspects:
                source = self._suspects
            else:
                return
            task = source.popleft()
            busy.append(process)
            try:
                process.give(task)
            except _CLOSED:
                source.appendleft(task)
                process.task = None
                self._replace(process)
                return

    def _patience(self) -> float:
        """Seconds until something may be overdue, if nobody speaks."""
        limits = [limit for p in self._processes if (limit := self._limit(p)) is not None]
        return max(0.01, min([5.0, *(limit - time.monotonic() for limit in limits)]))

    def _limit(self, process: ReaderProcess) -> float | None:
        if not process.ready:
            return process.since + _START_SECONDS
        if process.task is None or self._timeout is None:
            return None
        return process.since + self._timeout

    def _overdue(self, process: ReaderProcess) -> bool:
        limit = self._limit(process)
        return limit is not None and time.monotonic() >= limit

    def _on_message(self, process: ReaderProcess) -> None:
        try:
            answer = process.answer()
        except _CLOSED:
            self._crashed(process)
            return
        if not process.ready:
            process.ready, self._false_starts = True, 0
        elif process.task is not None:
            self._put(process, process.task, answer)

    def _put(self, process: ReaderProcess, task: Task, value: Unchanged | Failed | Prepared) -> None:
        process.task = None
        with self._lock:
            self._untaken += 1
        self._outcomes.put(Outcome(task, value, process.since))

    def _crashed(self, process: ReaderProcess) -> None:
        task = process.task
        ending = self._replace(process)
        if task is None:
            return
        if task.attempt == 1:
            self._suspects.append(task.again())
            return
        self._put(process, task, Failed(_crash(task, ending)))

    def _give_up(self, process: ReaderProcess) -> None:
        task = process.task
        self._replace(process)
        if task is not None:
            self._put(process, task, Failed(_too_long(task, self._timeout or 0.0)))

    def _replace(self, process: ReaderProcess) -> Ending:
        """End a process and start another in its place."""
        self._processes.remove(process)
        ending = process.end()
        if not process.ready:
            self._false_starts += 1
            if self._false_starts >= _STARTS:
                raise RuntimeError(f"reader processes end before they are ready{ending.last_words}")
        self._processes.append(ReaderProcess(self._reading, self._threads))
        return ending


def _crash(task: Task, ending: Ending) -> ScanError:
    status = ending.status
    if status < 0:
        try:
            reason = f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            reason = f"was ended by signal {-status}"
    else:
        reason = f"ended with status {status}"
    return ScanError(
        f"The process that read {task.scan.name} {reason}, twice{ending.last_words}.",
        hint="The file may be damaged in a way that crashes a decoder, or need more memory than there is.",
        code="reader-crashed",
    )


def _too_long(task: Task, timeout: float) -> ScanError:
    return ScanError(
        f"Reading and preparing {task.scan.name} took longer than {timeout:g} s.",
        hint="Raise --timeout if the medium is slow; otherwise the file may be damaged.",
        code="timeout",
    )


def _broken(error: Exception) -> HirescamError:
    broken = HirescamError(
        f"The reader processes cannot go on: {error}.",
        hint="Try --jobs 0, and please report this.",
        code="readers",
    )
    broken.__cause__ = error
    return broken
