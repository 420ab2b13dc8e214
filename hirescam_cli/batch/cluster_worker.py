"""The side of a Dask worker: one scan after the other, from its path to its published case."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hirescam_cli.batch.readers import ReaderPool
from hirescam_cli.batch.stages import Stages
from hirescam_cli.batch.worker import Failed, Reading, Task, Unchanged, failed
from hirescam_cli.batch.writing import publish_case, publish_failure
from hirescam_cli.errors import OutputCreateError, OutputIOError, UnavailableError
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.settings import Settings
from hirescam_cli.warning import Warning

if TYPE_CHECKING:
    from hirescam_cli.batch.events import Status
    from hirescam_cli.case.record import Case
    from hirescam_cli.pipeline import Prepared, RunFacts, Session


@dataclass(frozen=True)
class Job:
    """What a worker is told: everything but the scan is the same for all of them."""

    out: Path
    settings: Settings
    spec: ModelSpec
    stages: Stages
    timeout: float | None


@dataclass(frozen=True)
class Answer:
    """What a worker says of a case: how it ended and after how many seconds."""

    status: Status
    seconds: float
    failure: Failed | None = None
    warnings: tuple[Warning, ...] = ()


class _Worker:
    """What a worker process keeps between scans: the model, and one reader process."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.job: Job | None = None
        self.session: Session | None = None
        self.readers: ReaderPool | None = None

    def session_for(self, job: Job) -> Session:
        """The model of `job`, loaded when it is another than before."""
        if self.session is None or self.job != job:
            self.session = job.stages.open_session(job.settings, job.spec)
            self.job = job
            if self.readers is not None:
                self.readers.close()
            self.readers = None
        return self.session

    def read(self, job: Job, task: Task) -> Unchanged | Failed | Prepared:
        """Read in a process of its own: what crashes a decoder need not cost a worker and its model."""
        if self.readers is None:
            stages = job.stages
            reading = Reading(
                stages.read_case, stages.fingerprint, stages.fingerprint_of, job.spec, job.settings
            )
            self.readers = ReaderPool(reading, 1, job.timeout)
            self.readers.start(1)
        return next(self.readers.outcomes([task])).value


_WORKER = _Worker()


def open_on_worker(job: Job) -> RunFacts:
    """Load the model on this worker; what a summary says of it."""
    with _WORKER.busy:
        return _WORKER.session_for(job).facts


def explain_on_worker(job: Job, task: Task) -> Answer:
    """One scan from its path to its published folder. Raises HirescamError for what ends the run."""
    with _WORKER.busy:
        began = time.monotonic()
        session = _WORKER.session_for(job)
        value = _WORKER.read(job, task)
        if isinstance(value, Unchanged):
            return Answer("skipped", time.monotonic() - began)
        result = value if isinstance(value, Failed) else _explain(job, session, value)
        if isinstance(result, Failed):
            if isinstance(result.error, OutputCreateError | OutputIOError):
                raise result.error
            seconds = time.monotonic() - began
            publish_failure(
                job.out, task.scan, job.settings, session.facts, job.stages, result.error, seconds
            )
            return Answer("failed", seconds, result)
        return Answer("done", time.monotonic() - began, warnings=result.warnings)


def _explain(job: Job, session: Session, prepared: Prepared) -> Failed | Case:
    try:
        explained = job.stages.explain_prepared(session, prepared)
    except UnavailableError:
        raise
    except Exception as error:
        return failed(error, prepared.scan.name, "explain")
    return publish_case(job.out, job.settings, session.facts, job.stages, prepared, explained)
