"""What an explanation derives from its numbers."""

from __future__ import annotations

import math
import warnings

import numpy as np

from hirescam_cli.explain.explanation import Explanation


def test_probabilities_neither_underflow_nor_overflow() -> None:
    logits = np.array([-800.0, -700.0, -55.7, -2.0, 0.0, 2.0, 55.7, 800.0])
    explanation = Explanation({}, logits, np.zeros(8), np.zeros((8, 1), np.float32), "layer")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probabilities = explanation.probabilities
    expected = [
        0.0,
        math.exp(-700),
        math.exp(-55.7),
        1 / (1 + math.exp(2)),
        0.5,
        1 / (1 + math.exp(-2)),
        1.0,
        1.0,
    ]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-14, atol=0)
