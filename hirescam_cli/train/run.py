"""`train`: from a request to a folder with a model that explains; resumed where an earlier run left off."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import torch

from hirescam_cli import __version__
from hirescam_cli.batch.lock import output_lock
from hirescam_cli.durable import output_error
from hirescam_cli.errors import ExitCode, HirescamError, OutputCreateError, UsageError
from hirescam_cli.explain.passes import deterministic
from hirescam_cli.memory import PeakMemory
from hirescam_cli.train.checkpoint import forget, load_checkpoint
from hirescam_cli.train.curves import CURVES
from hirescam_cli.train.events import Event, Fact, Listener
from hirescam_cli.train.loop import Interrupted, Loop
from hirescam_cli.train.objective import Objective
from hirescam_cli.train.optimiser import new_optimiser
from hirescam_cli.train.plan import Plan, Request, differences, make_plan
from hirescam_cli.train.positions import Positions
from hirescam_cli.train.publish import METRICS, MODEL, VALIDATION, WEIGHTS
from hirescam_cli.train.ranks import Ranks, joined
from hirescam_cli.train.records import Progress
from hirescam_cli.train.setting import Setting
from hirescam_cli.train.signals import StopRequest
from hirescam_cli.train.summary import SUMMARY, write_summary
from hirescam_cli.train.trackers import check_trackers, open_trackers
from hirescam_cli.train.writing import Writing

LOG = "log.jsonl"
_MOST_FAILURES = 1
_WRITTEN = (MODEL, WEIGHTS, VALIDATION, METRICS, CURVES, SUMMARY)


@dataclass(frozen=True)
class Result:
    """How it ended: "finished", "already-done" or "interrupted"; `document`: summary.json, in the first process."""

    status: str
    exit_code: int
    document: Mapping[str, object] | None


def train(request: Request, listener: Listener = lambda _event: None) -> Result:
    """Train a network, or go on where an earlier run of the same request was interrupted.

    Raises HirescamError: UsageError and ModelError before any scan is read, ScanError for more failures than allowed,
    NotFiniteError, OutputCreateError, OutputIOError, UnavailableError, MemoryUnavailableError.
    """
    check_trackers(request.control.log)
    # What is wrong with model or table is said before a folder is made.
    request.table(request.spec())
    with ExitStack() as stack:
        ranks = stack.enter_context(joined(request.options.device))
        speak = listener if ranks.first else _silent
        stop = StopRequest()
        stack.enter_context(stop.installed())
        if request.options.deterministic:
            stack.enter_context(_same_bits())
        run = request.control.output
        if ranks.first:
            stack.enter_context(output_lock(run, None))
            if request.control.existing == "overwrite":
                forget(run, _WRITTEN)
            speak = stack.enter_context(_logged(run, speak))
        ranks.wait()
        return _Training(request, ranks, speak, stop).run()


class _Training:
    """One run of this process."""

    def __init__(self, request: Request, ranks: Ranks, listener: Listener, stop: StopRequest) -> None:
        self.request, self.ranks, self.listener, self.stop = request, ranks, listener, stop
        self.begin, self.memory = time.monotonic(), PeakMemory()

    def run(self) -> Result:
        plan = make_plan(self.request, self.ranks, self.listener)
        optimiser = new_optimiser(plan.learner.module, plan.request.options)
        progress = self._progress(plan, optimiser)
        trackers = (
            open_trackers(plan.request.control.log, self.request.control.output, plan.identity)
            if self.ranks.first
            else []
        )
        writing = Writing(plan, self.listener, trackers)
        loop = Loop(self._setting(plan, optimiser), progress, self.listener, writing.epoch, self.stop)
        self._announce(plan, loop)
        if loop.done:
            self.listener(Event("already-done", "This training is finished already."))
            return self._result(plan, loop, "already-done")
        try:
            loop.run()
        except Interrupted as interrupted:
            text = "Interrupted; the same command goes on from here."
            self.listener(
                Event("interrupted", text, {"signal": interrupted.number, "epoch": loop.progress.epoch + 1})
            )
            result = self._result(plan, loop, "interrupted")
            code = ExitCode.INTERRUPTED if interrupted.number == 2 else ExitCode.TERMINATED
            return Result(result.status, code, result.document)
        except HirescamError as error:
            self.listener(Event("failed", error.message, {"code": error.code}))
            if (
                self.ranks.first
                and not isinstance(error, OutputCreateError)
                and error.exit_code != ExitCode.IO_ERROR
            ):
                write_summary(plan, loop.progress, "failed", self._facts(), error)
            raise
        finally:
            for tracker in trackers:
                tracker.close()
        if self.ranks.first:
            writing.last(loop.progress)
        return self._result(plan, loop, "finished")

    def _setting(self, plan: Plan, optimiser: torch.optim.Optimizer) -> Setting:
        control = self.request.control
        return Setting(
            run=control.output, options=plan.request.options, table=plan.table, samples=plan.samples,
            learner=plan.learner, objective=Objective(self.request.masks), optimiser=optimiser, ranks=self.ranks,
            workers=control.workers, checkpoint_seconds=60.0 * control.checkpoint_minutes,
            max_failures=control.max_failures or _MOST_FAILURES,
            positions=Positions(plan.samples, plan.table.of("train"), plan.request.options.seed),
        )  # fmt: skip

    def _progress(self, plan: Plan, optimiser: torch.optim.Optimizer) -> Progress:
        """Where to begin: at the last checkpoint, if it is of the same run. Raises UsageError, OutputCreateError."""
        control = self.request.control
        found = load_checkpoint(control.output)
        if found is None:
            return Progress(identity=dict(plan.identity))
        if control.existing == "error":
            raise OutputCreateError(
                f"{control.output} holds a training.",
                hint="Choose another --output, or --existing skip to go on.",
            )
        changed = differences(found.progress.identity, plan.identity)
        if changed and not control.continue_anyway:
            raise UsageError(
                f"{control.output} holds a training of other data or options: {'; '.join(changed)}.",
                hint="Repeat the command as it was, choose another --output, or --continue-anyway.",
                code="options-changed",
            )
        if changed:
            self.listener(
                Event(
                    "continued-anyway", f"Going on though something is not as it was: {'; '.join(changed)}."
                )
            )
        found.restore(plan.learner.module, optimiser)
        progress = msgspec.structs.replace(found.progress, identity=dict(plan.identity))
        text = f"Going on after epoch {progress.epoch}, step {progress.step}."
        self.listener(Event("resumed", text, {"epoch": progress.epoch, "step": progress.step}))
        return progress

    def _announce(self, plan: Plan, loop: Loop) -> None:
        counts = {split: len(plan.table.of(split)) for split in ("train", "valid")}
        parameters = sum(p.numel() for p in plan.learner.module.parameters())
        steps = plan.request.options.warm_up
        warm_up = f"{steps} steps of warm-up, " if steps else ""
        text = (
            f"{plan.spec.name}: {parameters:,} parameters, {counts['train']} training and {counts['valid']} validation "
            f"scans, {warm_up}{loop.steps} steps an epoch, on {plan.device} in {plan.precision}."
        )
        facts: dict[str, Fact] = {
            "device": str(plan.device),
            "precision": plan.precision,
            "steps": loop.steps,
            **counts,
        }
        self.listener(Event("started", text, facts))
        if plan.start.sha256 is not None:
            unused = ", ".join(plan.start.unused) or "none"
            text = f"Start weights loaded; entries without use: {unused}; random: {len(plan.start.random)}."
            self.listener(Event("start-weights", text, {"sha256": plan.start.sha256, "unused": unused}))

    def _result(self, plan: Plan, loop: Loop, status: str) -> Result:
        failed = loop.progress.failed
        code = ExitCode.SOME_FAILED if failed and status == "finished" else ExitCode.OK
        if not self.ranks.first:
            return Result(status, code, None)
        document = write_summary(plan, loop.progress, status, self._facts())
        if status == "finished":
            best = loop.progress.best_epoch
            text = f"Finished after {loop.progress.epoch} epochs; the weights are those of epoch {best}."
            self.listener(Event("finished", text, {"epochs": loop.progress.epoch, "best_epoch": best}))
        return Result(status, code, document)

    def _facts(self) -> dict[str, object]:
        return {
            "version": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "processes": self.ranks.size,
            "seconds_this_time": round(time.monotonic() - self.begin, 3),
            "peak_memory_mib": self.memory.mib(),
        }


def _silent(_event: Event) -> None:
    """What the other processes have to say."""


@contextmanager
def _logged(run: Path, listener: Listener) -> Iterator[Listener]:
    """A listener that also appends lasting events to RUN/log.jsonl, one JSON object a line."""
    try:
        stream = (run / LOG).open("a", encoding="utf-8")
    except OSError as error:
        raise output_error(error, LOG) from error

    def both(event: Event) -> None:
        listener(event)
        if event.lasting:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            line = {"time": now, "event": event.name, "text": event.text, **event.facts}
            try:
                stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
                stream.flush()
            except OSError as error:
                raise output_error(error, LOG) from error

    with stream:
        yield both


@contextmanager
def _same_bits() -> Iterator[None]:
    """Only deterministic algorithms, on a GPU too; as before afterwards."""
    was, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True)
    try:
        with deterministic():
            yield
    finally:
        torch.use_deterministic_algorithms(was, warn_only=warned)
