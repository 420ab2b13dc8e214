"""Moving values between two grids.

Between grids whose index axes are parallel the work is separable: one small matrix per axis
(`bspline_matrix`, `linear_matrix`, applied by `apply_separable`). `linear_at` is the general path for grids
that are oblique to each other. Positions are always continuous indices of the source axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hirescam_cli.geometry.affine import Affine, apply
from hirescam_cli.geometry.grid import Grid
from hirescam_cli.geometry.types import Voxels

Matrix = NDArray[np.float64]

_ALIGNED_TOLERANCE = 1e-6
_BLOCK = 24
_PRODUCT = 1 << 18


def linear_matrix(size: int, positions: ArrayLike) -> Matrix:
    """Weights [len(positions), size] of linear interpolation on an axis of `size` cells.

    Between cell centres the weights are linear; in the outer half cells the outer cell's value holds; at
    positions outside [-0.5, size - 0.5], where there is no cell, all weights are 0.
    """
    x = np.asarray(positions, dtype=np.float64)
    inside = (x >= -0.5 - _ALIGNED_TOLERANCE) & (x <= size - 0.5 + _ALIGNED_TOLERANCE)
    clamped = np.clip(x, 0.0, size - 1.0)
    lower = np.minimum(np.floor(clamped).astype(np.intp), max(size - 2, 0))
    fraction = clamped - lower
    weights = np.zeros((x.size, size))
    rows = np.arange(x.size)
    np.add.at(weights, (rows, lower), 1.0 - fraction)
    np.add.at(weights, (rows, np.minimum(lower + 1, size - 1)), fraction)
    weights[~inside] = 0.0
    return weights


def area_matrix(size: int, positions: ArrayLike, width: float) -> Matrix:
    """Weights [len(positions), size] of the mean over windows `width` cells wide, cut off at the outer faces.

    A window that lies beyond a face is the outer cell.
    """
    x = np.asarray(positions, dtype=np.float64)[:, None]
    cells = np.arange(size)
    overlap = np.minimum(x + width / 2, cells + 0.5) - np.maximum(x - width / 2, cells - 0.5)
    weights = np.clip(overlap, 0.0, None)
    weights[x[:, 0] - width / 2 >= size - 0.5, -1] = 1.0
    weights[x[:, 0] + width / 2 <= -0.5, 0] = 1.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def bspline_matrix(size: int, positions: ArrayLike) -> Matrix:
    """Weights [len(positions), size] of cubic B-spline interpolation with a mirror boundary.

    The interpolation weights times the inverse of the B-spline prefilter, mirrored about the outer voxel
    centres (Unser 1999, "Splines: a perfect fit"; the same boundary as ITK's
    BSplineInterpolateImageFunction).
    """
    x = np.asarray(positions, dtype=np.float64)
    if size == 1:
        return np.ones((x.size, 1))
    base = np.floor(x).astype(np.intp)
    t = x - base
    taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (-(t**3) + t**2 + t) + 1, t**3]) / 6.0
    period = 2 * (size - 1)
    weights = np.zeros((x.size, size))
    for tap in range(4):
        folded = np.mod(base + tap - 1, period)
        folded = np.minimum(folded, period - folded)
        np.add.at(weights, (np.arange(x.size), folded), taps[tap])
    return _without_prefilter(weights)


def _without_prefilter(weights: Matrix) -> Matrix:
    """`weights` [m, n] of B-spline coefficients times the inverse of the prefilter: weights of voxels.

    The prefilter is tridiagonal, 1/6, 4/6, 1/6, with 2/6 at [0, 1] and [n - 1, n - 2] from the mirror; its
    transpose is solved for all rows at once by elimination down and substitution up.
    """
    right = np.ascontiguousarray(weights.T)
    size = len(right)
    below, above = np.full(size, 1.0 / 6.0), np.full(size, 1.0 / 6.0)
    below[1] = above[size - 2] = 2.0 / 6.0
    factor = np.empty(size)
    factor[0] = above[0] / (4.0 / 6.0)
    right[0] /= 4.0 / 6.0
    for i in range(1, size):
        pivot = 4.0 / 6.0 - below[i] * factor[i - 1]
        factor[i] = above[i] / pivot
        right[i] = (right[i] - below[i] * right[i - 1]) / pivot
    for i in range(size - 2, -1, -1):
        right[i] -= factor[i] * right[i + 1]
    return np.ascontiguousarray(right.T)


def band_blocks(matrix: Matrix) -> list[tuple[slice, slice]]:
    """Blocks (rows, columns) that together hold every weight of a banded `matrix` [m, n] worth keeping.

    The inverse of the B-spline prefilter decays by 0.27 a voxel, so a block of neighbouring rows needs few
    columns: weights below 1e-8 of the largest, which cannot move a value by a thousandth of a HU, are left
    out.
    """
    keep = np.abs(matrix) > 1e-8 * max(np.abs(matrix).max(initial=0.0), 1e-300)
    blocks = []
    for start in range(0, matrix.shape[0], _BLOCK):
        columns = np.flatnonzero(keep[start : start + _BLOCK].any(axis=0))
        if columns.size:
            rows = slice(start, min(start + _BLOCK, matrix.shape[0]))
            blocks.append((rows, slice(int(columns[0]), int(columns[-1]) + 1)))
    return blocks


@dataclass(frozen=True, eq=False)
class Banded:
    """A matrix [m, n] as its blocks worth keeping: (rows, columns, weights float32), see `band_blocks`."""

    shape: tuple[int, int]
    blocks: tuple[tuple[slice, slice, NDArray[np.float32]], ...]


def banded(matrix: Matrix) -> Banded:
    """Take a matrix apart once, for many calls of `apply_along`."""
    blocks = (
        (rows, columns, np.ascontiguousarray(matrix[rows, columns], dtype=np.float32))
        for rows, columns in band_blocks(matrix)
    )
    return Banded((matrix.shape[0], matrix.shape[1]), tuple(blocks))


def windows(matrix: Banded, blocks: int) -> Iterator[tuple[slice, slice, Banded]]:
    """Take a matrix that rises along its diagonal apart into runs of `blocks` of its blocks.

    Yields (rows, columns, the weights of these rows for these columns), so that an axis too long to be held can
    be worked through piece by piece, with the bits of the whole.
    """
    for start in range(0, len(matrix.blocks), blocks):
        some = matrix.blocks[start : start + blocks]
        rows = slice(some[0][0].start, some[-1][0].stop)
        columns = slice(min(c.start for _, c, _ in some), max(c.stop for _, c, _ in some))
        inner = tuple(
            (
                slice(r.start - rows.start, r.stop - rows.start),
                slice(c.start - columns.start, c.stop - columns.start),
                weights,
            )
            for r, c, weights in some
        )
        yield rows, columns, Banded((rows.stop - rows.start, columns.stop - columns.start), inner)


def apply_along(
    array: NDArray[np.float32], matrix: Matrix | Banded, axis: int, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Contract `matrix` [m, n] with axis `axis`, of n values, of a 3-D array; float32, C order or into `out`.

    Computed in products of at most `_PRODUCT` multiply-adds, which BLAS leaves to the calling thread: its own
    threads cost more than they bring here, and slabs can be handed to threads instead.
    """
    bands = matrix if isinstance(matrix, Banded) else banded(matrix)
    if out is None:
        shape = list(array.shape)
        shape[axis] = bands.shape[0]
        out = np.empty(shape, dtype=np.float32)
    if sum(rows.stop - rows.start for rows, _, _ in bands.blocks) < bands.shape[0]:
        out.fill(0.0)
    order = ((1, 0, 2), (0, 1, 2), (0, 2, 1))[axis]
    source, target = array.transpose(order), out.transpose(order)
    for rows, columns, weights in bands.blocks:
        step = max(1, _PRODUCT // weights.size)
        for start in range(0, source.shape[2], step):
            part = slice(start, start + step)
            np.matmul(weights, source[:, columns, part], out=target[:, rows, part])
    return out


def apply_separable(array: Voxels, matrices: Sequence[Matrix]) -> NDArray[np.float32]:
    """Resample a 3-D array with one matrix [m_a, n_a] per axis, in float32, least growing axis first."""
    result = np.ascontiguousarray(array, dtype=np.float32)
    growth = [matrix.shape[0] / matrix.shape[1] for matrix in matrices]
    for axis in sorted(range(3), key=growth.__getitem__):
        result = apply_along(result, matrices[axis], axis)
    return result


def aligned_axes(index_affine: Affine, extent: Sequence[int]) -> tuple[int, int, int] | None:
    """For each target axis the one source axis it moves along; None if the grids are oblique to each other.

    `index_affine` maps target indices to source indices; stray terms count as zero while they move no point
    of a target grid of shape `extent` by more than a millionth of a source voxel.
    """
    linear = np.abs(index_affine[:3, :3])
    source = linear.argmax(axis=0)
    if len(set(source.tolist())) != 3:
        return None
    stray = linear.copy()
    stray[source, np.arange(3)] = 0.0
    if (stray * np.asarray(extent, dtype=np.float64)).max() > _ALIGNED_TOLERANCE:
        return None
    return (int(source[0]), int(source[1]), int(source[2]))


def linear_at(array: Voxels, positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values of a 3-D array at continuous indices [..., 3], by the rule of `linear_matrix` on each axis."""
    shape = positions.shape[:-1]
    flat = positions.reshape(-1, 3)
    size = np.asarray(array.shape)
    inside = ((flat >= -0.5 - _ALIGNED_TOLERANCE) & (flat <= size - 0.5 + _ALIGNED_TOLERANCE)).all(axis=1)
    clamped = np.clip(flat, 0.0, size - 1.0)
    lower = np.minimum(np.floor(clamped).astype(np.intp), np.maximum(size - 2, 0))
    upper = np.minimum(lower + 1, size - 1)
    fraction = clamped - lower
    result = np.zeros(len(flat))
    for corner in range(8):
        bits = [(corner >> axis) & 1 for axis in range(3)]
        index = [upper[:, a] if bits[a] else lower[:, a] for a in range(3)]
        weight = np.prod([fraction[:, a] if bits[a] else 1.0 - fraction[:, a] for a in range(3)], axis=0)
        result += weight * array[index[0], index[1], index[2]]
    result[~inside] = 0.0
    return result.reshape(shape).astype(np.float32)


def resample_linear(array: Voxels, affine_ras: Affine, target: Grid) -> NDArray[np.float32]:
    """The 3-D `array` (at `affine_ras`) interpolated linearly at every voxel centre of `target`.

    0 outside its cells. Separable where the two grids are parallel, slab by slab through `linear_at` where
    they are oblique.
    """
    index_affine = np.linalg.inv(affine_ras) @ target.affine_ras
    source = aligned_axes(index_affine, target.shape)
    if source is None:
        result = np.empty(target.shape, dtype=np.float32)
        jk = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape[1:]), indexing="ij"), axis=-1)
        for i in range(target.shape[0]):
            ijk = np.concatenate([np.full((*jk.shape[:-1], 1), i), jk], axis=-1)
            result[i] = linear_at(array, apply(index_affine, ijk))
        return result
    matrices = [
        linear_matrix(array.shape[s], index_affine[s, t] * np.arange(target.shape[t]) + index_affine[s, 3])
        for t, s in enumerate(source)
    ]
    return apply_separable(np.transpose(array, source), matrices)
