"""Writing cases in a thread while the network works on the next ones."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hirescam_cli.batch.stages import Stages
from hirescam_cli.batch.tally import Tally
from hirescam_cli.batch.worker import Failed, failed
from hirescam_cli.case.publish import CaseFolder
from hirescam_cli.errors import HirescamError, OutputCreateError, OutputIOError
from hirescam_cli.io.scan import Scan
from hirescam_cli.settings import Settings

if TYPE_CHECKING:
    from hirescam_cli.case.record import Case, FailedCase
    from hirescam_cli.pipeline import Explained, Prepared, RunFacts

_AHEAD = 1


def publish_case(
    out: Path, settings: Settings, facts: RunFacts, stages: Stages, prepared: Prepared, explained: Explained
) -> Failed | Case:
    """Publish one explained case: its record, or why it failed. Raises OutputCreateError, OutputIOError."""
    try:
        with CaseFolder(out, prepared.scan.case) as folder:
            return stages.write_case(folder, facts, prepared, explained, settings)
    except (OutputCreateError, OutputIOError):
        raise
    except Exception as error:
        return failed(error, prepared.scan.name, "write")


def publish_failure(
    out: Path,
    scan: Scan,
    settings: Settings,
    facts: RunFacts,
    stages: Stages,
    error: HirescamError,
    seconds: float,
) -> FailedCase:
    """Publish the folder of a case that failed after `seconds`, which says why.

    Raises OutputCreateError, OutputIOError.
    """
    started = (datetime.now().astimezone() - timedelta(seconds=seconds)).isoformat(timespec="seconds")
    with CaseFolder(out, scan.case) as folder:
        return stages.write_failure(folder, scan.case, started, error, settings, facts, seconds)


class Writer:
    """Context that writes cases one after the other, with at most one waiting; what fails is counted in
    `tally`.

    A full disk or a folder that cannot be made ends the run: the error is kept in the tally, later cases are
    dropped.
    """

    def __init__(self, out: Path, settings: Settings, facts: RunFacts, stages: Stages, tally: Tally) -> None:
        self._context = (settings, facts, stages)
        self._out, self._tally = out, tally
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hirescam-writer")
        self._pending: deque[Future[None]] = deque()
        self._writing: tuple[str, float] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def current(self) -> list[tuple[str, float]]:
        """The case that is being written, if there is one, and for how many seconds."""
        writing = self._writing
        return [] if writing is None else [(writing[0], time.monotonic() - writing[1])]

    def case(self, prepared: Prepared, explained: Explained, began: float) -> None:
        """Write an explained case as soon as the one before is written."""
        scan = prepared.scan
        self._submit(scan, partial(self._write, prepared, explained, began))

    def failure(self, scan: Scan, failure: Failed, began: float) -> None:
        """Write why a case failed."""
        self._tally.failing()
        self._submit(scan, partial(self._write_failure, scan, failure, began))

    def finish(self, remaining: Callable[[], float | None]) -> None:
        """Wait for what is pending, no longer than `remaining` seconds while that is a number.

        Writing that takes longer than a signal allows is given up with the process: the case is swept and
        made again by the next run.
        """
        while self._pending:
            try:
                self._pending[0].result(timeout=0.2)
                self._pending.popleft()
            except NotYet:
                left = remaining()
                if left is not None and left <= 0.0:
                    self._tally.abandon()

    def _submit(self, scan: Scan, work: Callable[[], None]) -> None:
        while len(self._pending) > _AHEAD:
            self._pending.popleft().result()
        self._pending.append(self._threads.submit(self._guarded, scan, work))

    def _guarded(self, scan: Scan, work: Callable[[], None]) -> None:
        if self._tally.fatal is not None:
            return
        self._writing = (scan.case, time.monotonic())
        try:
            work()
        except (OutputCreateError, OutputIOError) as error:
            self._tally.end_with(error)
        finally:
            self._writing = None

    def _write(self, prepared: Prepared, explained: Explained, began: float) -> None:
        scan = prepared.scan
        result = publish_case(self._out, *self._context, prepared, explained)
        if isinstance(result, Failed):
            self._tally.failing()
            self._write_failure(scan, result, began)
        else:
            seconds = time.monotonic() - began
            self._tally.done(result, seconds)

    def _write_failure(self, scan: Scan, failure: Failed, began: float) -> None:
        seconds = time.monotonic() - began
        publish_failure(self._out, scan, *self._context, failure.error, seconds)
        self._tally.failed(scan.case, failure, seconds)
