"""Single steps of the optimiser, on whole scans or on positions of many, alike in all processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from hirescam_cli.errors import HirescamError, ModelError
from hirescam_cli.explain.shortage import is_out_of_memory
from hirescam_cli.train.failures import Failures, NotFiniteError
from hirescam_cli.train.records import Losses
from hirescam_cli.train.samples import Position, Sample
from hirescam_cli.train.setting import Setting
from hirescam_cli.train.signals import StopRequest
from hirescam_cli.train.table import Row

Drawn = Sequence[tuple[Row, Position | HirescamError]]


class Steps:
    """Takes them. `asked`: whether any process was asked to end, as of the last step or `agree`."""

    def __init__(self, setting: Setting, failures: Failures, stop: StopRequest) -> None:
        self.failures, self.asked = failures, False
        self._setting, self._stop = setting, stop
        self._failed = len(failures.found)
        self._parameters = [p for p in setting.learner.module.parameters() if p.requires_grad]
        self._buffers = [b for b in setting.learner.module.buffers() if b.is_floating_point()]

    def on_scans(
        self,
        samples: Sequence[tuple[int, Sample | HirescamError]],
        rows: Sequence[Row],
        epoch: int,
        done: int,
    ) -> Losses:
        """A step on whole scans, each with its place in `rows`; `done`: steps before it. The sums of their losses."""

        def learn() -> Losses:
            sums = Losses()
            for place, sample in samples:
                if isinstance(sample, HirescamError):
                    self.failures.add(rows[place], sample)
                    continue
                self._seed(2, epoch, place)
                sums = sums.plus(self._learn_from(sample, done))
            return sums

        return self._step(learn, done, f"epoch {epoch + 1}")

    def on_positions(self, drawn: Drawn, done: int) -> Losses:
        """A step on positions that are a batch together; `done`: steps before it. The sums of their losses."""

        def learn() -> Losses:
            for row, sample in drawn:
                if isinstance(sample, HirescamError):
                    self.failures.add(row, sample)
            samples = [sample for _, sample in drawn if isinstance(sample, Position)]
            if not samples:
                return Losses()
            self._seed(4, done, self._setting.ranks.rank)
            return self._learn_together(samples)

        return self._step(learn, done, "the warm-up")

    def _step(self, learn: Callable[[], Losses], done: int, where: str) -> Losses:
        """`learn` adds gradients of a sum over scans, and returns their losses."""
        setting, ranks = self._setting, self._setting.ranks
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.zero_()
        sums, failed = self.agree(learn())
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        ranks.add(gradients)
        _check_finite(sums, gradients, f"{where}, step {done + 1} from the beginning")
        self.failures.check(failed)
        if sums.scans:
            for gradient in gradients:
                gradient.div_(sums.scans)
            if setting.options.clip:
                torch.nn.utils.clip_grad_norm_(self._parameters, setting.options.clip)
            for group in setting.optimiser.param_groups:
                group["lr"] = setting.rate(done)
            setting.optimiser.step()
        self._average_buffers()
        return sums

    def _learn_from(self, sample: Sample, done: int) -> Losses:
        """Add a scan's gradient. Raises ModelError where the network cannot be trained on such an input at all."""
        try:
            loss, parts = self._setting.objective.of(sample, self._setting.learner.run(sample.voxels))
            if math.isfinite(parts.total):
                loss.backward()  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            if done or is_out_of_memory(error):
                raise
            raise ModelError(
                f"The network cannot be trained on the input that its preparation makes: {error}",
                hint="Compare [input], [[preparation]] and [parameters] with what the network takes.",
                code="network-input",
            ) from error
        return parts

    def _learn_together(self, samples: Sequence[Position]) -> Losses:
        """Add the gradient of positions as one batch."""
        setting = self._setting
        assert setting.positions is not None
        found = setting.learner.run(np.concatenate([sample.voxels for sample in samples]))
        loss, parts = setting.objective.of_positions(samples, found, setting.positions.in_a_scan)
        if math.isfinite(parts.total):
            loss.backward()  # type: ignore[no-untyped-call]
        return parts

    def _seed(self, kind: int, first: int, second: int) -> None:
        """Of torch's generator, for dropout."""
        key = [self._setting.options.seed, kind, first, second]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def agree(self, sums: Losses) -> tuple[Losses, int]:
        """Sums over all processes, and how many scans have failed in all."""
        asked = self._stop.number is not None
        numbers = [sums.scans, sums.total, sums.classification, sums.mask, self.failures.take_new(), asked]
        scans, total, classification, mask, new, stop = self._setting.ranks.add_numbers(
            numbers, self._setting.learner.device
        )
        self._failed += int(new)
        self.asked = stop > 0
        return Losses(scans=int(scans), total=total, classification=classification, mask=mask), self._failed

    def _average_buffers(self) -> None:
        """Running statistics are each process's own within a step and their mean after it."""
        ranks = self._setting.ranks
        if ranks.size > 1 and self._buffers:
            ranks.add(self._buffers)
            for buffer in self._buffers:
                buffer.div_(ranks.size)


def _check_finite(sums: Losses, gradients: Sequence[torch.Tensor], where: str) -> None:
    norm = torch.stack([gradient.norm() for gradient in gradients]).sum()
    if math.isfinite(sums.total) and torch.isfinite(norm):
        return
    what = "gradient" if math.isfinite(sums.total) else "loss"
    raise NotFiniteError(
        f"The {what} is not finite in {where}.",
        hint="Begin anew with a lower --lr, or --precision fp32; the last checkpoint is from before.",
    )
