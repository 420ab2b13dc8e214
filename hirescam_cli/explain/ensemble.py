"""Several networks of one architecture as one model: their logits and maps are averaged.

The certificate is that of the mean logit, since sums and means of maps can be exchanged. Probabilities are averaged
after the sigmoid, as those who publish ensembles do, so the probability is not the sigmoid of the mean logit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.geometry.types import Voxels


class Explainer(Protocol):
    """What explains scans: an engine, or an ensemble of them."""

    feed: Feed
    precision: str

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Departures from what was asked for."""
        ...

    def explain(self, positions: Voxels, padding: NDArray[np.bool_], methods: Sequence[str]) -> Explanation:
        """See `Engine.explain`."""
        ...

    def synchronize(self) -> None:
        """Wait for the device."""
        ...


class Ensemble:
    """Explains with each of `engines`, whose networks differ in nothing but weights."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)
        first = self.engines[0]
        self.feed, self.precision, self.device = first.feed, first.precision, first.device

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Departures from what was asked for, of all members."""
        return tuple(dict.fromkeys(text for engine in self.engines for text in engine.fallbacks))

    def explain(self, positions: Voxels, padding: NDArray[np.bool_], methods: Sequence[str]) -> Explanation:
        """The mean of the members' explanations, one after the other."""
        return mean([engine.explain(positions, padding, methods) for engine in self.engines])

    def synchronize(self) -> None:
        """Wait for the device."""
        self.engines[0].synchronize()


def mean(found: Sequence[Explanation]) -> Explanation:
    """The explanation of an ensemble from those of its members."""
    first = found[0]
    scores = [one.slice_scores for one in found if one.slice_scores is not None]
    return replace(
        first,
        cams={
            name: np.stack([one.cams[name] for one in found])
            .mean(axis=0, dtype=np.float64)
            .astype(np.float32)
            for name in first.cams
        },
        logits=np.mean([one.logits for one in found], axis=0),
        biases=np.mean([one.biases for one in found], axis=0),
        own_biases={
            name: np.mean([one.own_biases[name] for one in found], axis=0) for name in first.own_biases
        },
        slice_scores=np.stack(scores).mean(axis=0) if scores else None,
        frozen=tuple(sorted({kind for one in found for kind in one.frozen})),
        fallbacks=tuple(dict.fromkeys(text for one in found for text in one.fallbacks)),
        seconds=_summed([one.seconds for one in found]),
        members=np.stack([one.logits for one in found]),
    )


def _summed(seconds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {stage: sum(one[stage] for one in seconds) for stage in seconds[0]}
