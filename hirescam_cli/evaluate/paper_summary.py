"""The papers' measures of a run: thresholds chosen as the papers chose them, means over true positives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.pairs import Pair
from hirescam_cli.evaluate.papers import THRESHOLDS, PaperFigures
from hirescam_cli.evaluate.record import PaperResult

Floats = NDArray[np.float64]
TunedOn = Literal["valid", "the same pairs"]


def paper_results(pairs: Sequence[Pair]) -> Iterator[PaperResult]:
    """A result for each label, method and placement.

    Where cases of the split "valid" are among the pairs, thresholds are chosen on them and the rest is reported; else
    they are chosen on the pairs that are reported, which flatters, and the result says so.
    """
    groups: dict[tuple[str, str, str], list[Pair]] = {}
    for pair in pairs:
        answer = pair.answer
        if pair.papers is not None and answer.mask == "used" and answer.outcome == "true_positive":
            groups.setdefault((answer.label, pair.method, pair.placement), []).append(pair)
    for (label, method, placement), own in sorted(groups.items()):
        valid = [pair for pair in own if pair.answer.split == "valid"]
        rest = [pair for pair in own if pair.answer.split != "valid"]
        tuned = bool(valid and rest)
        yield _result(label, method, placement, valid if tuned else own, rest if tuned else own, tuned)


def _result(
    label: str, method: str, placement: str, tuning: Sequence[Pair], reported: Sequence[Pair], tuned: bool
) -> PaperResult:
    figures, chosen = _figures(reported), _figures(tuning)
    repaired = _best(np.stack([one.precision for one in chosen]))
    authors = _best(np.stack([one.authors for one in chosen]))
    where: TunedOn = "valid" if tuned else "the same pairs"
    return PaperResult(
        label=label,
        method=method,
        placement=placement,
        n=len(figures),
        tuned_on=where,
        threshold=None if repaired is None else round(float(THRESHOLDS[repaired]), 6),
        organ_precision=_mean(figures, "precision", repaired),
        threshold_authors=None if authors is None else round(float(THRESHOLDS[authors]), 6),
        organ_precision_authors=_mean(figures, "authors", authors),
        chance=float(np.mean([one.allowed for one in figures])),
        iou=float(np.mean([one.iou for one in figures])),
        iou_ceiling=float(np.mean([one.iou_ceiling for one in figures])),
    )


def _figures(pairs: Sequence[Pair]) -> list[PaperFigures]:
    return [pair.papers for pair in pairs if pair.papers is not None]


def _best(values: Floats) -> int | None:
    """The threshold with the largest mean over pairs [pairs, thresholds], the lowest of equal ones."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    if not count.any():
        return None
    total = np.where(there, values, 0.0).sum(axis=0)
    return int(np.argmax(np.where(count > 0, total / np.maximum(count, 1), -1.0)))


def _mean(figures: Sequence[PaperFigures], name: str, threshold: int | None) -> float | None:
    if threshold is None:
        return None
    values = np.asarray([getattr(one, name)[threshold] for one in figures])
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None
