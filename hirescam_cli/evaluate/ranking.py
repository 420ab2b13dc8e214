"""Figures that only the order of cells decides: average precision, the share among the highest, AUROC."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _steps(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Sums of weights, and counts, of the cells down to each distinct value, highest first."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.r_[np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1]
    return np.cumsum(weights[order])[last], last + 1.0


def average_precision(values: Floats, share: Floats) -> float | None:
    """Area under precision over recall of cells ranked by `values`, a cell counting `share` for and 1 - `share`
    against; equal values come in one step. None without anything to find."""
    total = float(share.sum())
    if total <= 0:
        return None
    found, taken = _steps(values, share)
    recall = found / total
    return float((np.diff(recall, prepend=0.0) * found / taken).sum())


def share_of_highest(values: Floats, share: Floats, count: int) -> float:
    """Mean `share` of the `count` highest cells; of equal values on the border all count in part."""
    found, taken = _steps(values, share)
    return float(np.interp(count, np.r_[0.0, taken], np.r_[0.0, found])) / count


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Chance that a positive scores higher than a negative, ties counting half; None without both."""
    high, low = scores[positive], np.sort(scores[~positive])
    if not high.size or not low.size:
        return None
    below = np.searchsorted(low, high, side="left")
    upto = np.searchsorted(low, high, side="right")
    return float((below + upto).mean() / (2.0 * low.size))
