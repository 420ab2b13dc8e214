"""How well scores separate: AUROC with its interval, and average precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Auroc:
    """`value` with the 95 % interval `low` to `high` (None where one class has fewer than 2, or all scores
    are equal), and how many of each."""

    value: float
    low: float | None
    high: float | None
    positives: int
    negatives: int


def _mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    unique, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2.0)[places]
    assert len(unique) == len(counts)
    return ranks


def auroc(scores: NDArray[np.float64], truth: NDArray[np.float64]) -> Auroc | None:
    """The share of pairs that are ordered rightly, over the known (not NaN); None without a pair.

    The interval is DeLong's (Biometrics 1988), on the logit scale so that it stays within 0 and 1.
    """
    positive, negative = scores[truth == 1], scores[truth == 0]
    n, m = len(positive), len(negative)
    if not n or not m:
        return None
    both = _mid_ranks(np.concatenate([positive, negative]))
    over = (both[:n] - _mid_ranks(positive)) / m
    under = 1.0 - (both[n:] - _mid_ranks(negative)) / n
    value = float(over.mean())
    low = high = None
    if n > 1 and m > 1:
        spread = math.sqrt(float(over.var(ddof=1)) / n + float(under.var(ddof=1)) / m)
        if value in (0.0, 1.0):
            # The variance found is 0. Of min(n, m) pairs that share no scan all are alike: a share that leaves such a
            # sample a chance below 5 % lies outside.
            bound = 0.05 ** (1.0 / min(n, m))
            low, high = (bound, 1.0) if value == 1.0 else (0.0, 1.0 - bound)
        elif spread > 0.0:
            centre, width = math.log(value / (1 - value)), _Z95 * spread / (value * (1 - value))
            low, high = (1.0 / (1.0 + math.exp(-(centre + side * width))) for side in (-1, 1))
    return Auroc(value, low, high, n, m)


def average_precision(scores: NDArray[np.float64], truth: NDArray[np.float64]) -> float | None:
    """Area under precision over recall, equal scores in one step; None without a positive."""
    known = ~np.isnan(truth)
    scores, truth = scores[known], truth[known]
    if not (truth == 1).any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision = hits[last] / (last + 1.0)
    gained = np.diff(np.concatenate([[0.0], hits[last]]))
    return float((precision * gained).sum() / hits[-1])
