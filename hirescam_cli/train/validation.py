"""What the validation scans say of an epoch: losses, AUROC, calibration and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.train.calibration import Scaling, platt
from hirescam_cli.train.metrics import auroc, average_precision
from hirescam_cli.train.records import LabelFigures, Losses
from hirescam_cli.train.table import Row, truth_of
from hirescam_cli.train.thresholds import Threshold, threshold


@dataclass(frozen=True)
class Answer:
    """What the network said of one scan. `logits` [L], not calibrated."""

    id: str
    logits: tuple[float, ...]
    losses: Losses


@dataclass(frozen=True, eq=False)
class Validation:
    """The answers of all validation scans, in the order of their ids. `logits`, `truth` [n, L]."""

    ids: tuple[str, ...]
    logits: NDArray[np.float64]
    truth: NDArray[np.float64]
    losses: Losses

    @staticmethod
    def of(answers: Sequence[Answer], rows: Sequence[Row]) -> Validation:
        """From the answers of all processes in any order, one a scan."""
        by_id = {row.id: row for row in rows}
        ordered = sorted(answers, key=lambda answer: answer.id)
        assert len({answer.id for answer in ordered}) == len(ordered)
        total = Losses()
        for answer in ordered:
            total = total.plus(answer.losses)
        return Validation(
            tuple(answer.id for answer in ordered),
            np.array([answer.logits for answer in ordered], dtype=np.float64),
            truth_of([by_id[answer.id] for answer in ordered]),
            total.mean(),
        )

    def figures(self, labels: Sequence[str]) -> dict[str, LabelFigures]:
        """Per label how well it separates."""
        found = {}
        for place, label in enumerate(labels):
            scores, truth = self.logits[:, place], self.truth[:, place]
            area = auroc(scores, truth)
            found[label] = LabelFigures(
                auroc=None if area is None else area.value,
                low=None if area is None else area.low,
                high=None if area is None else area.high,
                average_precision=average_precision(scores, truth),
                positives=int((truth == 1).sum()),
                negatives=int((truth == 0).sum()),
            )
        return found

    def scalings(self, method: str) -> list[Scaling]:
        """Per label how its logits are calibrated."""
        if method == "none":
            return [Scaling(1.0, 0.0, False)] * self.logits.shape[1]
        return [platt(z, t) for z, t in zip(self.logits.T, self.truth.T, strict=True)]

    def calibrated(self, scalings: Sequence[Scaling]) -> NDArray[np.float64]:
        """The logits [n, L] after it."""
        scale, offset = (np.array([getattr(s, name) for s in scalings]) for name in ("scale", "offset"))
        moved: NDArray[np.float64] = self.logits * scale + offset
        return moved

    def thresholds(self, method: str, scalings: Sequence[Scaling]) -> list[Threshold]:
        """Per label its threshold, a probability after calibration."""
        probabilities = sigmoid(self.calibrated(scalings))
        return [threshold(method, p, t) for p, t in zip(probabilities.T, self.truth.T, strict=True)]


def mean_auroc(figures: dict[str, LabelFigures]) -> float | None:
    """The mean over the labels that have one."""
    known = [label.auroc for label in figures.values() if label.auroc is not None]
    return float(np.mean(known)) if known else None


def sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-z)), without overflow."""
    small = np.exp(-np.abs(z))
    result: NDArray[np.float64] = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return result
