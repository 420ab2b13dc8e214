"""The loop: epochs of steps, validation after each, checkpoints on the way. The same bits after any interruption."""

from __future__ import annotations

import math
import signal
import time
from typing import Protocol

import msgspec
import numpy as np
import torch

from hirescam_cli.batch.progress import duration
from hirescam_cli.errors import HirescamError
from hirescam_cli.explain.shortage import memory_needed
from hirescam_cli.train.augmentation import order
from hirescam_cli.train.checkpoint import save_checkpoint
from hirescam_cli.train.events import Event, Listener
from hirescam_cli.train.failures import Failures, NotFiniteError, none_usable
from hirescam_cli.train.records import EpochFigures, Losses, Progress
from hirescam_cli.train.scans import ahead
from hirescam_cli.train.setting import Setting
from hirescam_cli.train.signals import StopRequest
from hirescam_cli.train.steps import Steps
from hirescam_cli.train.validation import Answer, Validation, mean_auroc


class Epochs(Protocol):
    """Who hears of the end of epochs, in the first process."""

    def __call__(self, validation: Validation, progress: Progress, *, better: bool) -> None:
        """An epoch has ended; its figures are the last of the history."""


class Interrupted(Exception):
    """A signal asked for the end; all that was done is kept. `number`: the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Loop:
    """Trains from `progress` on; `progress` is always where the weights are."""

    def __init__(
        self, setting: Setting, progress: Progress, listener: Listener, epochs: Epochs, stop: StopRequest
    ) -> None:
        self.setting, self.progress = setting, progress
        self._listener, self._epochs, self._stop = listener, epochs, stop
        self.failures = Failures(progress.failed, setting.max_failures, listener)
        self.take = Steps(setting, self.failures, stop)
        self._saved = time.monotonic()
        self._rows = setting.table.of("train")
        self.steps = setting.steps

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        options = self.setting.options
        return self.progress.epoch >= options.epochs or self.progress.since_best >= options.patience

    def run(self) -> Progress:
        """Train to the end. Raises Interrupted, NotFiniteError, ScanError, and what writing raises."""
        with torch.random.fork_rng(), memory_needed(self.setting.learner.device, "training on this scan"):
            if self.progress.warmed < self.setting.options.warm_up:
                self._warm_up()
                self._checkpoint()
            while not self.done:
                if self.progress.step < self.steps:
                    self._train()
                    self._check_trained()
                    self._checkpoint()
                self._end_of_epoch()
        return self.progress

    def _warm_up(self) -> None:
        """The steps on positions that are left."""
        setting, options, ranks = self.setting, self.setting.options, self.setting.ranks
        positions = setting.positions
        assert positions is not None
        setting.learner.module.train()
        todo = range(self.progress.warmed, options.warm_up)
        own = range(ranks.rank, options.warm_up_positions, ranks.size)
        begin, before = time.monotonic(), self.progress.seconds
        for step, drawn in ahead(todo, lambda step: positions.draw_all(step, own), setting.workers):
            assert not isinstance(drawn, HirescamError)
            sums = self.take.on_positions(drawn, self.progress.total_steps)
            now, seconds = self.progress, time.monotonic() - begin
            self.progress = msgspec.structs.replace(
                now, warmed=step + 1, total_steps=now.total_steps + 1, sums=now.sums.plus(sums),
                seconds=before + seconds, failed=dict(self.failures.found),
            )  # fmt: skip
            self._tell_warm_up(seconds / (step + 1 - todo.start))
            self._between_steps()

    def _train(self) -> None:
        """The steps of an epoch that are left."""
        setting, progress, begin = self.setting, self.progress, time.monotonic()
        setting.learner.module.train()
        if setting.options.warm_up:
            # Statistics of one scan's positions are not those of positions of many.
            setting.learner.keep_statistics()
        todo = self._own_share(progress.epoch, progress.step)
        epoch, before = progress.epoch, progress.epoch_seconds
        samples = ahead(
            [place for step in todo for place in step],
            lambda place: setting.samples.training(self._rows[place], place, epoch),
            setting.workers,
        )
        for places in todo:
            now = self.progress
            sums = self.take.on_scans([next(samples) for _ in places], self._rows, epoch, now.total_steps)
            seconds = before + time.monotonic() - begin
            self.progress = msgspec.structs.replace(
                now, step=now.step + 1, total_steps=now.total_steps + 1, validated=False, sums=now.sums.plus(sums),
                epoch_seconds=seconds, failed=dict(self.failures.found),
            )  # fmt: skip
            self._tell_step(seconds)
            self._between_steps()

    def _between_steps(self) -> None:
        """A checkpoint where it is due, and the end where it was asked for."""
        if time.monotonic() - self._saved >= self.setting.checkpoint_seconds and self.setting.ranks.first:
            self._checkpoint()
        self._end_if_asked()

    def _own_share(self, epoch: int, first: int) -> list[list[int]]:
        """The places of the scans that this process takes in each step that is left."""
        ranks, each = self.setting.ranks, self.setting.options.accumulate
        places = order(self.setting.options.seed, epoch, len(self._rows)).tolist()
        size = ranks.size * each
        return [
            places[step * size : (step + 1) * size][ranks.rank :: ranks.size]
            for step in range(first, self.steps)
        ]

    def _end_of_epoch(self) -> None:
        """Validate, publish what is better, go on to the next epoch."""
        setting, progress, begin = self.setting, self.progress, time.monotonic()
        validation = self._validate()
        labels = validation.figures(setting.table.labels)
        figures = EpochFigures(
            epoch=progress.epoch + 1,
            train=progress.sums.mean(),
            valid=validation.losses,
            lr=setting.rate(progress.total_steps),
            seconds=progress.epoch_seconds + time.monotonic() - begin,
            auroc=mean_auroc(labels),
            labels=labels,
        )
        better = progress.better(figures, setting.options.monitor)
        self.progress = msgspec.structs.replace(
            progress,
            epoch=progress.epoch + 1,
            step=0,
            validated=True,
            sums=Losses(),
            epoch_seconds=0.0,
            seconds=progress.seconds + figures.seconds,
            best=progress.value(figures, setting.options.monitor) if better else progress.best,
            best_epoch=progress.epoch + 1 if better else progress.best_epoch,
            since_best=0 if better else progress.since_best + 1,
            failed=dict(self.failures.found),
            history=(*progress.history, figures),
        )
        if setting.ranks.first:
            self._epochs(validation, self.progress, better=better)
        self._checkpoint()

    def _validate(self) -> Validation:
        """The answers of all processes, each scan once. Raises Interrupted, NotFiniteError, ScanError."""
        setting, ranks = self.setting, self.setting.ranks
        setting.learner.module.eval()
        rows = setting.table.of("valid")
        answers: list[Answer] = []
        for row, sample in ahead(rows[ranks.rank :: ranks.size], setting.samples.validation, setting.workers):
            if isinstance(sample, HirescamError):
                self.failures.add(row, sample)
                continue
            found = setting.learner.look(sample.voxels)
            _, losses = setting.objective.of(sample, found)
            answers.append(Answer(row.id, tuple(found.logits.double().tolist()), losses))
            if self._stop.number is not None:
                break
        _, failed = self.take.agree(Losses())
        self._end_if_asked()
        self.failures.found.update(dict(ranks.gather(list(self.failures.found.items()))))
        self.progress = msgspec.structs.replace(self.progress, failed=dict(self.failures.found))
        self.failures.check(failed)
        validation = Validation.of(ranks.gather(answers), rows)
        self._check_judged(validation)
        return validation

    def _check_trained(self) -> None:
        """Raise ScanError where no scan of the epoch could be trained on."""
        if not self.progress.sums.scans:
            raise none_usable("training", self.failures.found, self._rows)

    def _check_judged(self, validation: Validation) -> None:
        """Whether an epoch can be judged by a validation. Raises ScanError, NotFiniteError."""
        if np.isnan(validation.truth).all():
            rows = self.setting.table.of("valid")
            raise none_usable("validation", self.failures.found, rows)
        if not math.isfinite(validation.losses.total):
            best = self.progress.best_epoch
            kept = "" if best is None else f"; the weights of epoch {best} are those of RUN/model.toml"
            raise NotFiniteError(
                f"The loss of the validation scans is not finite in epoch {self.progress.epoch + 1}.",
                hint=f"Begin anew with a lower --lr{kept}.",
            )

    def _checkpoint(self) -> None:
        if self.setting.ranks.first:
            save_checkpoint(
                self.setting.run, self.setting.learner.module, self.setting.optimiser, self.progress
            )
        self._saved = time.monotonic()

    def _end_if_asked(self) -> None:
        """Where any process was asked to end, all keep what they have and end."""
        if self.take.asked:
            self._checkpoint()
            raise Interrupted(self._stop.number or signal.SIGTERM)

    def _tell_step(self, seconds: float) -> None:
        progress = self.progress
        mean = progress.sums.mean()
        left = seconds / progress.step * (self.steps - progress.step)
        epochs = self.setting.options.epochs - progress.epoch - 1
        whole = progress.history[-1].seconds if progress.history else seconds / progress.step * self.steps
        facts = {
            "epoch": progress.epoch + 1, "step": progress.step, "steps": self.steps, "loss": mean.total,
            "seconds": seconds, "left": left, "left_at_most": left + epochs * whole,
        }  # fmt: skip
        self._listener(Event("step", "", facts, lasting=False))

    def _tell_warm_up(self, each: float) -> None:
        """A line at each tenth, whose loss is that of its own steps; a sign of life at the others."""
        progress, steps = self.progress, self.setting.options.warm_up
        left, loss = each * (steps - progress.warmed), progress.sums.mean().total
        lasting = progress.warmed % max(1, steps // 10) == 0 or progress.warmed == steps
        facts = {
            "step": progress.warmed,
            "steps": steps,
            "loss": loss,
            "seconds": progress.seconds,
            "left": left,
        }
        text = f"Warm-up, step {progress.warmed} of {steps}: loss {loss:.4f}, {duration(left)} left in it."
        self._listener(Event("warm-up", text, facts, lasting))
        if lasting:
            self.progress = msgspec.structs.replace(progress, sums=Losses())
