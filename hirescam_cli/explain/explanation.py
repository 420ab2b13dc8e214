"""What the engine answers for one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Explanation:
    """Logits and maps of every label of the model, on the CPU.

    `cams`: per method the signed maps [L, i, j, k] float32, in the method's unit, along the axes of the model's input.
    `logits` [L], before the sigmoid. `biases` [L]: what the part above the target adds to them by itself;
    `own_biases`: of the methods whose maps start elsewhere, what they leave out, by method. `frozen`: normalisers that
    were held constant. `members` [M, L]: the logits of each member of an ensemble, of which `logits` are the mean.
    `slice_scores` [L, S]: the score of each position along the first axis, whose mean is the logit; None where the
    network has none. `target_layer`, `at`: what was explained. `fallbacks`: each departure from what was asked for.
    `seconds`: of the network's forward pass ("network") and of all that maps cost beyond it ("explain").
    """

    cams: Mapping[str, NDArray[np.float32]]
    logits: NDArray[np.float64]
    biases: NDArray[np.float64]
    slice_scores: NDArray[np.float32] | None
    target_layer: str
    at: str = "output"
    fallbacks: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    own_biases: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    members: NDArray[np.float64] | None = None

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Sigmoid of the logits [L], or the mean of the members'; it underflows only where a logit is below -745."""
        logits = self.logits[None] if self.members is None else self.members
        small = np.exp(-np.abs(logits))
        result: NDArray[np.float64] = (np.where(logits >= 0, 1.0, small) / (1.0 + small)).mean(axis=0)
        return result

    def biases_of(self, method: str) -> NDArray[np.float64]:
        """What the maps of a method leave to the logits [L]."""
        return self.own_biases.get(method, self.biases)

    @property
    def cells(self) -> tuple[int, int, int]:
        """How many cells a map has along each axis."""
        i, j, k = next(iter(self.cams.values())).shape[1:]
        return (i, j, k)
