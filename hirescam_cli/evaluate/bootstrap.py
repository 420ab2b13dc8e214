"""Intervals and tests over patients: percentile bootstrap, sign flips, Holm.

Whole patients are drawn, since cases of one patient are not independent, and the same draws serve every label, method
and measure. A column holds one figure of many cases: its sum and its count by patient are all that a draw needs, so
every interval is one product of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_PATIENTS = 5
_LEVELS = (0.025, 0.975)
_TIE = 1e-12
_COLUMNS = 512


@dataclass(frozen=True, eq=False)
class Draws:
    """`weights` [draws, patients]: how often each patient was drawn; `signs` [draws, patients]: 1 or -1."""

    weights: NDArray[np.float32]
    signs: NDArray[np.float32]

    @staticmethod
    def of(patients: int, count: int, seed: int) -> Draws:
        """`count` draws of as many patients as there are, with replacement, and as many draws of signs."""
        rng = np.random.default_rng([seed, patients])
        weights = rng.multinomial(patients, np.full(patients, 1.0 / patients), size=count)
        signs = rng.integers(0, 2, size=(count, patients)) * 2 - 1
        return Draws(weights.astype(np.float32), signs.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Columns:
    """`sums` and `counts` [patients, columns] of figures that are defined."""

    sums: Floats
    counts: Floats

    @staticmethod
    def of(
        values: Floats, patient: NDArray[np.intp], column: NDArray[np.intp], shape: tuple[int, int]
    ) -> Columns:
        """From `values` [rows] of patients and columns; NaN is left out. `shape`: patients, columns."""
        there = np.isfinite(values)
        flat = patient[there] * shape[1] + column[there]
        size = shape[0] * shape[1]
        sums = np.asarray(np.bincount(flat, values[there], minlength=size), dtype=np.float64)
        counts = np.asarray(np.bincount(flat, minlength=size), dtype=np.float64)
        return Columns(sums.reshape(shape), counts.reshape(shape))

    @property
    def pooled(self) -> Columns:
        """All columns as one."""
        sums = np.asarray(self.sums.sum(axis=1, keepdims=True), dtype=np.float64)
        return Columns(sums, np.asarray(self.counts.sum(axis=1, keepdims=True), dtype=np.float64))

    @property
    def patients(self) -> NDArray[np.intp]:
        """How many patients each column has figures of [columns]."""
        return np.asarray((self.counts > 0).sum(axis=0), dtype=np.intp)

    @property
    def means(self) -> Floats:
        """The mean of each column [columns]; NaN where it is empty."""
        return _ratio(self.sums.sum(axis=0), self.counts.sum(axis=0))


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` figures of `patients`; `low`, `high`: its 95 % interval, None with fewer than 5 patients."""

    mean: float
    low: float | None
    high: float | None
    n: int
    patients: int


def drawn_means(columns: Columns, draws: Draws) -> Floats:
    """The mean of each column in each draw [draws, columns]; NaN where a draw has nothing of it."""
    parts = []
    for first in range(0, columns.sums.shape[1], _COLUMNS):
        part = slice(first, first + _COLUMNS)
        sums = draws.weights @ columns.sums[:, part]
        parts.append(_ratio(sums, _drawn_counts(columns.counts[:, part], draws)))
    return np.concatenate(parts, axis=1)


def _drawn_counts(counts: Floats, draws: Draws) -> NDArray[np.float32]:
    """The number of figures of each column in each draw, exact in float32; measures defined alike share theirs."""
    by_column = np.ascontiguousarray(counts.T, dtype=np.float32)
    first: dict[bytes, int] = {}
    place = [first.setdefault(column.tobytes(), n) for n, column in enumerate(by_column)]
    found, which = np.unique(place, return_inverse=True)
    return np.asarray((draws.weights @ by_column[found].T)[:, which], dtype=np.float32)


def limits(drawn: Floats) -> tuple[Floats, Floats]:
    """The 2.5th and 97.5th percentile of each column [draws, columns], NaN left out."""
    ordered = np.sort(drawn, axis=0)
    count = np.isfinite(drawn).sum(axis=0)
    found = []
    for level in _LEVELS:
        place = level * np.maximum(count - 1, 0)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, np.maximum(count - 1, 0))
        column = np.arange(drawn.shape[1])
        low, high = ordered[below, column], ordered[above, column]
        found.append(low + (place - below) * (high - low))
    return found[0], found[1]


def estimates(columns: Columns, draws: Draws) -> list[Estimate | None]:
    """The mean of each column with its interval; None for an empty one."""
    low, high = limits(drawn_means(columns, draws))
    return [
        _estimate(*figures)
        for figures in zip(
            columns.means, low, high, columns.counts.sum(axis=0), columns.patients, strict=True
        )
    ]


def mean_of_columns(columns: Columns, draws: Draws) -> Estimate | None:
    """The mean of the columns' means, each counting alike, over those that are not empty."""
    used = np.flatnonzero(columns.counts.sum(axis=0) > 0)
    if not used.size:
        return None
    columns = Columns(columns.sums[:, used], columns.counts[:, used])
    drawn = drawn_means(columns, draws)
    there = np.isfinite(drawn)
    low, high = limits(_ratio(np.where(there, drawn, 0.0).sum(axis=1), there.sum(axis=1))[:, None])
    patients = int((columns.counts.sum(axis=1) > 0).sum())
    return _estimate(columns.means.mean(), low[0], high[0], columns.counts.sum(), patients)


def sign_flip_p(columns: Columns, draws: Draws) -> list[float | None]:
    """For each column of paired differences, how often flipping signs by patient moves its mean as far from 0.

    The observed signs count as one draw, so that p is never 0. None with fewer than 5 patients.
    """
    count = columns.counts.sum(axis=0)
    return [
        p if patients >= FEWEST_PATIENTS else None
        for p, patients in zip(_tail(columns.sums, count, draws), columns.patients, strict=True)
    ]


def sign_flip_p_of_mean(columns: Columns, draws: Draws) -> float | None:
    """The same for the mean of the columns' means."""
    count = columns.counts.sum(axis=0)
    used = count > 0
    if int((columns.counts.sum(axis=1) > 0).sum()) < FEWEST_PATIENTS:
        return None
    shares = columns.sums[:, used] / count[used]
    return _tail(shares.mean(axis=1, keepdims=True), np.ones(1), draws)[0]


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted by Holm (1979) over those that are given."""
    order = sorted((p, n) for n, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, n) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[n] = highest
    return adjusted


def _tail(sums: Floats, count: Floats, draws: Draws) -> list[float]:
    scale = np.maximum(count, 1.0)
    observed = np.abs(sums.sum(axis=0)) / scale
    flipped = np.abs(draws.signs.astype(np.float64) @ sums) / scale
    as_far = (flipped >= observed - _TIE).sum(axis=0)
    return [float(p) for p in (1.0 + as_far) / (1.0 + len(draws.signs))]


def _estimate(mean: float, low: float, high: float, n: float, patients: int) -> Estimate | None:
    if n == 0:
        return None
    if patients < FEWEST_PATIENTS:
        return Estimate(float(mean), None, None, int(n), int(patients))
    return Estimate(float(mean), float(low), float(high), int(n), int(patients))


def _ratio(part: NDArray[np.floating], whole: NDArray[np.number]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(whole > 0, part / whole, np.nan), dtype=np.float64)
