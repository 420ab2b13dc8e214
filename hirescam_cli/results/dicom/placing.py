"""Maps as stacks of image planes that run like the scan's, at places in DICOM's LPS millimetres."""

from __future__ import annotations

import numpy as np
from highdicom import Volume as Planes
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import resample_linear
from hirescam_cli.geometry.types import Voxels


def planes_of(array_ijk: Voxels, affine_ras: Affine, like_ras: Affine, frame_of_reference: str) -> Planes:
    """An array (index to RAS mm: `affine_ras`) as planes whose columns, rows and slices run like those of `like_ras`.

    Nothing is interpolated: axes are taken in another order, and backwards where they run against the scan's.
    """
    relative = np.eye(4)
    relative[:3, :3] = np.linalg.inv(affines.directions(like_ras)) @ affines.directions(affine_ras)
    order, flips = [0, 0, 0], [False, False, False]
    for axis, (wanted, sign) in enumerate(affines.nearest_axes(relative)):
        # highdicom's axes are slice, row, column; the scan's are column, row, slice.
        order[2 - wanted], flips[2 - wanted] = axis, sign < 0
    index = np.zeros((4, 4))
    index[3, 3] = 1.0
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        index[old, new] = -1.0 if flip else 1.0
        index[old, 3] = array_ijk.shape[old] - 1.0 if flip else 0.0
    turned = np.transpose(array_ijk, order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return Planes(
        array=np.ascontiguousarray(turned),
        affine=affines.LPS_TO_RAS @ affine_ras @ index,
        coordinate_system="PATIENT",
        frame_of_reference_uid=frame_of_reference,
    )


def slices_of(scan: Grid, first: int, count: int) -> Grid:
    """The grid of `count` slices of a scan from `first`, whose axes are slice, row, column as highdicom's."""
    index = np.zeros((4, 4))
    index[2, 0] = index[1, 1] = index[0, 2] = index[3, 3] = 1.0
    index[2, 3] = first
    return scan.child(index, (count, scan.shape[1], scan.shape[0]))


def on_slices(cam_ijk: NDArray[np.float32], affine_ras: Affine, slices: Grid) -> NDArray[np.float32]:
    """A map interpolated on a grid of `slices_of`, 0 where it has no cell."""
    return resample_linear(cam_ijk, affine_ras, slices)


def planes_on(array_kji: Voxels, slices: Grid, frame_of_reference: str) -> Planes:
    """Values on a grid of `slices_of` as planes."""
    return Planes(
        array=array_kji,
        affine=affines.LPS_TO_RAS @ slices.affine_ras,
        coordinate_system="PATIENT",
        frame_of_reference_uid=frame_of_reference,
    )


def slices_near(cells: NDArray[np.bool_], affine_ras: Affine, scan: Grid) -> tuple[int, int]:
    """The slices of the scan from the first to the last, exclusive, that lie within a cell of one of `cells`.

    Where a map is interpolated, its values are those of the eight cells around, so elsewhere none of them counts.
    """
    found = np.argwhere(cells)
    if not len(found):
        return 0, 0
    low, high = found.min(axis=0) - 1.0, found.max(axis=0) + 1.0
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1).T
    k = affines.apply(np.linalg.inv(scan.affine_ras) @ affine_ras, corners)[:, 2]
    first, last = int(np.floor(k.min())), int(np.ceil(k.max())) + 1
    return min(max(first, 0), scan.shape[2]), min(max(last, 0), scan.shape[2])
