"""The run: the cases of a plan are read in other processes, explained here and written by a thread."""

from __future__ import annotations

import time
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

from hirescam_cli.batch.events import Callback, Notice
from hirescam_cli.batch.index import INDEX_FILES
from hirescam_cli.batch.lock import output_lock
from hirescam_cli.batch.options import RunOptions
from hirescam_cli.batch.plan import Plan
from hirescam_cli.batch.readers import Outcome, ReaderPool
from hirescam_cli.batch.result import BatchResult
from hirescam_cli.batch.signals import Dropped, Interruption
from hirescam_cli.batch.stages import STAGES, Stages, identity_of
from hirescam_cli.batch.tally import Tally
from hirescam_cli.batch.worker import Failed, Reading, Task, Unchanged, failed
from hirescam_cli.batch.writing import Writer
from hirescam_cli.case.identity import finished_cases
from hirescam_cli.case.publish import sweep
from hirescam_cli.errors import HirescamError, OutputCreateError, OutputIOError, UnavailableError
from hirescam_cli.label_choice import LabelChoice
from hirescam_cli.model.spec import ModelSpec, load_spec
from hirescam_cli.pipeline import check_scans
from hirescam_cli.settings import Settings

if TYPE_CHECKING:
    from hirescam_cli.pipeline import Session


def run(
    plan: Plan,
    settings: Settings,
    options: RunOptions | None = None,
    on_event: Callback | None = None,
    *,
    stages: Stages = STAGES,
    interruption: Interruption | None = None,
) -> BatchResult:
    """Carry out a plan and leave batch.json, predictions.csv and log.jsonl.

    A failure of one scan is written into its folder and counted; the result's `exit_code` says how the run
    ended. `on_event` is called from several threads, one at a time. `interruption` lets another thread ask
    for the end. Raises UsageError, ModelError, UnavailableError or OutputCreateError for what is refused
    before any scan is read.
    """
    options, interruption = options or RunOptions(), interruption or Interruption()
    spec = load_spec(settings.model)
    LabelChoice.parse(settings.labels, spec.labels)
    check_scans(plan.scans, settings)
    if options.scheduler is not None:
        from hirescam_cli.batch.cluster import run_on_cluster

        return run_on_cluster(plan, settings, spec, options, on_event, stages, interruption)
    with interruption.installed() if options.handle_signals else nullcontext():
        return _Run(plan, settings, spec, options, on_event, stages, interruption).go()


class _Run:
    """One run in this process."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        spec: ModelSpec,
        options: RunOptions,
        on_event: Callback | None,
        stages: Stages,
        interruption: Interruption,
    ) -> None:
        self.plan, self.settings, self.options, self.stages = plan, settings, options, stages
        self.interruption = interruption
        self.tally = Tally(plan, options.max_failures, on_event, interruption)
        reading = Reading(stages.read_case, stages.fingerprint, stages.fingerprint_of, spec, settings)
        self.pool = ReaderPool(reading, options.readers, options.timeout)
        self.spec = spec
        self.explaining: tuple[str, float] | None = None
        self.writer: Writer | None = None

    def go(self) -> BatchResult:
        """The whole run."""
        with ExitStack() as stack:
            stack.callback(self.pool.close)
            self.pool.start(len(self.plan.scans))
            session = self.stages.open_session(self.settings, self.spec)
            if not stack.enter_context(output_lock(self.plan.out, self.plan.part)):
                self.tally.emit(_NO_LOCKS)
            tasks = self._tasks(session)
            self.interruption.on_request(self.pool.stop)
            stack.enter_context(self.tally.started(self._current))
            self._work(session, tasks)
            return self.tally.finish()

    def _tasks(self, session: Session) -> list[Task]:
        plan, options = self.plan, self.options
        cases = [scan.case for scan in plan.scans]
        sweep(plan.out, cases if plan.part else [*cases, *INDEX_FILES])
        finished = finished_cases(
            plan.out, cases, identity_of(session.facts), options.existing, options.verify
        )
        return [Task(scan, finished.get(scan.case)) for scan in plan.scans]

    def _work(self, session: Session, tasks: list[Task]) -> None:
        with Writer(self.plan.out, self.settings, session.facts, self.stages, self.tally) as writer:
            self.writer = writer
            try:
                for outcome in self.pool.outcomes(tasks):
                    self._case(session, writer, outcome)
                    del outcome
                    if self.tally.stopped:
                        break
            except Dropped:
                pass
            except HirescamError as error:
                self.tally.end_with(error)
            self.pool.stop()
            writer.finish(self.interruption.remaining)

    def _case(self, session: Session, writer: Writer, outcome: Outcome) -> None:
        scan, value = outcome.task.scan, outcome.value
        if isinstance(value, Unchanged):
            self.tally.finished(scan.case, "skipped", time.monotonic() - outcome.began)
            return
        if not isinstance(value, Failed):
            self.explaining = (scan.case, time.monotonic())
            try:
                with self.interruption.droppable():
                    explained = self.stages.explain_prepared(session, value)
            except UnavailableError:
                raise
            except Exception as error:
                value = failed(error, scan.name, "explain")
            finally:
                self.explaining = None
        if isinstance(value, Failed):
            if isinstance(value.error, OutputCreateError | OutputIOError):
                raise value.error
            writer.failure(scan, value, outcome.began)
        else:
            writer.case(value, explained, outcome.began)

    def _current(self) -> list[tuple[str, float]]:
        now = time.monotonic()
        explaining = [] if self.explaining is None else [(self.explaining[0], now - self.explaining[1])]
        writing = [] if self.writer is None else self.writer.current()
        return writing + explaining + self.pool.current()


_NO_LOCKS = Notice(
    "no-locks",
    "The output's file system knows no locks: make sure that no other run writes to the same folder.",
)
