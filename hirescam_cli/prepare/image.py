"""What preparation steps pass on: voxels, where they lie, and which of them are scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry.types import Voxels

Edges: TypeAlias = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Place:
    """Where the voxels of a step lie: its `grid`, and per axis between which index `edges` there is scan.

    Beyond the edges is padding. Voxel n reaches from n - 0.5 to n + 0.5. `header_mm`: the size of the scan's own voxels
    along the axes as its header says, whatever became of them since.
    """

    grid: Grid
    edges: Edges
    header_mm: tuple[float, float, float]

    @staticmethod
    def whole(grid: Grid, header_mm: tuple[float, float, float] | None = None) -> Place:
        """A scan on its own grid: all of it is scan."""
        i, j, k = ((-0.5, n - 0.5) for n in grid.shape)
        return Place(grid, (i, j, k), header_mm or grid.spacing_mm)

    def moved(self, grid: Grid, scale: Sequence[float], shift: Sequence[float]) -> Place:
        """On another grid, whose index n lies at index `scale * n + shift` of this one."""
        found = []
        for (low, high), factor, offset, size in zip(self.edges, scale, shift, grid.shape, strict=True):
            ends = ((low - offset) / factor, (high - offset) / factor)
            found.append((max(ends[0], -0.5), min(ends[1], size - 0.5)))
        i, j, k = found
        return Place(grid, (i, j, k), self.header_mm)

    def resampled(self, grid: Grid, scale: Sequence[float], shift: Sequence[float]) -> Place:
        """As `moved`, to voxels of another size: one that the scan's face cuts has the scan's values, so it is scan."""
        found = []
        after = self.moved(grid, scale, shift)
        for before, ends, old, new in zip(self.edges, after.edges, self.grid.shape, grid.shape, strict=True):
            low = -0.5 if before[0] == -0.5 else ends[0]
            high = new - 0.5 if before[1] == old - 0.5 else ends[1]
            found.append((low, high))
        i, j, k = found
        return Place(grid, (i, j, k), self.header_mm)


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels [i, j, k], int16 or float32, and their place."""

    array: Voxels
    place: Place

    def with_values(self, array: Voxels) -> Image:
        """Other values of the same voxels."""
        if array.shape != self.array.shape:
            raise ValueError(f"values of shape {array.shape} for voxels of shape {self.array.shape}")
        return replace(self, array=array)

    @property
    def floats(self) -> NDArray[np.float32]:
        """The voxels in float32."""
        return np.asarray(self.array, dtype=np.float32)

    @property
    def affine_ras(self) -> Affine:
        """Index to RAS mm."""
        return self.place.grid.affine_ras
