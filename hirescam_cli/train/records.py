"""Where a training is and what came of it: frozen records that are written as JSON."""

from __future__ import annotations

import math

import msgspec


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen record."""


class Losses(_Record, frozen=True, kw_only=True):
    """Sums over `scans`: of the whole loss, of its classification part and of its mask part, without weight."""

    scans: int = 0
    total: float = 0.0
    classification: float = 0.0
    mask: float = 0.0

    def plus(self, other: Losses) -> Losses:
        """The sums of both."""
        return Losses(
            scans=self.scans + other.scans,
            total=self.total + other.total,
            classification=self.classification + other.classification,
            mask=self.mask + other.mask,
        )

    def mean(self) -> Losses:
        """A scan's share of each."""
        n = max(1, self.scans)
        return Losses(
            scans=self.scans, total=self.total / n, classification=self.classification / n, mask=self.mask / n
        )


class LabelFigures(_Record, frozen=True, kw_only=True):
    """A label on the validation scans; None where it cannot be told."""

    auroc: float | None
    low: float | None
    high: float | None
    average_precision: float | None
    positives: int
    negatives: int


class EpochFigures(_Record, frozen=True, kw_only=True):
    """One epoch: means of a scan. `seconds`: of training and validation."""

    epoch: int
    train: Losses
    valid: Losses
    lr: float
    seconds: float
    auroc: float | None
    labels: dict[str, LabelFigures]


class Progress(_Record, frozen=True, kw_only=True):
    """Where a run is: `epoch` from 0, `step` of it done, `validated` whether the epoch before it was just finished.

    `identity`: what the run is of, by name. `sums`: of the epoch under way. `since_best`: epochs since the best.
    `failed`: scans that could not be used, and why. `warmed`: steps of the warm-up that are done, of `total_steps`.
    """

    identity: dict[str, str | int | float | bool]
    epoch: int = 0
    step: int = 0
    total_steps: int = 0
    warmed: int = 0
    validated: bool = False
    sums: Losses = Losses()
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int | None = None
    since_best: int = 0
    failed: dict[str, str] = {}
    history: tuple[EpochFigures, ...] = ()

    def better(self, figures: EpochFigures, monitor: str) -> bool:
        """Whether an epoch is better than the best before it; one without the figure is not."""
        value = self.value(figures, monitor)
        if not math.isfinite(value):
            return False
        return self.best is None or value < self.best

    @staticmethod
    def value(figures: EpochFigures, monitor: str) -> float:
        """What is to become small."""
        if monitor == "loss":
            return figures.valid.total
        return math.inf if figures.auroc is None else -figures.auroc
