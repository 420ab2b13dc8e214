"""What masks of lesions say of each position of a scan: where the lesion is, and how much of it.

Kept by slices of the network's input, so that a position may begin at any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.train.allowed import AllowedCells
from hirescam_cli.train.augmentation import Change
from hirescam_cli.train.cells import CellGrid
from hirescam_cli.train.table import Row


@dataclass(frozen=True, eq=False)
class Lesions:
    """Of n positions.

    `cells` [L, n, j, k]: those that a label's lesions touch. `weight` [L, n]: the lesions' volume there, as a share of
    the most that a position of the scan holds, wherever it begins; 0 where there is none. `known` [L, n]: whether the
    masks tell: the label is absent, or present with a mask.
    """

    cells: NDArray[np.bool_]
    weight: NDArray[np.float32]
    known: NDArray[np.bool_]

    @staticmethod
    def joined(parts: Sequence[Lesions]) -> Lesions:
        """Those of all parts, one behind the other."""
        cells, weight, known = (
            np.concatenate([getattr(part, name) for part in parts], axis=1)
            for name in ("cells", "weight", "known")
        )
        return Lesions(cells, weight, known)


@dataclass(frozen=True, eq=False)
class LesionCells:
    """Finds them. `slab`: slices of the input in a position; 0: positions are the rows of the grid, not slices."""

    allowed: AllowedCells
    slab: int
    _kept: dict[str, dict[int, NDArray[np.float16]]] = field(default_factory=dict)

    @property
    def labels(self) -> int:
        """How many."""
        return len(self.allowed.labels)

    def of(self, row: Row, change: Change, input_ras: Affine, shape: Shape3) -> Lesions:
        """Those of all positions of a scan after a change; `input_ras`, `shape`: before it. Raises MaskError."""
        step = max(1, self.slab)
        return self._lesions(
            row, self.shares(row, change, input_ras, shape), range(0, self._grid.shape[0], step)
        )

    def at(self, row: Row, shares: dict[int, Voxels], first: int) -> Lesions:
        """Those of the position that begins at a slice of a scan, from the scan's `shares`."""
        return self._lesions(row, shares, range(first, first + 1))

    def shares(self, row: Row, change: Change, input_ras: Affine, shape: Shape3) -> dict[int, Voxels]:
        """By label that is there and has masks: the share of each slice's cells [slices, j, k] in them, changed."""
        if not self.allowed.symmetric:
            return self.allowed.shares(row, self._grid, input_ras @ change.affine(shape))
        if row.id not in self._kept:
            found = self.allowed.shares(row, self._grid, input_ras)
            # Half precision would lose what is below 6e-8 of a cell: such a cell is touched all the same.
            least = np.finfo(np.float16).smallest_subnormal
            self._kept[row.id] = {
                place: np.where(share > 0, np.maximum(share, least), 0).astype(np.float16)
                for place, share in found.items()
            }
        return {place: change.of(share).astype(np.float32) for place, share in self._kept[row.id].items()}

    @property
    def _grid(self) -> CellGrid:
        """The cells of single slices."""
        cells = self.allowed.grid
        if not self.slab:
            return cells
        to_input = cells.to_input.copy()
        to_input[0] = (1.0, 0.0, 0.0, 0.0)
        rows, height, width = cells.shape
        return CellGrid((rows * self.slab, height, width), to_input)

    def _lesions(self, row: Row, shares: dict[int, Voxels], firsts: range) -> Lesions:
        _, height, width = self.allowed.grid.shape
        n = len(firsts)
        cells = np.zeros((self.labels, n, height, width), dtype=np.bool_)
        weight = np.zeros((self.labels, n), dtype=np.float32)
        known = np.array([truth == 0.0 for truth in row.truth])
        for place, share in shares.items():
            known[place] = True
            volumes = self.volumes(share)
            most = volumes.max()
            for number, first in enumerate(firsts):
                cells[place, number] = share[first : first + max(1, self.slab)].max(axis=0) > 0
                weight[place, number] = volumes[first] / most if most > 0 else 0.0
        return Lesions(cells, weight, np.repeat(known[:, None], n, axis=1))

    def volumes(self, share: Voxels) -> NDArray[np.float64]:
        """How much of a lesion lies in the position that begins at each slice, in cells of a slice."""
        each = share.sum(axis=(1, 2), dtype=np.float64)
        found: NDArray[np.float64] = np.convolve(each, np.ones(max(1, self.slab)), mode="valid")
        return found
