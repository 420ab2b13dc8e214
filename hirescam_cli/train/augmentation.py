"""Changes of training scans: mirrored and turned, voxels and cells alike, drawn from seed, epoch and place alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Change:
    """Mirror along the axis `flip` (None: not), then turn by `turns` quarters within the axes `plane`."""

    flip: int | None = None
    turns: int = 0
    plane: tuple[int, int] = (1, 2)

    def of(self, array: NDArray[Number]) -> NDArray[Number]:
        """An array whose last three axes are those of the network's input, changed; a view."""
        first = array.ndim - 3
        if self.flip is not None:
            array = np.flip(array, first + self.flip)
        return np.rot90(array, self.turns, (first + self.plane[0], first + self.plane[1]))

    def affine(self, shape: Shape3) -> Affine:
        """Index in the changed array to index in one of `shape` voxels before."""
        sizes = list(shape)
        result: Affine = np.eye(4)
        if self.flip is not None:
            result[self.flip, self.flip], result[self.flip, 3] = -1.0, sizes[self.flip] - 1.0
        first, second = self.plane
        for _ in range(self.turns % 4):
            # rot90: new[a, b] = old[b, size - 1 - a].
            quarter = np.eye(4)
            quarter[first, first] = quarter[second, second] = 0.0
            quarter[first, second] = 1.0
            quarter[second, first], quarter[second, 3] = -1.0, sizes[second] - 1.0
            result = result @ quarter
            sizes[first], sizes[second] = sizes[second], sizes[first]
        return result


@dataclass(frozen=True)
class Augmentation:
    """`kind`: "papers", "flip-lr" or "none"; `axes`: see `Preparation.axes`."""

    kind: str
    axes: str
    seed: int

    def draw(self, epoch: int, place: int, shape: Shape3) -> Change:
        """The change of the scan at `place` of the table in an epoch.

        "papers": with chance 1/2 mirrored along one of the three axes, with chance 1/2 turned by 1 to 3 quarters
        within the axial plane (by a half where it is not square). "flip-lr": mirrored left to right with chance 1/2.
        """
        return self._drawn(np.random.default_rng([self.seed, 1, epoch, place]), shape)

    def within(self, rng: np.random.Generator, shape: Shape3) -> Change:
        """A change of a scan that leaves its slices along the first axis whole."""
        change = self._drawn(rng, shape)
        return change if 0 not in change.plane else replace(change, turns=0)

    def _drawn(self, rng: np.random.Generator, shape: Shape3) -> Change:
        if self.kind == "none":
            return Change()
        flips, axis, turned, quarters = (
            rng.random() < 0.5,
            rng.integers(3),
            rng.random() < 0.5,
            rng.integers(1, 4),
        )
        if self.kind == "flip-lr":
            return Change(self._axis("LR") if flips else None)
        first, second = self._plane()
        turns = 0
        if turned:
            turns = int(quarters) if shape[first] == shape[second] else 2
        return Change(int(axis) if flips else None, turns, (first, second))

    def _axis(self, letters: Sequence[str]) -> int:
        return next(n for n, letter in enumerate(self.axes) if letter in letters)

    def _plane(self) -> tuple[int, int]:
        first, second = (n for n in range(3) if n != self._axis("IS"))
        return first, second


def order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of `count` training scans in an epoch."""
    return np.random.default_rng([seed, 0, epoch]).permutation(count)
