"""The same plan on a Dask cluster: paths travel, not arrays; workers read, explain and publish cases
themselves.

A worker loads the model once and has one scan at a time under way, whatever its threads. No more than two
scans are given to a worker, so that one that dies takes few along; a scan that loses its worker twice is set
aside as failed. Publishing is atomic and a case's content depends on nothing but its input and options, so a
worker that was given up too early and finishes late does no harm.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hirescam_cli.batch.events import Callback, Notice, Status
from hirescam_cli.batch.index import INDEX_FILES
from hirescam_cli.batch.lock import output_lock
from hirescam_cli.batch.options import RunOptions, processors
from hirescam_cli.batch.plan import Plan
from hirescam_cli.batch.readers import ReaderPool
from hirescam_cli.batch.resume import Identity, finished_cases
from hirescam_cli.batch.signals import Interruption
from hirescam_cli.batch.stages import Stages, identity_of
from hirescam_cli.batch.tally import Tally
from hirescam_cli.batch.worker import Failed, Reading, Task, Unchanged, failed
from hirescam_cli.batch.writing import publish_case, publish_failure
from hirescam_cli.children import child_environment
from hirescam_cli.errors import (
    HirescamError,
    OutputCreateError,
    OutputIOError,
    ScanError,
    UnavailableError,
    UsageError,
)
from hirescam_cli.io.scan import Scan
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.output.publish import sweep
from hirescam_cli.settings import Settings

if TYPE_CHECKING:
    from hirescam_cli.pipeline import RunFacts, Session

_IN_FLIGHT = 2
_LOSSES = 2
_POLL_SECONDS = 0.5
_CONNECT_SECONDS = 20.0


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
    warnings: tuple[str, ...] = ()


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

    def read(self, job: Job, task: Task) -> Any:
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
        result = value if isinstance(value, Failed) else _explain(job, session, task.scan, value)
        if isinstance(result, Failed):
            if isinstance(result.error, OutputCreateError | OutputIOError):
                raise result.error
            seconds = time.monotonic() - began
            publish_failure(
                job.out, task.scan, job.settings, session.facts, job.stages, result.error, seconds
            )
            return Answer("failed", seconds, result)
        return Answer("done", time.monotonic() - began, warnings=tuple(result.get("warnings") or ()))


def _explain(job: Job, session: Session, scan: Scan, prepared: Any) -> Failed | dict[str, Any]:
    try:
        explained = job.stages.explain_prepared(session, prepared)
    except UnavailableError:
        raise
    except Exception as error:
        return failed(error, scan.name, "explain")
    return publish_case(job.out, scan, job.settings, session.facts, job.stages, prepared, explained)


def run_on_cluster(
    plan: Plan,
    settings: Settings,
    spec: ModelSpec,
    options: RunOptions,
    on_event: Callback | None,
    stages: Stages,
    interruption: Interruption,
) -> dict[str, Any]:
    """Carry out a plan on the cluster of `options.scheduler`; returns the fields of a `BatchResult`.

    Raises UsageError without Dask, UnavailableError if there is no such scheduler, and what `run` raises.
    """
    tally = Tally(plan, options.max_failures, on_event, interruption)
    absolute = _absolute(plan, settings, spec)
    job = Job(absolute[0].out, absolute[1], absolute[2], stages, options.timeout)
    with ExitStack() as stack:
        stack.enter_context(interruption.installed() if options.handle_signals else nullcontext())
        client = stack.enter_context(_client(options))
        if not stack.enter_context(output_lock(plan.out, plan.part)):
            tally.emit(Notice("no-locks", "The output's file system knows no locks."))
        run = _ClusterRun(client, job, tally, interruption)
        tasks = run.tasks(absolute[0], options)
        stack.enter_context(tally.started(run.current))
        run.go(tasks)
        return tally.finish()


def _absolute(plan: Plan, settings: Settings, spec: ModelSpec) -> tuple[Plan, Settings, ModelSpec]:
    """The same with absolute paths: workers have other working directories."""
    scans = tuple(
        replace(scan, files=tuple(path.absolute() for path in scan.files), root=scan.root.absolute())
        for scan in plan.scans
    )
    weights = None if settings.weights is None else settings.weights.absolute()
    weights_file = None if spec.weights_file is None else spec.weights_file.absolute()
    return (
        replace(plan, out=plan.out.absolute(), scans=scans),
        replace(settings, weights=weights),
        replace(spec, weights_file=weights_file),
    )


@contextmanager
def _client(options: RunOptions) -> Iterator[Any]:
    """A client of the scheduler, or of a cluster of this machine's own for "local"."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UsageError(
            "--scheduler needs Dask, which is not installed.",
            hint='Install "hirescam-cli[dask]", or divide the work with --num-parts and --part-id.',
            code="dask-missing",
        ) from error
    with ExitStack() as stack:
        address: Any = options.scheduler
        if address == "local":
            stack.enter_context(_children_search_the_installation())
            address = stack.enter_context(
                LocalCluster(
                    n_workers=options.jobs or max(1, processors() // 2),
                    threads_per_worker=1,
                    dashboard_address=None,
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"No Dask scheduler answers at {options.scheduler}.",
                hint="Start one with `dask scheduler` and give its address, such as tcp://host:8786.",
                code="scheduler-unreachable",
            ) from error
        yield stack.enter_context(client)


@contextmanager
def _children_search_the_installation() -> Iterator[None]:
    """Inside the context, Python processes that others start search the working folder for no module."""
    wanted = child_environment() | {"PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    os.environ.update({name: wanted[name] for name in before})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class _Given:
    """A task that was given to a worker."""

    task: Task
    worker: str
    since: float


class _ClusterRun:
    """The client's side: which scans are where, and what came of them."""

    def __init__(self, client: Any, job: Job, tally: Tally, interruption: Interruption) -> None:
        self.client, self.job, self.tally, self.interruption = client, job, tally, interruption
        self.facts: RunFacts
        self.identity: Identity
        self.under_way: dict[Any, _Given] = {}

    def current(self) -> list[tuple[str, float]]:
        """Cases on the cluster, with the seconds since they were given to it."""
        now = time.monotonic()
        return [(given.task.scan.case, now - given.since) for given in list(self.under_way.values())]

    def tasks(self, plan: Plan, options: RunOptions) -> deque[Task]:
        """Load the model on the first worker that there is, then look at what an earlier run left."""
        if not self._workers():
            self.tally.emit(Notice("no-workers", "Waiting for the Dask scheduler to have workers."))
        while not self._workers():
            if self.interruption.requested.wait(_POLL_SECONDS):
                return deque()
        future = self.client.submit(open_on_worker, self.job, pure=False, resources=self._resources())
        self.facts = future.result()
        self.identity = identity_of(self.facts, self.job.settings)
        cases = [scan.case for scan in plan.scans]
        sweep(plan.out, cases if plan.part else [*cases, *INDEX_FILES])
        done = finished_cases(plan.out, cases, self.identity, options.existing, options.verify)
        return deque(Task(scan, done.get(scan.case)) for scan in plan.scans)

    def go(self, waiting: deque[Task]) -> None:
        """Give out all tasks and collect what came of them."""
        try:
            while (waiting or self.under_way) and not self._ended():
                self._give(waiting)
                for future in self._ready():
                    self._take(future, waiting)
        except HirescamError as error:
            self.tally.end_with(error)
        self.client.cancel(list(self.under_way))
        self.under_way.clear()

    def _ended(self) -> bool:
        return self.tally.stopped or self.interruption.requested.is_set()

    def _workers(self) -> list[str]:
        """Addresses of the workers that may take scans: with a GPU of their own, if one was asked for by name."""
        if self.client.status != "running":
            raise UnavailableError(
                "The Dask scheduler is gone.", code="scheduler-lost", hint="Run again to resume."
            )
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        if self._resources():
            return [address for address, worker in workers.items() if worker.get("resources", {}).get("GPU")]
        return list(workers)

    def _resources(self) -> dict[str, int] | None:
        return {"GPU": 1} if self.job.settings.device.startswith("cuda") else None

    def _give(self, waiting: deque[Task]) -> None:
        """Give scans to the workers that have fewer than two, the idlest first."""
        load = dict.fromkeys(self._workers(), 0)
        self._take_back(load, waiting)
        for given in self.under_way.values():
            load[given.worker] += 1
        while waiting and load and min(load.values()) < _IN_FLIGHT:
            worker = min(load, key=lambda address: load[address])
            load[worker] += 1
            task = waiting.popleft()
            future = self.client.submit(
                explain_on_worker, self.job, task, workers=[worker], resources=self._resources(), pure=False
            )
            self.under_way[future] = _Given(task, worker, time.monotonic())

    def _take_back(self, alive: Mapping[str, int], waiting: deque[Task]) -> None:
        """Take scans back from workers that are gone; the one that each had under way counts as lost."""
        blamed: set[str] = set()
        for future, given in list(self.under_way.items()):
            if given.worker not in alive:
                del self.under_way[future]
                future.cancel()
                self._lost(given, waiting, blame=given.worker not in blamed)
                blamed.add(given.worker)

    def _lost(self, given: _Given, waiting: deque[Task], *, blame: bool) -> None:
        task = given.task.again() if blame else given.task
        if task.attempt > _LOSSES:
            self._set_aside(task, Failed(_lost_too_often(task)), given.since)
            return
        case = task.scan.case
        done = finished_cases(self.job.out, [case], self.identity, "skip", verify=False)
        waiting.appendleft(replace(task, finished=done.get(case), handed_back=True))

    def _ready(self) -> list[Any]:
        from distributed import wait

        if not self.under_way:
            self.interruption.requested.wait(_POLL_SECONDS)
            return []
        with suppress(TimeoutError), self.client.as_current():
            wait(list(self.under_way), timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")
        return [future for future in self.under_way if future.status != "pending"]

    def _take(self, future: Any, waiting: deque[Task]) -> None:
        """Count what came of one scan; HirescamError ends the run."""
        given = self.under_way.pop(future)
        error = future.exception() if future.status == "error" else None
        if future.status in ("cancelled", "lost"):
            waiting.appendleft(given.task)
        elif error is None:
            self._count(given.task, future.result())
        elif isinstance(error, HirescamError):
            raise error
        elif type(error).__name__ == "KilledWorker":
            self._lost(given, waiting, blame=True)
        else:
            self._set_aside(given.task, failed(error, given.task.scan.name, "run"), given.since)

    def _count(self, task: Task, answer: Answer) -> None:
        if answer.failure is None:
            status: Status = "done" if task.handed_back else answer.status
            self.tally.finished(task.scan.case, status, answer.seconds, warnings=answer.warnings)
        else:
            self.tally.failing()
            self.tally.failed(task.scan.case, answer.failure, answer.seconds)

    def _set_aside(self, task: Task, failure: Failed, since: float) -> None:
        job = self.job
        seconds = time.monotonic() - since
        self.tally.failing()
        publish_failure(job.out, task.scan, job.settings, self.facts, job.stages, failure.error, seconds)
        self.tally.failed(task.scan.case, failure, seconds)


def _lost_too_often(task: Task) -> ScanError:
    return ScanError(
        f"{task.scan.name} lost its worker {_LOSSES} times.",
        hint="It may need more memory than a worker has; run it alone to see.",
        code="worker-lost",
        stage="run",
    )
