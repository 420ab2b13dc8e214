"""Platt's scaling: logits moved by a scale and an offset for each label, so that probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.train.thresholds import FEWEST

_STEPS, _HALVINGS, _DONE = 200, 40, 1e-10


@dataclass(frozen=True)
class Scaling:
    """logit = `scale` * z + `offset`; `fitted`: whether by the validation scans."""

    scale: float
    offset: float
    fitted: bool


def platt(logits: NDArray[np.float64], truth: NDArray[np.float64]) -> Scaling:
    """The scaling of one label with the greatest likelihood of Platt's smoothed targets.

    Targets are (P + 1) / (P + 2) of the P positives and 1 / (N + 2) of the N negatives (Platt 1999), which keeps a
    label that is separated without error finite; Newton's method with halved steps (Lin, Lin, Weng 2007). Left as it
    is with fewer than FEWEST of either, and where the best scale were not positive: it would turn the order round.
    """
    known = ~np.isnan(truth)
    z, positive = logits[known], truth[known] == 1
    p, n = int(positive.sum()), int((~positive).sum())
    unchanged = Scaling(1.0, 0.0, False)
    if min(p, n) < FEWEST or np.ptp(z) == 0:
        return unchanged
    target = np.where(positive, (p + 1.0) / (p + 2.0), 1.0 / (n + 2.0))
    # In units of the logits' spread, so that a scale of a thousand is found as well as one of 1.
    centre, spread = float(z.mean()), float(z.std())
    x = np.stack([(z - centre) / spread, np.ones_like(z)])
    weights = _newton(x, target, np.array([0.0, np.log((p + 1.0) / (n + 1.0))]))
    scale, offset = float(weights[0]) / spread, float(weights[1] - weights[0] * centre / spread)
    return Scaling(scale, offset, True) if scale > 0 else unchanged


def _newton(
    x: NDArray[np.float64], target: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights [2] that minimise the cross-entropy of sigmoid(weights @ x) to `target`; `x` [2, n]."""
    weights = start
    for _ in range(_STEPS):
        probability = 1.0 / (1.0 + np.exp(-(weights @ x)))
        slope = x @ (probability - target)
        if np.abs(slope).max() < _DONE * len(target):
            break
        curve = (x * (probability * (1.0 - probability))) @ x.T + 1e-12 * np.eye(2)
        step, here, share = np.linalg.solve(curve, slope), _loss(weights @ x, target), 1.0
        for _ in range(_HALVINGS):
            if _loss((weights - share * step) @ x, target) <= here:
                break
            share /= 2.0
        weights = weights - share * step
    return weights


def _loss(z: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0.0, z) - target * z).sum())
