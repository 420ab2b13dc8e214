"""Known masks and grids, written by other programs' writers, and their voxels as points in space."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from hirescam_cli.masks.mask import Mask

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(degrees: float, axis: int) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    plane = [a for a in range(3) if a != axis]
    matrix = np.eye(3)
    matrix[np.ix_(plane, plane)] = [[c, -s], [s, c]]
    return matrix


def affine(linear: NDArray[np.float64], origin: tuple[float, float, float]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, origin
    return matrix


STRAIGHT = affine(np.diag([2.0, 3.0, 4.0]), (-10.0, 5.0, 30.0))
FLIPPED = affine(np.diag([-2.0, -3.0, 4.0]), (10.0, 50.0, -30.0))
REVERSED = affine(np.diag([-2.0, 3.0, -4.0]), (10.0, 50.0, 300.0))
PERMUTED = affine(np.array([[0.0, 0, 4], [2, 0, 0], [0, -3, 0]]), (1.0, 2.0, 3.0))
OBLIQUE = affine(rotation(17, 0) @ rotation(-31, 2) @ np.diag([2.0, 3.0, 4.0]), (-7.0, 11.0, 13.0))
GRIDS = {
    "straight": STRAIGHT,
    "flipped": FLIPPED,
    "reversed": REVERSED,
    "permuted": PERMUTED,
    "oblique": OBLIQUE,
}


def blob(shape: tuple[int, int, int] = (7, 6, 5), value: int = 1) -> NDArray[np.uint8]:
    """A mask without any symmetry."""
    values = np.zeros(shape, dtype=np.uint8)
    values[1:4, 2, 1] = values[2, 2:5, 2] = values[5, 1, 3] = value
    return values


def two_labels() -> NDArray[np.uint8]:
    values = blob()
    values[0, 0, 0:2] = 4
    return values


def nifti(path: Path, values: NDArray[np.generic], grid: NDArray[np.float64] | None = STRAIGHT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, grid), path)
    return path


def itk(path: Path, values: NDArray[np.generic], grid: NDArray[np.float64] = STRAIGHT, **meta: str) -> Path:
    """Written by SimpleITK: NRRD or MetaImage by the ending; `meta`: keys of the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    lps = LPS_TO_RAS @ grid
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    for key, value in meta.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def points(inside: NDArray[np.bool_], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """World points [n, 3] of a mask's voxels, in an order that depends on nothing else."""
    found = np.argwhere(inside) @ grid[:3, :3].T + grid[:3, 3]
    return found[np.lexsort(np.round(found, 3).T)]


def same_place(mask: Mask, inside: NDArray[np.bool_], grid: NDArray[np.float64], atol: float = 1e-4) -> None:
    """The mask's voxels are where `inside` on `grid` has them, and no others."""
    np.testing.assert_allclose(points(mask.array_ijk, mask.affine_ras), points(inside, grid), atol=atol)
