"""Which cells of a map a mask touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.masks.mask import Mask


@dataclass(frozen=True, eq=False)
class CellGrid:
    """The cells of a map: `shape`, `to_input` from a cell to a voxel of the network's input (see `Network.cells`)."""

    shape: Shape3
    to_input: Affine


def shares(mask: Mask, grid: CellGrid, input_ras: Affine) -> NDArray[np.float64]:
    """The share of each cell [i, j, k] that lies in a mask on any grid; `input_ras`: input voxel to RAS mm."""
    cells = Grid(grid.shape, input_ras @ grid.to_input)
    return MaskOnCells(mask.array_ijk, mask.affine_ras, cells).share


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
