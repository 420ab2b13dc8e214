"""From which probability a label counts as positive, by the validation scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 10


@dataclass(frozen=True)
class Threshold:
    """A probability, and why it is that: "0.5", "youden", "sensitivity:P" or "too-few"."""

    value: float
    method: str


def threshold(method: str, probabilities: NDArray[np.float64], truth: NDArray[np.float64]) -> Threshold:
    """The threshold of one label; a probability of at least it is positive.

    "youden": the greatest sensitivity + specificity, the lowest where several are equal; "sensitivity:P": the highest
    with at least that share of the positives. Each lies halfway between two probabilities found. With fewer than
    FEWEST positives or negatives 0.5, since such a choice would be chance.
    """
    if method == "0.5":
        return Threshold(0.5, method)
    positive, negative = np.sort(probabilities[truth == 1]), np.sort(probabilities[truth == 0])
    if min(len(positive), len(negative)) < FEWEST:
        return Threshold(0.5, "too-few")
    found = np.unique(np.concatenate([positive, negative]))
    between = np.concatenate([[found[0] / 2.0], (found[:-1] + found[1:]) / 2.0])
    # Where no double lies between two neighbours their middle is the lower one, which would count as positive.
    between[1:] = np.where(between[1:] > found[:-1], between[1:], found[1:])
    missed = np.searchsorted(positive, between, side="left") / len(positive)
    spared = np.searchsorted(negative, between, side="left") / len(negative)
    if method == "youden":
        gain = spared - missed
        return Threshold(float(between[np.flatnonzero(gain >= gain.max() - 1e-12)[0]]), method)
    wanted = float(method.partition(":")[2])
    enough = np.flatnonzero(1.0 - missed >= wanted - 1e-12)
    return Threshold(float(between[enough[-1]]), method)
