"""Figures that only the order of cells decides: average precision, the share among the highest, AUROC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Cells from the highest value down, an entry for each distinct value at which something is found.

    `found`: the sum of shares down to it; `above`, `taken`: the number of cells above it, and down to it.
    """

    found: Floats
    above: Floats
    taken: Floats

    @staticmethod
    def of(values: Floats, share: Floats) -> Ranking:
        """Cells ranked by `values`, a cell counting `share` for and 1 - `share` against."""
        # Maps are float32 at their source, and those sort in half the time.
        keys = values.astype(np.float32)
        ordered = np.sort(keys if np.array_equal(keys, values) else values)
        some = np.flatnonzero(share > 0)
        distinct, which = np.unique(values[some], return_inverse=True)
        parts = np.bincount(which, share[some], minlength=len(distinct))[::-1]
        above = len(values) - np.searchsorted(ordered, distinct, side="right")[::-1]
        taken = len(values) - np.searchsorted(ordered, distinct, side="left")[::-1]
        return Ranking(np.cumsum(parts), above.astype(np.float64), taken.astype(np.float64))

    def average_precision(self) -> float | None:
        """Area under precision over recall, equal values in one step. None without anything to find."""
        if not self.found.size:
            return None
        steps = np.diff(self.found, prepend=0.0)
        return float((steps * self.found / self.taken).sum()) / float(self.found[-1])

    def share_of_highest(self, count: int) -> float:
        """Mean share of the `count` highest cells; of equal values on the border all count in part."""
        before = np.r_[0.0, self.found[:-1]] if self.found.size else self.found
        cells = np.r_[0.0, np.stack([self.above, self.taken], axis=1).ravel()]
        shares = np.r_[0.0, np.stack([before, self.found], axis=1).ravel()]
        return float(np.interp(count, cells, shares)) / count


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Chance that a positive scores higher than a negative, ties counting half; None without both."""
    high, low = scores[positive], np.sort(scores[~positive])
    if not high.size or not low.size:
        return None
    below = np.searchsorted(low, high, side="left")
    upto = np.searchsorted(low, high, side="right")
    return float((below + upto).mean() / (2.0 * low.size))
