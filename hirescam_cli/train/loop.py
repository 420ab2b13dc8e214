"""The loop: epochs of steps, validation after each, checkpoints on the way. The same bits after any interruption."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import torch

from hirescam_cli.errors import HirescamError, ModelError
from hirescam_cli.explain.shortage import is_out_of_memory, memory_needed
from hirescam_cli.train.augmentation import order
from hirescam_cli.train.checkpoint import save_checkpoint
from hirescam_cli.train.events import Event, Listener
from hirescam_cli.train.failures import Failures, NotFiniteError
from hirescam_cli.train.learner import Learner
from hirescam_cli.train.objective import Objective
from hirescam_cli.train.optimiser import rate
from hirescam_cli.train.options import TrainOptions
from hirescam_cli.train.ranks import Ranks
from hirescam_cli.train.records import EpochFigures, Losses, Progress
from hirescam_cli.train.samples import Sample, Samples
from hirescam_cli.train.scans import ahead
from hirescam_cli.train.signals import StopRequest
from hirescam_cli.train.table import Table
from hirescam_cli.train.validation import Answer, Validation, mean_auroc


class Epochs(Protocol):
    """Who hears of the end of epochs, in the first process."""

    def __call__(self, validation: Validation, progress: Progress, *, better: bool) -> None:
        """An epoch has ended; its figures are the last of the history."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What a run consists of. `workers`: scans read ahead; `checkpoint_seconds`: between checkpoints in an epoch."""

    run: Path
    options: TrainOptions
    table: Table
    samples: Samples
    learner: Learner
    objective: Objective
    optimiser: torch.optim.Optimizer
    ranks: Ranks
    workers: int
    checkpoint_seconds: float
    max_failures: int


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
        self._failed = len(progress.failed)
        self._asked = False
        self._saved = time.monotonic()
        self._parameters = [p for p in setting.learner.module.parameters() if p.requires_grad]
        self._buffers = [b for b in setting.learner.module.buffers() if b.is_floating_point()]
        self._rows = setting.table.of("train")
        self.steps = math.ceil(len(self._rows) / (setting.ranks.size * setting.options.accumulate))

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        options = self.setting.options
        return self.progress.epoch >= options.epochs or self.progress.since_best >= options.patience

    def run(self) -> Progress:
        """Train to the end. Raises Interrupted, NotFiniteError, ScanError, and what writing raises."""
        with torch.random.fork_rng(), memory_needed(self.setting.learner.device, "training on this scan"):
            while not self.done:
                if self.progress.step < self.steps:
                    self._train()
                    self._checkpoint()
                self._end_of_epoch()
        return self.progress

    def _train(self) -> None:
        """The steps of an epoch that are left."""
        setting, progress, begin = self.setting, self.progress, time.monotonic()
        setting.learner.module.train()
        todo = self._own_share(progress.epoch, progress.step)
        epoch, before = progress.epoch, progress.epoch_seconds
        samples = ahead(
            [place for step in todo for place in step],
            lambda place: setting.samples.training(self._rows[place], place, epoch),
            setting.workers,
        )
        for places in todo:
            sums = self.step([next(samples) for _ in places])
            now = self.progress
            seconds = before + time.monotonic() - begin
            self.progress = msgspec.structs.replace(
                now, step=now.step + 1, total_steps=now.total_steps + 1, validated=False, sums=now.sums.plus(sums),
                epoch_seconds=seconds, failed=dict(self.failures.found),
            )  # fmt: skip
            self._tell_step(seconds)
            if time.monotonic() - self._saved >= setting.checkpoint_seconds and setting.ranks.first:
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

    def step(self, samples: Sequence[tuple[int, Sample | HirescamError]]) -> Losses:
        """One step of the optimiser on the scans of all processes; returns the sums of their losses."""
        setting, ranks = self.setting, self.setting.ranks
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.zero_()
        sums = Losses()
        for place, sample in samples:
            if isinstance(sample, HirescamError):
                self.failures.add(self._rows[place], sample)
                continue
            torch.manual_seed(self._seed(place))
            sums = sums.plus(self._learn_from(sample))
        sums, failed = self._agree(sums)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        ranks.add(gradients)
        self._check_finite(sums, gradients)
        self.failures.check(failed)
        if sums.scans:
            for gradient in gradients:
                gradient.div_(sums.scans)
            now = rate(setting.options, self.progress.total_steps, setting.options.epochs * self.steps)
            for group in setting.optimiser.param_groups:
                group["lr"] = now
            setting.optimiser.step()
        self._average_buffers()
        return sums

    def _learn_from(self, sample: Sample) -> Losses:
        """Add a scan's gradient. Raises ModelError where the network cannot be trained on such an input at all."""
        try:
            loss, parts = self.setting.objective.of(sample, self.setting.learner.run(sample.voxels))
            if math.isfinite(parts.total):
                loss.backward()  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            if self.progress.total_steps or is_out_of_memory(error):
                raise
            raise ModelError(
                f"The network cannot be trained on the input that its preparation makes: {error}",
                hint="Compare [input], [[preparation]] and [parameters] with what the network takes.",
                code="network-input",
            ) from error
        return parts

    def _seed(self, place: int) -> int:
        key = [self.setting.options.seed, 2, self.progress.epoch, place]
        return int(np.random.SeedSequence(key).generate_state(1)[0])

    def _agree(self, sums: Losses) -> tuple[Losses, int]:
        """Sums over all processes, and how many scans have failed in all."""
        asked = self._stop.number is not None
        numbers = [sums.scans, sums.total, sums.classification, sums.mask, self.failures.take_new(), asked]
        scans, total, classification, mask, new, stop = self.setting.ranks.add_numbers(
            numbers, self.setting.learner.device
        )
        self._failed += int(new)
        self._asked = stop > 0
        return Losses(scans=int(scans), total=total, classification=classification, mask=mask), self._failed

    def _check_finite(self, sums: Losses, gradients: Sequence[torch.Tensor]) -> None:
        norm = torch.stack([gradient.norm() for gradient in gradients]).sum()
        if math.isfinite(sums.total) and torch.isfinite(norm):
            return
        what = "gradient" if math.isfinite(sums.total) else "loss"
        raise NotFiniteError(
            f"The {what} is not finite in epoch {self.progress.epoch + 1}, step {self.progress.step + 1}.",
            hint="Begin anew with a lower --lr, or --precision fp32; the last checkpoint is from before.",
        )

    def _average_buffers(self) -> None:
        """Running statistics are each process's own within a step and their mean after it."""
        ranks = self.setting.ranks
        if ranks.size > 1 and self._buffers:
            ranks.add(self._buffers)
            for buffer in self._buffers:
                buffer.div_(ranks.size)

    def _end_of_epoch(self) -> None:
        """Validate, publish what is better, go on to the next epoch."""
        setting, progress, begin = self.setting, self.progress, time.monotonic()
        validation = self._validate()
        labels = validation.figures(setting.table.labels)
        figures = EpochFigures(
            epoch=progress.epoch + 1,
            train=progress.sums.mean(),
            valid=validation.losses,
            lr=rate(setting.options, progress.total_steps, setting.options.epochs * self.steps),
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
        _, failed = self._agree(Losses())
        self._end_if_asked()
        self.failures.found.update(dict(ranks.gather(list(self.failures.found.items()))))
        self.failures.check(failed)
        validation = Validation.of(ranks.gather(answers), rows)
        if not len(validation.ids) or not math.isfinite(validation.losses.total):
            raise NotFiniteError(
                f"The loss of the validation scans is not finite in epoch {self.progress.epoch + 1}.",
                hint="Begin anew with a lower --lr; the last good weights are those of RUN/model.toml.",
            )
        return validation

    def _checkpoint(self) -> None:
        if self.setting.ranks.first:
            save_checkpoint(
                self.setting.run, self.setting.learner.module, self.setting.optimiser, self.progress
            )
        self._saved = time.monotonic()

    def _end_if_asked(self) -> None:
        """Where any process was asked to end, all keep what they have and end."""
        if self._asked:
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
