"""Outlines of masks on planes: closed polylines along the edges of pixels, exactly around what lies inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.view import UPRIGHT, CaseView
from hirescam_cli.geometry import Grid, reorient
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.affine import Points
from hirescam_cli.masks.mask import Inside, Mask
from hirescam_cli.masks.names import assign
from hirescam_cli.pictures.canvas import Canvas
from hirescam_cli.pictures.planes import PLANES, Frame, PlaneName, sample

Polyline = NDArray[np.float64]
"""Corners [n, 2] (row, column) of a closed line, the first not repeated; centres of pixels are whole numbers."""

_TOLERANCE = 1e-6
"""A centre on the edge of two voxels of a mask belongs to the lower one, as in `planes.sample`."""

COLOURS = ("#37f06b", "#ff6ad5", "#ffffff", "#f5f749")
"""The label's own mask first; none of them is a colour of evidence or of tissue."""


def outlines_of(view: CaseView, label: str) -> list[tuple[Mask, str]]:
    """The masks outlined on a label's pictures, its own first, each with its colour."""
    labels = view.case.labels
    meant = assign(
        [o.mask.name for o in view.masks],
        [one.name for one in labels],
        {one.name: one.slug for one in labels},
    ).masks.get(label)
    own = [o.mask for o in view.masks if o.label == label or (o.label is None and o.mask.name == meant)]
    others = [o.mask for o in view.masks if o.label is None and o.mask not in own]
    coloured = [(mask, COLOURS[1 + n % (len(COLOURS) - 1)]) for n, mask in enumerate(others)]
    return [*((mask, COLOURS[0]) for mask in own), *coloured]


def on_plane(mask: Mask, plane: Frame) -> list[Polyline]:
    """The outline of a mask on a plane, in its rows and columns: around the pixels whose centres lie in the mask."""
    return trace(sample(mask.array_ijk, mask.affine_ras, plane, smooth=False) > 0.5)


def in_patient(mask: Mask, scan: Grid, coarse: int = 1) -> list[tuple[PlaneName, Points]]:
    """The outlines of a mask on every slice of a scan, in the three planes of the scan's own axes.

    Each is a closed line [n, 3] in RAS mm, its first point repeated at its end, that lies in the middle of one slice;
    it runs around squares of `coarse` x `coarse` voxels whose middle lies in the mask.
    """
    _, upright = reorient(scan, UPRIGHT)
    found: list[tuple[PlaneName, Points]] = []
    for axis, name in enumerate(PLANES):
        factors = [1.0 if a == axis else float(coarse) for a in range(3)]
        shape = [-(-n // int(f)) for n, f in zip(upright.shape, factors, strict=True)]
        grid = upright.child(affines.scaling(factors, [(f - 1) / 2 for f in factors]), shape)
        slices = np.moveaxis(on_grid(mask, grid), axis, 0)
        for n in np.flatnonzero(slices.any(axis=(1, 2))):
            for line in trace(slices[n]):
                index = np.insert(np.vstack([line, line[:1]]), axis, float(n), axis=1)
                found.append((name, affines.apply(grid.affine_ras, index)))
    return found


def on_grid(mask: Mask, grid: Grid) -> Inside:
    """Which voxels of a grid have their centres in a mask, whatever the two grids' axes."""
    to_mask = np.asarray(np.linalg.inv(mask.affine_ras) @ grid.affine_ras, dtype=np.float64)
    inside = np.zeros(grid.shape, dtype=np.bool_)
    shape = np.asarray(mask.array_ijk.shape)
    j, k = np.meshgrid(np.arange(grid.shape[1]), np.arange(grid.shape[2]), indexing="ij")
    for i in range(grid.shape[0]):
        points = np.stack([np.full_like(j, i), j, k], axis=-1)
        index = np.rint(affines.apply(to_mask, points) - _TOLERANCE).astype(np.intp)
        within = ((index >= 0) & (index < shape)).all(axis=-1)
        inside[i][within] = mask.array_ijk[tuple(index[within].T)]
    return inside


def trace(inside: Inside) -> list[Polyline]:
    """The closed boundaries of the pixels [rows, columns] that are inside; holes have one of their own.

    Corners only: between two of them a line runs along a row or a column.
    """
    following = _edges(np.pad(inside, 1))
    lines = []
    while following:
        corners = _walk(following, next(iter(following)))
        lines.append(np.asarray(corners, dtype=np.float64) - 1.5)
    return lines


_Corner = tuple[int, int]


def _edges(padded: Inside) -> dict[_Corner, list[_Corner]]:
    """Directed unit edges of the boundary, start to ends, with the inside on their right."""
    following: dict[_Corner, list[_Corner]] = {}
    down = padded[1:, 1:].astype(np.int8) - padded[:-1, 1:]
    for row, column in np.argwhere(down != 0).tolist():
        left, right = (row + 1, column + 1), (row + 1, column + 2)
        start, end = (left, right) if down[row, column] > 0 else (right, left)
        following.setdefault(start, []).append(end)
    across = padded[1:, 1:].astype(np.int8) - padded[1:, :-1]
    for row, column in np.argwhere(across != 0).tolist():
        top, bottom = (row + 1, column + 1), (row + 2, column + 1)
        start, end = (bottom, top) if across[row, column] > 0 else (top, bottom)
        following.setdefault(start, []).append(end)
    return following


def _walk(following: dict[_Corner, list[_Corner]], start: _Corner) -> list[_Corner]:
    """The corners of one closed line, whose edges are taken out. It turns right where two pixels touch at a corner."""
    before, here = start, following[start][0]
    first = (before, here)
    corners = []
    while True:
        step = (here[0] - before[0], here[1] - before[1])
        right = (here[0] + step[1], here[1] - step[0])
        ends = following[here]
        after = right if right in ends else ends[0]
        if (after[0] - here[0], after[1] - here[1]) != step:
            corners.append(here)
        _take(following, here, after)
        if (here, after) == first:
            return corners
        before, here = here, after


def _take(following: dict[_Corner, list[_Corner]], start: _Corner, end: _Corner) -> None:
    following[start].remove(end)
    if not following[start]:
        del following[start]


def draw_outlines(
    canvas: Canvas, x: float, y: float, plane: Frame, masks: Sequence[tuple[Mask, str]]
) -> list[bool]:
    """Draw masks on a plane whose image has its corner at (x, y); whether the plane cuts each of them."""
    cut = []
    for mask, colour in masks:
        lines = on_plane(mask, plane)
        cut.append(bool(lines))
        for rows, columns in (line.T for line in lines):
            xs = [*(x + columns + 0.5), x + columns[0] + 0.5]
            ys = [*(y + rows + 0.5), y + rows[0] + 0.5]
            canvas.line(xs, ys, colour="black", width=3.0, alpha=0.55)
            canvas.line(xs, ys, colour=colour, width=1.4)
    return cut
