"""Positions for the warm-up: drawn from many scans, every other one where a lesion is, from the seed and step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import HirescamError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.train.lesions import LesionCells, Lesions
from hirescam_cli.train.samples import Position, Samples
from hirescam_cli.train.table import Row

_LEAST_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Positions:
    """Draws from the training scans `rows`; `samples` must have lesions."""

    samples: Samples
    rows: Sequence[Row]
    seed: int

    @property
    def in_a_scan(self) -> int:
        """How many positions a scan has."""
        return self._lesions.allowed.grid.shape[0]

    def draw_all(self, step: int, numbers: Sequence[int]) -> list[tuple[Row, Position | HirescamError]]:
        """Positions of a step, each with the row of its scan, or the deliberate error of its scan."""
        found: list[tuple[Row, Position | HirescamError]] = []
        for number in numbers:
            row = self.rows[self._choice(step, number)[0]]
            try:
                found.append((row, self.draw(step, number)))
            except HirescamError as error:
                found.append((row, error))
        return found

    def draw(self, step: int, number: int) -> Position:
        """A position of a step. Raises ScanError, MaskError, OutputIOError.

        Those of even numbers begin at any slice of any scan. Those of odd numbers are of a label, drawn evenly from
        those that any scan has masks of, in one of its scans, where the position holds at least a tenth of what the
        position with most of the lesion does. A position may begin at any slice, not at multiples of its slices alone.
        """
        place, label, rng = self._choice(step, number)
        row, lesions = self.rows[place], self._lesions
        shape = self.samples.scans.preparation.shape
        assert shape is not None
        change = self.samples.augmentation.within(rng, shape)
        there: list[Lesions] = []

        def choose(affine: Affine) -> slice:
            shares = lesions.shares(row, change, affine, shape)
            first = _first(rng, lesions, shares, label, shape[0])
            there.append(lesions.at(row, shares, first))
            before = shape[0] - first - lesions.slab if change.flip == 0 else first
            return slice(before, before + lesions.slab)

        voxels = self.samples.scans.load_slices(row, choose)
        return Position(row, np.ascontiguousarray(change.of(voxels)), there[-1])

    def _choice(self, step: int, number: int) -> tuple[int, int | None, np.random.Generator]:
        rng = np.random.default_rng([self.seed, 3, step, number])
        place, chosen = int(rng.integers(len(self.rows))), int(rng.integers(max(1, len(self._marked))))
        if number % 2 == 0 or not self._marked:
            return place, None, rng
        label, places = self._marked[chosen]
        return int(rng.choice(places)), label, rng

    @property
    def _lesions(self) -> LesionCells:
        assert self.samples.lesions is not None
        return self.samples.lesions

    @cached_property
    def _marked(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Labels that any scan has masks of, and the places of these scans."""
        found = []
        for label in range(self._lesions.labels):
            places = [
                place
                for place, row in enumerate(self.rows)
                if row.truth[label] == 1.0 and self._lesions.allowed.marks(row, label)
            ]
            if places:
                found.append((label, np.array(places)))
        return found


def _first(
    rng: np.random.Generator, lesions: LesionCells, shares: dict[int, Voxels], label: int | None, slices: int
) -> int:
    """The slice at which a position begins."""
    if label in shares:
        volumes = lesions.volumes(shares[label])
        if volumes.max() > 0:
            return int(rng.choice(np.flatnonzero(volumes >= _LEAST_SHARE * volumes.max())))
    return int(rng.integers(slices - lesions.slab + 1))
