"""Small worlds: all 48 axis orders, oblique and anisotropic affines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine

DIRECTION = {
    "L": (-1, 0, 0), "R": (1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "I": (0, 0, -1), "S": (0, 0, 1),
}  # fmt: skip
ORIENTATIONS = [
    "".join(pair[bit] for pair, bit in zip(order, bits, strict=True))
    for order in itertools.permutations(("LR", "PA", "IS"))
    for bits in itertools.product((0, 1), repeat=3)
]


def affine_of(
    codes: str, spacing_mm: Sequence[float] = (1.0, 1.0, 1.0), origin_mm: Sequence[float] = (0.0, 0.0, 0.0)
) -> Affine:
    """Affine whose index axes run towards `codes`, with the first voxel at `origin_mm`."""
    affine = np.eye(4)
    for axis, code in enumerate(codes):
        affine[:3, axis] = np.array(DIRECTION[code]) * spacing_mm[axis]
    affine[:3, 3] = origin_mm
    return affine


def rotation(axis: Sequence[float], degrees: float) -> NDArray[np.float64]:
    """3x3 rotation about `axis` (Rodrigues)."""
    x, y, z = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def rotated(affine: Affine, axis: Sequence[float], degrees: float) -> Affine:
    """The grid of `affine` turned about the world's origin."""
    turn = np.eye(4)
    turn[:3, :3] = rotation(axis, degrees)
    return turn @ affine


def reordered(array: NDArray[np.int16], affine: Affine, codes: str) -> tuple[NDArray[np.int16], Affine]:
    """The same voxels of an axis-aligned volume stored along `codes`, found voxel axis by voxel axis."""
    have = np.rint(affine[:3, :3] / np.abs(affine[:3, :3]).sum(axis=0)).astype(int)
    new = np.eye(4)
    source, first = [], np.zeros(3)
    for axis, code in enumerate(codes):
        wanted = np.array(DIRECTION[code])
        old = next(a for a in range(3) if abs(have[:, a] @ wanted) == 1)
        source.append(old)
        sign = have[:, old] @ wanted
        new[:3, axis] = affine[:3, old] * sign
        if sign < 0:
            first[old] = array.shape[old] - 1
    new[:3, 3] = affine[:3, :3] @ first + affine[:3, 3]
    moved = np.transpose(array, source)
    for axis, code in enumerate(codes):
        if have[:, source[axis]] @ np.array(DIRECTION[code]) < 0:
            moved = np.flip(moved, axis)
    return np.ascontiguousarray(moved), new
