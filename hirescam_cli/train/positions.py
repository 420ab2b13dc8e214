"""A few positions of a scan (slices, or slabs of slices) in a step of training, instead of all of them.

What is to be found lies in few positions of a scan, and neighbours look alike: a step on a few positions costs a part
of one on all, and half of them may be those where something is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Positions:
    """`count`: how many a step takes of a scan; `slab`: slices of a position; `seed`: of the run."""

    count: int
    slab: int
    seed: int

    def draw(self, epoch: int, place: int, touched: NDArray[np.bool_]) -> NDArray[np.intp]:
        """The positions of the scan at `place` of the table in an epoch, in ascending order; all if there are no more.

        `touched` [L, n]: where the masks of the labels lie that the scan has. Up to half of the positions are such,
        every label having its turn; the others are any. Drawn from seed, epoch and place alone.
        """
        n = touched.shape[1]
        if n <= self.count:
            return np.arange(n)
        rng = np.random.default_rng([self.seed, 3, epoch, place])
        turns = [rng.permutation(np.flatnonzero(label)).tolist() for label in touched if label.any()]
        rng.shuffle(turns)
        chosen: list[int] = []
        while any(turns) and len(chosen) < self.count // 2:
            for turn in turns:
                if turn and len(chosen) < self.count // 2:
                    position = turn.pop()
                    chosen += [] if position in chosen else [position]
        others = np.setdiff1d(np.arange(n), chosen)
        rest = rng.choice(others, self.count - len(chosen), replace=False)
        return np.sort(np.concatenate([np.array(chosen, dtype=np.intp), rest]))


def truth_of(truth: Sequence[float | None], touched: NDArray[np.bool_]) -> tuple[float | None, ...]:
    """What is known of a few positions: a label that the scan has is there where its masks touch one (`touched`
    [L, positions]), and unknown elsewhere; one that it has not is nowhere."""
    return tuple(
        None if value == 1.0 and not label.any() else value
        for value, label in zip(truth, touched, strict=True)
    )
