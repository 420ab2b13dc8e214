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


def on_scan(cam_ijk: NDArray[np.float32], affine_ras: Affine, scan: Grid) -> NDArray[np.float32]:
    """A map interpolated on the scan's grid, 0 where it has no cell."""
    return resample_linear(cam_ijk, affine_ras, scan)
