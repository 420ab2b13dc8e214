"""Paired differences: of two methods, two placements, or two runs, over the pairs of case and label that both have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.bootstrap import (
    Columns,
    Draws,
    Estimate,
    estimates,
    holm,
    mean_of_columns,
    sign_flip_p,
    sign_flip_p_of_mean,
)
from hirescam_cli.evaluate.figures import GROUPS, MEASURES, PAIRED, Frame
from hirescam_cli.evaluate.record import Difference, Group
from hirescam_cli.evaluate.summarise import figure, part

_PAIRED = [MEASURES.index(name) for name in PAIRED]


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    name: str
    frame: Frame
    method: str
    placement: str


@dataclass(frozen=True)
class Comparison:
    """a - b. `method`, `placement`: what both sides share."""

    what: Literal["methods", "placements", "runs"]
    method: str | None
    placement: str | None
    a: Side
    b: Side

    def differences(self, draws: Draws) -> Iterator[Difference]:
        """By group and measure, each label and the means."""
        for group in GROUPS:
            columns = self._columns(group)
            if columns is None:
                continue
            for n, measure in enumerate(PAIRED):
                yield from self._of_measure(part(columns, n, len(self.a.frame.labels)), measure, group, draws)

    def _columns(self, group: Group) -> Columns | None:
        """The differences by patient; None where the sides share no pair."""
        rows_a = self.a.frame.rows(self.a.method, self.a.placement, group)
        rows_b = self.b.frame.rows(self.b.method, self.b.placement, group)
        keys_a, keys_b = self.a.frame.key[rows_a], self.b.frame.key[rows_b]
        _, in_a, in_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
        if not in_a.size:
            return None
        rows: NDArray[np.intp] = rows_a[in_a]
        difference = self.a.frame.values[rows] - self.b.frame.values[rows_b[in_b]]
        return self.a.frame.columns(rows, difference[:, _PAIRED])

    def _of_measure(self, columns: Columns, measure: str, group: Group, draws: Draws) -> Iterator[Difference]:
        by_label = estimates(columns, draws)
        p = sign_flip_p(columns, draws)
        adjusted = holm(p)
        for n, found in enumerate(by_label):
            if found is not None:
                yield self._difference(
                    "label", self.a.frame.labels[n], group, measure, found, p[n], adjusted[n]
                )
        over_labels, over_pairs = mean_of_columns(columns, draws), estimates(columns.pooled, draws)[0]
        if over_labels is not None and over_pairs is not None:
            p_labels, p_pairs = sign_flip_p_of_mean(columns, draws), sign_flip_p(columns.pooled, draws)[0]
            yield self._difference("labels", None, group, measure, over_labels, p_labels, None)
            yield self._difference("pairs", None, group, measure, over_pairs, p_pairs, None)

    def _difference(
        self,
        over: Literal["label", "labels", "pairs"],
        label: str | None,
        group: Group,
        measure: str,
        found: Estimate,
        p: float | None,
        p_holm: float | None,
    ) -> Difference:
        return Difference(
            what=self.what,
            over=over,
            label=label,
            group=group,
            method=self.method,
            placement=self.placement,
            measure=measure,
            a=self.a.name,
            b=self.b.name,
            difference=figure(found),
            p=p,
            p_holm=p_holm,
        )


def within(frame: Frame) -> Iterator[Comparison]:
    """The first method against each other one, and the first placement against the second."""
    first, *others = frame.methods
    for placement in frame.placements:
        for other in others:
            yield Comparison(
                "methods",
                None,
                placement,
                Side(first, frame, first, placement),
                Side(other, frame, other, placement),
            )
    for method in frame.methods:
        for other in frame.placements[1:]:
            one = frame.placements[0]
            yield Comparison(
                "placements", method, None, Side(one, frame, method, one), Side(other, frame, method, other)
            )


def between(this: Frame, that: Frame) -> Iterator[Comparison]:
    """This run against another, for the methods and placements that both have."""
    for method in this.methods:
        for placement in this.placements:
            if method in that.methods and placement in that.placements:
                yield Comparison(
                    "runs",
                    method,
                    placement,
                    Side("this", this, method, placement),
                    Side("that", that, method, placement),
                )
