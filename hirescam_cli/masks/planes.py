"""The grid that planar contours make where the images they were drawn on are not there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Grid
from hirescam_cli.geometry import affine as affines

Contour = NDArray[np.float64]

PIXEL_MM = 1.0
FLAT_MM = 0.1
"""A contour is flat, and two planes are the same, within so much."""

_UNEVEN = 0.05
_MOST_VOXELS = 1 << 30


class PlaneError(Exception):
    """Contours that lie on no even set of parallel planes; the text is a clause."""


def grid_of_contours(contours: Sequence[Contour], thickness_mm: float | None) -> Grid:
    """A grid of 1 mm pixels over contours [n, 3] (RAS mm) that lie in parallel planes, evenly apart or with gaps.

    `thickness_mm`: the distance of planes where there is but one. Its first axis runs as nearly as possible along
    the patient's left to right, its third along the contours' normal. Raises PlaneError.
    """
    normal = _normal(max(contours, key=len))
    along = [contour @ normal for contour in contours]
    if max(float(np.ptp(distances)) for distances in along) > 2 * FLAT_MM:
        raise PlaneError("its contours are not flat, or not parallel to each other")
    first, step, count = _spaced(np.sort([float(d.mean()) for d in along]), thickness_mm)
    axes = _in_plane(normal)
    flat = np.concatenate(contours) @ axes.T
    low = np.floor(flat.min(axis=0) / PIXEL_MM) - 1
    size = (np.ceil(flat.max(axis=0) / PIXEL_MM) + 2 - low).astype(int)
    if int(size[0]) * int(size[1]) * count > _MOST_VOXELS:
        raise PlaneError("its contours span more than a scan can")
    linear = np.column_stack([axes[0] * PIXEL_MM, axes[1] * PIXEL_MM, normal * step])
    origin = axes.T @ (low * PIXEL_MM) + first * normal
    return Grid((int(size[0]), int(size[1]), count), affines.from_parts(linear, origin))


def _normal(contour: Contour) -> NDArray[np.float64]:
    """Unit normal of a polygon (Newell), pointing towards the head where it has a side that does."""
    following = np.roll(contour, -1, axis=0)
    normal = np.cross(contour - contour[0], following - contour[0]).sum(axis=0)
    length = float(np.linalg.norm(normal))
    if length < 1e-6:
        raise PlaneError("its longest contour encloses nothing")
    normal = normal / length
    main = int(np.abs(normal).argmax())
    upwards: NDArray[np.float64] = normal if normal[main] > 0 else -normal
    # Written with few decimals, an axial contour's normal is the axis itself.
    return np.eye(3)[main] if upwards[main] > 1 - 1e-9 else upwards


def _in_plane(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two unit vectors [2, 3] across the normal, right-handed with it."""
    start = np.array([0.0, 1.0, 0.0]) if abs(normal[0]) > 0.9 else np.array([1.0, 0.0, 0.0])
    first = start - (start @ normal) * normal
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])


def _spaced(distances: NDArray[np.float64], thickness_mm: float | None) -> tuple[float, float, int]:
    """First plane, step and number of planes; PlaneError where they are not multiples of one step apart."""
    steps = np.diff(distances)
    steps = steps[steps > 2 * FLAT_MM]
    if not steps.size:
        if thickness_mm is None:
            raise PlaneError("its contours lie in one plane of unknown thickness")
        return float(distances[0]), thickness_mm, 1
    smallest = float(steps.min())
    multiples = np.rint(steps / smallest)
    step = float(steps.sum() / multiples.sum())
    if np.abs(steps - multiples * step).max() > max(_UNEVEN * step, FLAT_MM):
        raise PlaneError("the planes of its contours are not evenly apart")
    return float(distances[0]), step, int(multiples.sum()) + 1
