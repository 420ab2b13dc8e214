"""Figures that only the order of cells decides: average precision, the share among the highest, AUROC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Cells from the highest value down, a step for each distinct value: `found`, the sum of shares, and `taken`, the
    number of cells, down to it."""

    found: Floats
    taken: Floats

    @staticmethod
    def of(values: Floats, share: Floats) -> Ranking:
        """Cells ranked by `values`, a cell counting `share` for and 1 - `share` against."""
        # Maps are float32 at their source, and those sort in half the time.
        keys = values.astype(np.float32)
        order = np.argsort(-(keys if np.array_equal(keys, values) else values))
        ordered = values[order]
        last = np.r_[np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1]
        return Ranking(np.cumsum(share[order])[last], last + 1.0)

    def average_precision(self) -> float | None:
        """Area under precision over recall, equal values in one step. None without anything to find."""
        total = float(self.found[-1])
        if total <= 0:
            return None
        steps = np.diff(self.found, prepend=0.0)
        return float((steps * self.found / self.taken).sum()) / total

    def share_of_highest(self, count: int) -> float:
        """Mean share of the `count` highest cells; of equal values on the border all count in part."""
        return float(np.interp(count, np.r_[0.0, self.taken], np.r_[0.0, self.found])) / count


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Chance that a positive scores higher than a negative, ties counting half; None without both."""
    high, low = scores[positive], np.sort(scores[~positive])
    if not high.size or not low.size:
        return None
    below = np.searchsorted(low, high, side="left")
    upto = np.searchsorted(low, high, side="right")
    return float((below + upto).mean() / (2.0 * low.size))
