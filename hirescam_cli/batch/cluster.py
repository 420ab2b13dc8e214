"""The same plan on a Dask cluster: paths travel, not arrays; workers read, explain and publish cases
themselves.

A worker loads the model once and has one scan at a time under way, whatever its threads. No more than two
scans are given to a worker, so that one that dies takes few along; a scan that loses its worker twice is set
aside as failed. Publishing is atomic and a case's content depends on nothing but its input and options, so a
worker that was given up too early and finishes late does no harm.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hirescam_cli.batch.cluster_worker import Answer, Job, explain_on_worker, open_on_worker
from hirescam_cli.batch.events import Callback, Notice, Status
from hirescam_cli.batch.index import INDEX_FILES
from hirescam_cli.batch.lock import output_lock
from hirescam_cli.batch.options import RunOptions
from hirescam_cli.batch.plan import Plan
from hirescam_cli.batch.result import BatchResult
from hirescam_cli.batch.scheduler import connected, scheduler_lost, scheduler_needed
from hirescam_cli.batch.signals import Interruption
from hirescam_cli.batch.stages import Stages, identity_of
from hirescam_cli.batch.tally import Tally
from hirescam_cli.batch.worker import Failed, Task, failed
from hirescam_cli.batch.writing import publish_failure
from hirescam_cli.case.identity import Identity, finished_cases
from hirescam_cli.case.publish import sweep
from hirescam_cli.errors import (
    HirescamError,
    ScanError,
)
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.settings import Settings

if TYPE_CHECKING:
    from hirescam_cli.pipeline import RunFacts

_IN_FLIGHT = 2
_LOSSES = 2
_POLL_SECONDS = 0.5
_GATHER_SECONDS = 10.0


def run_on_cluster(
    plan: Plan,
    settings: Settings,
    spec: ModelSpec,
    options: RunOptions,
    on_event: Callback | None,
    stages: Stages,
    interruption: Interruption,
) -> BatchResult:
    """Carry out a plan on the cluster of `options.scheduler`.

    Raises UsageError without Dask, UnavailableError if there is no such scheduler, and what `run` raises.
    """
    tally = Tally(plan, options.max_failures, on_event, interruption)
    absolute = _absolute(plan, settings, spec)
    job = Job(absolute[0].out, absolute[1], absolute[2], stages, options.timeout)
    with ExitStack() as stack:
        stack.enter_context(interruption.installed() if options.handle_signals else nullcontext())
        client = stack.enter_context(connected(options))
        if not stack.enter_context(output_lock(plan.out, plan.part)):
            tally.emit(Notice("no-locks", "The output's file system knows no locks."))
        run = _ClusterRun(client, job, tally, interruption)
        with scheduler_needed(client):
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
    weights = tuple(path.absolute() for path in settings.weights)
    weights_files = tuple(path.absolute() for path in spec.weights_files)
    return (
        replace(plan, out=plan.out.absolute(), scans=scans),
        replace(settings, weights=weights),
        replace(spec, weights_files=weights_files),
    )


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
        self.identity = identity_of(self.facts)
        cases = [scan.case for scan in plan.scans]
        sweep(plan.out, cases if plan.part else [*cases, *INDEX_FILES])
        done = finished_cases(plan.out, cases, self.identity, options.existing, options.verify)
        return deque(Task(scan, done.get(scan.case)) for scan in plan.scans)

    def go(self, waiting: deque[Task]) -> None:
        """Give out all tasks and collect what came of them."""
        try:
            with scheduler_needed(self.client):
                while (waiting or self.under_way) and not self._ended():
                    self._give(waiting)
                    for future in self._ready():
                        self._take(future, waiting)
                self.client.cancel(list(self.under_way))
        except HirescamError as error:
            self.tally.end_with(error)
        self.under_way.clear()

    def _ended(self) -> bool:
        return self.tally.stopped or self.interruption.requested.is_set()

    def _workers(self) -> list[str]:
        """Addresses of the workers that may take scans: with a GPU of their own, if one was asked for by name."""
        if self.client.status != "running":
            raise scheduler_lost()
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
            self._gather(future, given, waiting)
        elif isinstance(error, HirescamError):
            raise error
        elif type(error).__name__ == "KilledWorker":
            self._lost(given, waiting, blame=True)
        else:
            self._set_aside(given.task, failed(error, given.task.scan.name, "run"), given.since)

    def _gather(self, future: Any, given: _Given, waiting: deque[Task]) -> None:
        """Fetch an answer, which is lost with its worker where that died between giving it and being asked for it."""
        try:
            answer = future.result(timeout=_GATHER_SECONDS)
        except TimeoutError:
            future.cancel()
            self._lost(given, waiting, blame=False)
        else:
            self._count(given.task, answer)

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
