"""What the engine answers for one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Explanation:
    """Logits and maps of every label of the model, on the CPU.

    `cams`: per method the signed maps [L, S, h, w] float32 in logit units. `logits` [L], before the sigmoid.
    `biases` [L]: what the last layer adds; for HiResCAM at the last convolution sum(map) + bias = logit.
    `slice_scores` [L, S]: the score of each slice group; their mean is the logit.
    `target_layer`: the module that was explained. `fallbacks`: each departure from what was asked for.
    `seconds`: of the network's forward pass ("network") and of all that maps cost beyond it ("explain").
    """

    cams: Mapping[str, NDArray[np.float32]]
    logits: NDArray[np.float64]
    biases: NDArray[np.float64]
    slice_scores: NDArray[np.float32]
    target_layer: str
    fallbacks: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Sigmoid of the logits [L]; a probability underflows only where its logit is below -745."""
        small = np.exp(-np.abs(self.logits))
        result: NDArray[np.float64] = np.where(self.logits >= 0, 1.0, small) / (1.0 + small)
        return result
