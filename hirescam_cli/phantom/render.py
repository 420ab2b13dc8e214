"""Painting analytic shapes into slabs of a voxel grid.

Points are in the phantom's own frame: millimetres, x to the patient's right, y to the front, z to the head, as RAS. A
slab's arrays are indexed [z, y, x]. A shape is a signed depth in mm (positive inside), evaluated by broadcasting in
the part of the slab that its bounding box covers; the depth becomes the share of a voxel that the shape fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry.types import Voxels

Values = NDArray[np.float32]
Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]
Axes = tuple[Values, Values, Values]

AIR_HU = -1000.0


@dataclass(eq=False)
class Slab:
    """Some slices of a phantom while it is painted.

    `x`, `y`, `z`: coordinates of the voxel centres in mm; `hu` and `lung` (share of each voxel that is lung
    parenchyma) are [z, y, x]; `masks`: by label, the voxels of the abnormality; `edge_mm`: width over which a
    boundary is blurred.
    """

    x: Values
    y: Values
    z: Values
    hu: Values
    lung: Values
    masks: dict[str, NDArray[np.bool_]]
    edge_mm: float
    depth: Values = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def axes(self) -> Axes:
        """Coordinates that broadcast to the whole slab."""
        return self.x[None, None, :], self.y[None, :, None], self.z[:, None, None]

    def box(self, low: Sequence[float], high: Sequence[float]) -> tuple[Box, Axes] | None:
        """Slices [z, y, x] of the voxels between two corners (x, y, z), and their coordinates; None without voxels."""
        ranges = []
        for axis, a, b in zip((self.x, self.y, self.z), low, high, strict=True):
            start = int(np.searchsorted(axis, a - self.edge_mm))
            stop = int(np.searchsorted(axis, b + self.edge_mm, side="right"))
            if start >= stop:
                return None
            ranges.append(slice(start, stop))
        i, j, k = ranges
        return (k, j, i), (self.x[None, None, i], self.y[None, j, None], self.z[k, None, None])

    def share(self, depth: Voxels | float, edge_mm: float | None = None) -> Values:
        """Share of each voxel inside a shape of signed `depth` in mm (positive inside)."""
        share: Values = np.asarray(depth, dtype=np.float32) * np.float32(1.0 / (edge_mm or self.edge_mm))
        share += np.float32(0.5)
        return np.clip(share, 0.0, 1.0, out=share)

    def paint(self, box: Box, share: Values, hu: Voxels | float, *, label: str | None = None) -> None:
        """Let a shape take its share of the voxels: it displaces what was there, lung included."""
        view = self.hu[box]
        view += share * (hu - view)
        self.lung[box] *= 1.0 - share
        if label is not None:
            self.mark(label, box, share > 0.5)

    def paint_in_lung(self, box: Box, share: Values, hu: Voxels | float, *, label: str | None = None) -> None:
        """As `paint`, but only where lung is."""
        self.paint(box, share * self.lung[box], hu, label=label)

    def mark(self, label: str, box: Box, where: NDArray[np.bool_]) -> None:
        """Add voxels to an abnormality's mask."""
        view = self.masks[label][box]
        view |= where


@dataclass(frozen=True)
class Ellipsoid:
    """Centre and half axes in mm; `turn` [3, 3] holds the half axes' directions as rows (None: along x, y, z)."""

    centre: Point
    radii: Point
    turn: tuple[Point, Point, Point] | None = None

    def grown(self, by_mm: float, shift: Point = (0.0, 0.0, 0.0)) -> Ellipsoid:
        """A larger ellipsoid, moved by `shift`."""
        x, y, z = (c + d for c, d in zip(self.centre, shift, strict=True))
        a, b, c = (r + by_mm for r in self.radii)
        return Ellipsoid((x, y, z), (a, b, c), self.turn)

    def reach(self) -> tuple[list[float], list[float]]:
        """Corners (x, y, z) of the bounding box."""
        turn = np.eye(3) if self.turn is None else np.asarray(self.turn)
        half = np.sqrt(((turn * np.asarray(self.radii)[:, None]) ** 2).sum(axis=0))
        return list(np.asarray(self.centre) - half), list(np.asarray(self.centre) + half)

    def depth(self, x: Voxels, y: Voxels, z: Voxels) -> Voxels:
        """Approximate signed depth in mm: (1 - normalised radius) times the smallest half axis."""
        x, y, z = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        a, b, c = self.radii
        if self.turn is None:
            square = (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2
        else:
            u, v, w = self.turn
            square = ((x * u[0] + y * u[1] + z * u[2]) / a) ** 2
            square = square + ((x * v[0] + y * v[1] + z * v[2]) / b) ** 2
            square = square + ((x * w[0] + y * w[1] + z * w[2]) / c) ** 2
        return (1.0 - np.sqrt(square)) * min(a, b, c)


@dataclass(frozen=True)
class Tube:
    """A straight tube with round ends from `start` to `stop`, its radius going from `radius` to `radius_stop` (mm)."""

    start: Point
    stop: Point
    radius: float
    radius_stop: float | None = None

    def reach(self) -> tuple[list[float], list[float]]:
        """Corners (x, y, z) of the bounding box."""
        widest = max(self.radius, self.radius_stop or self.radius)
        low = [min(a, b) - widest for a, b in zip(self.start, self.stop, strict=True)]
        high = [max(a, b) + widest for a, b in zip(self.start, self.stop, strict=True)]
        return low, high

    def depth(self, x: Voxels, y: Voxels, z: Voxels) -> Voxels:
        """Signed depth in mm below the tube's surface."""
        dx, dy, dz = (b - a for a, b in zip(self.start, self.stop, strict=True))
        x, y, z = x - self.start[0], y - self.start[1], z - self.start[2]
        length2 = max(dx * dx + dy * dy + dz * dz, 1e-6)
        along = np.clip((x * dx + y * dy + z * dz) * (1.0 / length2), 0.0, 1.0)
        square = (x - along * dx) ** 2 + (y - along * dy) ** 2 + (z - along * dz) ** 2
        end = self.radius if self.radius_stop is None else self.radius_stop
        return self.radius + along * (end - self.radius) - np.sqrt(square)


Shape = Ellipsoid | Tube


def paint_shape(
    slab: Slab,
    shape: Shape,
    hu: Voxels | float,
    *,
    label: str | None = None,
    in_lung: bool = False,
    edge_mm: float | None = None,
) -> None:
    """Paint one shape with one HU value."""
    found = slab.box(*shape.reach())
    if found is None:
        return
    box, axes = found
    share = slab.share(shape.depth(*axes), edge_mm)
    (slab.paint_in_lung if in_lung else slab.paint)(box, share, hu, label=label)


def union_depth(shapes: Sequence[Shape], axes: Axes) -> Voxels:
    """Signed depth below the surface of several shapes together."""
    depth = shapes[0].depth(*axes)
    for shape in shapes[1:]:
        depth = np.maximum(depth, shape.depth(*axes))
    return depth


def union_reach(shapes: Sequence[Shape]) -> tuple[list[float], list[float]]:
    """Corners (x, y, z) of the box around several shapes."""
    corners = [shape.reach() for shape in shapes]
    low = [min(c[0][axis] for c in corners) for axis in range(3)]
    high = [max(c[1][axis] for c in corners) for axis in range(3)]
    return low, high


def polyline(points: Sequence[Point], radius: float) -> list[Tube]:
    """Tubes of one radius along a path."""
    return [Tube(a, b, radius) for a, b in pairwise(points)]
