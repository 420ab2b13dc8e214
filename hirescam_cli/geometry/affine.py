"""Algebra of 4x4 voxel-to-world affines, in float64.

World coordinates are millimetres in the patient's RAS frame (x to the right, y to the front, z to the head),
as in NIfTI. An affine maps a voxel index (i, j, k), whose integer values are voxel *centres*, to a world
point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Affine = NDArray[np.float64]
Points = NDArray[np.float64]

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])

_CODES = (("L", "R"), ("P", "A"), ("I", "S"))

OBLIQUE_DEGREES = 1.0


def from_parts(linear: ArrayLike, translation: ArrayLike) -> Affine:
    """4x4 affine from its 3x3 linear part and its translation [3]."""
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = translation
    return affine


def scaling(scale: Sequence[float], offset: Sequence[float]) -> Affine:
    """Index-to-index affine: index' = scale * index + offset on each axis."""
    return from_parts(np.diag(np.asarray(scale, dtype=np.float64)), offset)


def apply(affine: Affine, points: ArrayLike) -> Points:
    """Map points [..., 3] through an affine."""
    array = np.asarray(points, dtype=np.float64)
    mapped: Points = array @ affine[:3, :3].T + affine[:3, 3]
    return mapped


def spacing_mm(affine: Affine) -> tuple[float, float, float]:
    """Distance in mm between neighbouring voxel centres along each index axis."""
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return (float(lengths[0]), float(lengths[1]), float(lengths[2]))


def directions(affine: Affine) -> NDArray[np.float64]:
    """Unit column vectors [3, 3]: the world direction of each index axis."""
    unit: NDArray[np.float64] = affine[:3, :3] / np.asarray(spacing_mm(affine))
    return unit


def nearest_axes(affine: Affine) -> tuple[tuple[int, int], ...]:
    """For each index axis the world axis it runs along, as (axis, sign), each world axis used once.

    Of the 24 x 2 assignments, the one with the largest sum of cosines is taken, so that an oblique grid falls
    on its nearest orientation. Raises ValueError for a singular affine.
    """
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError("the affine is singular")
    cosines = directions(affine)
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    best = max(orders, key=lambda order: sum(abs(cosines[order[axis], axis]) for axis in range(3)))
    return tuple((best[axis], 1 if cosines[best[axis], axis] >= 0 else -1) for axis in range(3))


def orientation(affine: Affine) -> str:
    """Three letters, the world direction towards which each index axis runs ("LPS", "RAS", ...)."""
    return "".join(_CODES[axis][sign > 0] for axis, sign in nearest_axes(affine))


def obliquity_degrees(affine: Affine) -> float:
    """Largest angle between an index axis and the world axis nearest to it, in degrees."""
    cosines = directions(affine)
    angles = [
        np.degrees(np.arccos(np.clip(abs(cosines[world, axis]), 0.0, 1.0)))
        for axis, (world, _) in enumerate(nearest_axes(affine))
    ]
    return float(max(angles))


def is_oblique(affine: Affine) -> bool:
    """Whether planes along the index axes are visibly others than the patient's: more than a degree apart."""
    return obliquity_degrees(affine) > OBLIQUE_DEGREES


def shear_cosine(affine: Affine) -> float:
    """Largest |cosine| between two index axes: 0 for an orthogonal grid."""
    cosines = directions(affine)
    gram = np.abs(cosines.T @ cosines - np.eye(3))
    return float(gram.max())
