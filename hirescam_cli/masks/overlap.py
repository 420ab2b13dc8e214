"""Whether a mask lies where the scan lies: the mask of another patient, or in another frame, mostly does not."""

from __future__ import annotations

import itertools

import numpy as np

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.mask import Inside, Mask, refused

_LATTICE = 9


def check_overlap(mask: Mask, scan: Grid) -> None:
    """Raise MaskError "mask-elsewhere" if no voxel of a mask lies in the box of the scan's voxels.

    Of an empty mask its grid must meet the scan's.
    """
    if not overlaps(mask, scan):
        what = "its voxels" if mask.array_ijk.any() else "its grid"
        raise refused(
            mask.path, f"{what} lie outside of the scan", "mask-elsewhere",
            "It may be another patient's, or drawn in another frame of reference.",
        )  # fmt: skip


def overlaps(mask: Mask, scan: Grid) -> bool:
    """Whether a voxel centre of the mask (of an empty mask: a point of its grid) lies in the scan's box."""
    to_scan: Affine = np.asarray(np.linalg.inv(scan.affine_ras) @ mask.affine_ras, dtype=np.float64)
    if not mask.array_ijk.any():
        back: Affine = np.asarray(np.linalg.inv(to_scan), dtype=np.float64)
        return _any_inside(mask.grid, to_scan, scan) or _any_inside(scan, back, mask.grid)
    return any(_plane_inside(plane, k, to_scan, scan) for k, plane in _planes(mask.array_ijk))


def _planes(inside: Inside) -> list[tuple[int, Inside]]:
    occupied = np.flatnonzero(inside.any(axis=(0, 1)))
    return [(int(k), inside[:, :, k]) for k in occupied]


def _plane_inside(plane: Inside, k: int, to_scan: Affine, scan: Grid) -> bool:
    ij = np.argwhere(plane)
    points = np.column_stack([ij, np.full(len(ij), k)])
    return _in_box(affines.apply(to_scan, points), scan)


def _any_inside(grid: Grid, to_other: Affine, other: Grid) -> bool:
    """Whether a point of a lattice over `grid`, its corners included, lies in the box of `other`."""
    axes = [np.linspace(-0.5, n - 0.5, _LATTICE) for n in grid.shape]
    points = np.array(list(itertools.product(*axes)))
    return _in_box(affines.apply(to_other, points), other)


def _in_box(index: affines.Points, grid: Grid) -> bool:
    upper = np.asarray(grid.shape) - 0.5
    return bool(((index >= -0.5) & (index <= upper)).all(axis=1).any())
