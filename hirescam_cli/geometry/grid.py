"""Voxel grids and the grids derived from them: reordered, resampled, padded, cropped, coarsened.

Each derivation returns the child `Grid` together with whatever is needed to move voxels into it, so that
undoing a preparation is matrix algebra on the two affines and nothing has to be remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.affine import Affine
from hirescam_cli.geometry.types import Voxels

Shape3 = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in space: `shape` (voxels per index axis) and `affine_ras` (index to RAS mm)."""

    shape: Shape3
    affine_ras: Affine

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"a grid has three axes of at least one voxel, not {self.shape}")
        if self.affine_ras.shape != (4, 4):
            raise ValueError(f"an affine is 4x4, not {self.affine_ras.shape}")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance in mm between voxel centres along each index axis."""
        return affines.spacing_mm(self.affine_ras)

    def child(self, index_affine: Affine, shape: Sequence[int]) -> Grid:
        """Grid of `shape` whose index (i, j, k) lies at this grid's index `index_affine @ (i, j, k, 1)`."""
        i, j, k = (int(n) for n in shape)
        return Grid((i, j, k), self.affine_ras @ index_affine)


@dataclass(frozen=True)
class AxisOrder:
    """Permutation and flips of axes: axis `a` of the result is axis `source[a]`, reversed where `flip[a]`."""

    source: tuple[int, int, int]
    flip: tuple[bool, bool, bool]

    def apply(self, array: Voxels) -> Voxels:
        """A view of `array` [3-D] in the new order; no voxel is copied."""
        return np.transpose(array, self.source)[tuple(slice(None, None, -1 if f else 1) for f in self.flip)]


def reorient(grid: Grid, codes: str) -> tuple[AxisOrder, Grid]:
    """Order and grid that make index axis a run towards `codes[a]`.

    "IPL" means: to the feet, to the back, to the left. An oblique grid is taken along its nearest axes; its
    obliquity stays in the affine of the result.
    """
    wanted = {"L": (0, -1), "R": (0, 1), "P": (1, -1), "A": (1, 1), "I": (2, -1), "S": (2, 1)}
    have = affines.nearest_axes(grid.affine_ras)
    source, flip = [0, 0, 0], [False, False, False]
    index_affine = np.zeros((4, 4))
    index_affine[3, 3] = 1.0
    for new_axis, code in enumerate(codes):
        world, sign = wanted[code]
        old_axis = next(a for a, (w, _) in enumerate(have) if w == world)
        source[new_axis], flip[new_axis] = old_axis, have[old_axis][1] != sign
        index_affine[old_axis, new_axis] = -1.0 if flip[new_axis] else 1.0
        index_affine[old_axis, 3] = grid.shape[old_axis] - 1.0 if flip[new_axis] else 0.0
    order = AxisOrder((source[0], source[1], source[2]), (flip[0], flip[1], flip[2]))
    return order, grid.child(index_affine, [grid.shape[a] for a in source])


def resampled(grid: Grid, spacing_mm: Sequence[float]) -> Grid:
    """Grid of another spacing, first voxel centre kept: round(n * spacing / new spacing) voxels an axis."""
    ratio = [new / old for new, old in zip(spacing_mm, grid.spacing_mm, strict=True)]
    shape = [max(1, round(n / r)) for n, r in zip(grid.shape, ratio, strict=True)]
    return grid.child(affines.scaling(ratio, (0.0, 0.0, 0.0)), shape)


Anchor = Literal["centre", "start", "end"]
Centring = Literal["hirescam", "monai", "torchio"]


@dataclass(frozen=True)
class PadCrop:
    """Padding and cropping of one axis from `size` to `target` voxels; what lies at the `anchor` stays.

    Result index r holds source index `r + shift`; source voxels lie at result indices [`start`, `stop`), the rest is
    padding. `convention`, of an odd voxel about the centre: it is added or cut at the end ("hirescam", as in
    RAD-ChestCT's pipeline), so that voxel n // 2 stays voxel n // 2 where it is cut ("monai"), or at the start
    ("torchio").
    """

    size: int
    target: int
    anchor: Anchor = "centre"
    convention: Centring = "hirescam"

    @property
    def shift(self) -> int:
        """Source index of result index 0 (negative: so many voxels of padding come first)."""
        surplus = self.size - self.target
        if self.anchor != "centre":
            return 0 if self.anchor == "start" else surplus
        if self.convention == "torchio":
            return -(-surplus // 2) if surplus >= 0 else surplus // 2
        if self.convention == "monai" and surplus >= 0:
            return self.size // 2 - self.target // 2
        return surplus // 2 if surplus >= 0 else -((-surplus) // 2)

    @property
    def start(self) -> int:
        """First result index that holds a source voxel."""
        return max(0, -self.shift)

    @property
    def stop(self) -> int:
        """One past the last result index that holds a source voxel."""
        return min(self.target, self.size - self.shift)


def pad_crop(
    grid: Grid,
    target: Sequence[int],
    anchors: Sequence[Anchor] = ("centre", "centre", "centre"),
    convention: Centring = "hirescam",
) -> tuple[tuple[PadCrop, PadCrop, PadCrop], Grid]:
    """The three axes' `PadCrop`s and the grid of shape `target`, which shares the anchors with `grid`."""
    i, j, k = (
        PadCrop(n, t, anchor, convention) for n, t, anchor in zip(grid.shape, target, anchors, strict=True)
    )
    offset = [float(axis.shift) for axis in (i, j, k)]
    return (i, j, k), grid.child(affines.scaling((1.0, 1.0, 1.0), offset), target)
