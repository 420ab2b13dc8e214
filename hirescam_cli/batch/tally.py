"""The account of a run: what is done, failed and left, what is said about it, and how it ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from hirescam_cli.batch.events import (
    Callback,
    CaseFinished,
    Event,
    Failure,
    Heartbeat,
    Notice,
    RunFinished,
    RunStarted,
    Status,
)
from hirescam_cli.batch.index import OutOfTimeError, write_index
from hirescam_cli.batch.plan import Plan
from hirescam_cli.batch.result import BatchResult
from hirescam_cli.batch.signals import Interruption
from hirescam_cli.batch.worker import Failed
from hirescam_cli.case.record import Case
from hirescam_cli.errors import ExitCode, HirescamError, MemoryUnavailableError
from hirescam_cli.warning import Warning

HEARTBEAT_SECONDS = 30.0
RECORDS_KEPT = 20
_LISTEN_SECONDS = 0.5
_ENDING = "The case under way is finished, or dropped if that takes long; a second signal ends at once."


class Tally:
    """Counts cases, passes events on one at a time, decides the exit code. For several threads at once."""

    def __init__(
        self, plan: Plan, max_failures: int | None, on_event: Callback | None, interruption: Interruption
    ) -> None:
        self.plan, self.max_failures, self.interruption = plan, max_failures, interruption
        self.counts: dict[Status, int] = {"done": 0, "skipped": 0, "failed": 0}
        self.failures: list[tuple[str, Failure]] = []
        self.there: set[str] = set()
        self.records: dict[str, Case] = {}
        self._failing = 0
        self.fatal: HirescamError | None = None
        self._on_event = on_event
        self._lock = threading.RLock()
        self._begin = self._last_event = time.monotonic()

    @property
    def left(self) -> int:
        """Cases that have not come to an end."""
        return len(self.plan.scans) - sum(self.counts.values())

    @property
    def stopped(self) -> bool:
        """Whether no further case is to be begun."""
        too_many = self.max_failures is not None and self._failing >= self.max_failures
        return self.fatal is not None or too_many

    def emit(self, event: Event) -> None:
        """Pass an event on."""
        with self._lock:
            self._last_event = time.monotonic()
            if self._on_event is not None:
                self._on_event(event)

    def finished(
        self,
        case: str,
        status: Status,
        seconds: float,
        *,
        failure: Failure | None = None,
        warnings: tuple[Warning, ...] = (),
    ) -> None:
        """Count a case that came to its end and say so."""
        with self._lock:
            self.counts[status] += 1
            if failure is None:
                self.there.add(case)
            else:
                self.failures.append((case, failure))
            self.emit(
                CaseFinished(
                    case=case,
                    status=status,
                    left=self.left,
                    seconds=seconds,
                    failure=failure,
                    warnings=warnings,
                    **self.counts,
                )
            )

    def done(self, case: Case, seconds: float) -> None:
        """Count a case that was explained and written in this process."""
        with self._lock:
            if len(self.records) < RECORDS_KEPT:
                self.records[case.case] = case
        self.finished(case.case, "done", seconds, warnings=case.warnings)

    def failing(self) -> None:
        """A case has failed whose folder is still to be written."""
        with self._lock:
            self._failing += 1

    def failed(self, case: str, failure: Failed, seconds: float) -> None:
        """Count a failed case; the traceback of a bug goes to the log only."""
        error = failure.error
        if failure.detail is not None:
            self.emit(Notice("bug", error.message, failure.detail))
        why = Failure(error.code, error.stage, error.message, error.hint)
        self.finished(case, "failed", seconds, failure=why)

    def end_with(self, error: HirescamError) -> None:
        """End the run with this error; the first one decides."""
        with self._lock:
            if self.fatal is None:
                self.fatal = error
                self.emit(Notice(error.code, str(error)))

    @contextmanager
    def started(self, current: Callable[[], list[tuple[str, float]]]) -> Iterator[None]:
        """Say that the run begins, and give signs of life inside the context; `current`: cases under way."""
        part = self.plan.part
        label = None if part is None else f"{part.index} of {part.count}"
        self.emit(RunStarted(len(self.plan.scans), label))
        if part is not None and not self.plan.scans:
            text = f"Part {label} owns none of the {self.plan.total} scans."
            self.emit(Notice("empty-part", text))
        end = threading.Event()
        thread = threading.Thread(
            target=self._beat, args=(end, current), name="hirescam-heartbeat", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _beat(self, end: threading.Event, current: Callable[[], list[tuple[str, float]]]) -> None:
        told = False
        while not end.wait(_LISTEN_SECONDS):
            if self.interruption.requested.is_set() and not told:
                told = True
                self.emit(Notice("ending", _ENDING))
            if time.monotonic() - self._last_event >= HEARTBEAT_SECONDS:
                self.emit(Heartbeat(self.counts["done"], self.counts["failed"], self.left, tuple(current())))

    def exit_code(self) -> int:
        """The exit code of the process, by what weighs most."""
        if self.interruption.number is not None and self.left > 0:
            return 128 + self.interruption.number
        if self.fatal is not None:
            return self.fatal.exit_code
        if any(failure.code == "bug" for _, failure in self.failures):
            return ExitCode.BUG
        if not self.failures:
            return ExitCode.OK
        untried = self.left > 0 and self.reason() is not None
        usable = self.counts["done"] + self.counts["skipped"] > 0
        if usable or untried:
            return ExitCode.SOME_FAILED
        memory = all(failure.code == MemoryUnavailableError.default_code for _, failure in self.failures)
        return ExitCode.UNAVAILABLE if memory else ExitCode.BAD_DATA

    def reason(self) -> str | None:
        """Why the run ended early: "interrupted", an error's code, "max-failures" or None."""
        if self.interruption.requested.is_set() and self.left > 0:
            return "interrupted"
        if self.fatal is not None:
            return self.fatal.code
        return "max-failures" if self.stopped and self.left else None

    def finish(self) -> BatchResult:
        """Write the index, say how the run ended, and return it."""
        ending = RunFinished(
            **self.counts,
            exit_code=self.exit_code(),
            left=self.left,
            seconds=time.monotonic() - self._begin,
            stopped=self.reason(),
        )
        document = self._index(ending)
        code = ending.exit_code
        if self.fatal is not None:
            code = self.exit_code()
        elif document is None and self.interruption.number is not None:
            code = 128 + self.interruption.number
        self.emit(replace(ending, exit_code=code))
        return BatchResult(
            **self.counts,
            exit_code=code,
            left=ending.left,
            seconds=ending.seconds,
            stopped=ending.stopped,
            cases=tuple(scan.case for scan in self.plan.scans if scan.case in self.there),
            failures=tuple(self.failures),
            document=document,
            records=self.records,
        )

    def _index(self, ending: RunFinished) -> dict[str, object] | None:
        part = self.plan.part
        facts = {
            **asdict(ending),
            "part": None if part is None else {"index": part.index, "count": part.count},
            "ignored": [{"name": i.name, "code": i.code, "reason": i.reason} for i in self.plan.ignored],
        }
        try:
            return write_index(self.plan.out, facts, self.interruption.remaining)
        except OutOfTimeError:
            self.emit(
                Notice("index-old", "The index was not rebuilt in time; `hirescam report --index` does it.")
            )
        except HirescamError as error:
            self.end_with(error)
        return None

    def abandon(self) -> None:
        """End the process at once if a signal asked for the end; nothing partial can be seen."""
        if self.interruption.number is not None:
            self.emit(
                Notice("abandoned", "The case being written was given up; the next run makes it again.")
            )
            os._exit(128 + self.interruption.number)
