"""Which cells of a map a mask touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.masks.mask import Mask

_PIECES_A_CELL, _MOST_PIECES, _VOXELS_AT_ONCE = 2.0, 8, 1 << 20


@dataclass(frozen=True, eq=False)
class CellGrid:
    """The cells of a map: `shape`, `to_input` from a cell to a voxel of the network's input (see `Network.cells`)."""

    shape: Shape3
    to_input: Affine


def shares(mask: Mask, grid: CellGrid, input_ras: Affine) -> NDArray[np.float64]:
    """The share of each cell [i, j, k] that lies in a mask on any grid; `input_ras`: input voxel to RAS mm.

    A voxel counts where its centre lies; one that is large beside a cell is cut into pieces first.
    """
    to_cell = np.linalg.inv(input_ras @ grid.to_input) @ mask.affine_ras
    size = np.abs(to_cell[:3, :3]).max(axis=0)
    pieces = np.clip(np.ceil(size * _PIECES_A_CELL), 1, _MOST_PIECES).astype(int)
    steps = [(np.arange(n) + 0.5) / n - 0.5 for n in pieces]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    volume = abs(float(np.linalg.det(to_cell[:3, :3]))) / len(offsets)
    total = np.zeros(int(np.prod(grid.shape)))
    inside = np.argwhere(mask.array_ijk)
    for start in range(0, len(inside), _VOXELS_AT_ONCE):
        some = inside[start : start + _VOXELS_AT_ONCE]
        for offset in offsets:
            cell = np.floor(affines.apply(to_cell, some + offset) + 0.5).astype(np.int64)
            there = ((cell >= 0) & (cell < grid.shape)).all(axis=1)
            flat = np.ravel_multi_index(tuple(cell[there].T), grid.shape)
            total += np.bincount(flat, minlength=total.size)
    return (total * volume).reshape(grid.shape)


def at_corners(mask: Mask, grid: CellGrid, input_ras: Affine) -> NDArray[np.bool_]:
    """Whether the first voxel of each cell [i, j, k] lies in the mask: how the authors shrank theirs (nearest)."""
    first = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3) - 0.5
    voxel = np.floor(affines.apply(grid.to_input, first) + 0.5 + 1e-9)
    index = np.rint(affines.apply(np.linalg.inv(mask.affine_ras) @ input_ras, voxel)).astype(np.int64)
    there = ((index >= 0) & (index < mask.array_ijk.shape)).all(axis=1)
    found = np.zeros(len(index), dtype=np.bool_)
    found[there] = mask.array_ijk[tuple(index[there].T)]
    return found.reshape(grid.shape)


def allowed_cells(mask: Mask, grid: CellGrid, input_ras: Affine, how: str) -> NDArray[np.bool_]:
    """The cells [i, j, k] that a mask allows: "any" part of it, at least "half" of the cell, or as in the "papers"."""
    if how == "papers":
        return at_corners(mask, grid, input_ras)
    found = shares(mask, grid, input_ras)
    return found > 0 if how == "any" else found >= 0.5 - 1e-9
