"""RTSTRUCT objects: closed planar contours turned into voxels.

The voxels are those of the series that the object refers to, if its files lie beside it and the contours lie on its
slices. Else a grid is made: planes where the contours are, as far apart as the nearest two, with pixels of 1 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from hirescam_cli.errors import MaskError
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.contours import even_odd
from hirescam_cli.masks.dicom_objects import DAMAGE, digest, numbers, read
from hirescam_cli.masks.mask import Inside, Mask, checked, refused
from hirescam_cli.masks.planes import PlaneError, grid_of_contours
from hirescam_cli.masks.series import grid_of_series

Contour = NDArray[np.float64]
Point = tuple[float, ...]

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_DECIMALS = 4
"""Of mm: contours whose points agree so far are one."""
OFF_SLICE = 0.1
"""A contour this share of the slice distance off a slice does not lie on it."""


@dataclass(frozen=True, eq=False)
class Structures:
    """The regions of a file: closed contours [n, 3] in RAS mm by the region's number, and the grid they lie on."""

    contours: dict[int, tuple[Contour, ...]]
    grid: Grid
    sha256: str


def structure_names(path: Path) -> dict[int, str]:
    """The names of a file's regions by number. Raises MaskError."""
    return _names(read(path), path)


def load_structures(path: Path, name: str, regions: tuple[int, ...]) -> Mask:
    """The union of regions. Raises MaskError: "mask-contours" (none, open or of no plane), "mask-tilted"."""
    structures = _structures(path, digest(path))
    inside = np.zeros(structures.grid.shape, dtype=np.bool_)
    for region in regions:
        contours = structures.contours.get(region, ())
        if not contours:
            raise _contours(path, f"{name} has no closed contour", "Draw it, or take it out.")
        inside |= _filled(contours, structures.grid, path)
    return checked(name, inside, structures.grid.affine_ras, path, structures.sha256)


@lru_cache(maxsize=1)
def _structures(path: Path, sha256: str) -> Structures:
    dataset = read(path)
    names = _names(dataset, path)
    try:
        contours = {number: _closed(dataset, number, path, names[number]) for number in names}
        series = _referenced_series(dataset)
    except DAMAGE as error:
        raise refused(path, "its contours are damaged", "mask-unreadable", "Get an intact copy.") from error
    every = [contour for region in contours.values() for contour in region]
    if not every:
        raise _contours(path, "it has no closed contour", "Export the structures again.")
    return Structures(contours, _grid(path, every, series, dataset), sha256)


def _names(dataset: pydicom.Dataset, path: Path) -> dict[int, str]:
    try:
        return {int(roi.ROINumber): str(roi.ROIName).strip() for roi in dataset.StructureSetROISequence}
    except DAMAGE as error:
        why = "its regions have no number or name"
        raise refused(path, why, "mask-unreadable", "Get an intact copy.") from error


def _closed(dataset: pydicom.Dataset, number: int, path: Path, name: str) -> tuple[Contour, ...]:
    """A region's contours, each once: two equal ones would cancel each other by the even-odd rule."""
    found: dict[tuple[Point, ...], Contour] = {}
    for region in dataset.get("ROIContourSequence") or ():
        if int(region.ReferencedROINumber) != number:
            continue
        for item in region.get("ContourSequence") or ():
            kind = str(item.ContourGeometricType)
            if kind not in _CLOSED:
                what = f"{name} has a contour of the type {kind}, expected CLOSED_PLANAR"
                raise _contours(path, what, "Export the region as closed contours.")
            data = numbers(item.get("ContourData"))
            if len(data) % 3 or not np.isfinite(data).all():
                raise ValueError("contour data")
            points = affines.apply(affines.LPS_TO_RAS, np.reshape(data, (-1, 3)))
            if len(points) >= 3:
                found.setdefault(_ring(points), points)
    return tuple(found.values())


def _ring(contour: Contour) -> tuple[Point, ...]:
    """The points of a closed contour, the same wherever it begins, whichever way it runs, closed by itself or not."""
    rounded = [tuple(point) for point in (np.round(contour, _DECIMALS) + 0.0).tolist()]
    points = [point for n, point in enumerate(rounded) if point != rounded[n - 1]] or rounded[:1]
    least = min(points)
    starts = [n for n, point in enumerate(points) if point == least]
    forwards = [points[n:] + points[:n] for n in starts]
    backwards = [[way[0], *way[:0:-1]] for way in forwards]
    return tuple(min(forwards + backwards))


def _referenced_series(dataset: pydicom.Dataset) -> str | None:
    """The SeriesInstanceUID of the images on which the contours were drawn."""
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                return str(series.SeriesInstanceUID)
    return None


def _grid(path: Path, contours: Sequence[Contour], series: str | None, dataset: pydicom.Dataset) -> Grid:
    grid = None if series is None else grid_of_series(path.parent, series)
    if grid is not None:
        to_index: Affine = np.linalg.inv(grid.affine_ras).astype(np.float64)
        slices = [affines.apply(to_index, contour)[:, 2] for contour in contours]
        if any(np.ptp(k) > 2 * OFF_SLICE for k in slices):
            raise _tilted(path, "its contours do not lie in the planes of the series' slices")
        if all(np.abs(k - np.rint(k)).max() <= OFF_SLICE for k in slices):
            return grid
    try:
        return grid_of_contours(contours, _thickness(dataset))
    except PlaneError as error:
        raise _tilted(path, str(error)) from error


def _thickness(dataset: pydicom.Dataset) -> float | None:
    for region in dataset.get("ROIContourSequence") or ():
        for item in region.get("ContourSequence") or ():
            found = numbers(item.get("ContourSlabThickness"))
            if found and found[0] > 0:
                return found[0]
    return None


def _filled(contours: Sequence[Contour], grid: Grid, path: Path) -> Inside:
    to_index: Affine = np.linalg.inv(grid.affine_ras).astype(np.float64)
    planes: dict[int, list[NDArray[np.float64]]] = {}
    outside = False
    for contour in contours:
        points = affines.apply(to_index, contour)
        k = round(float(points[:, 2].mean()))
        if 0 <= k < grid.shape[2]:
            planes.setdefault(k, []).append(points[:, :2])
        else:
            outside = True
    if outside:
        what = "a contour lies on no slice of the series beside it"
        raise _contours(path, what, "Put the whole series beside it, or none of it.")
    inside = np.zeros(grid.shape, dtype=np.bool_)
    for k, polygons in planes.items():
        inside[:, :, k] = even_odd(polygons, grid.shape[:2])
    return inside


def _contours(path: Path, what: str, hint: str) -> MaskError:
    return refused(path, what, "mask-contours", hint)


def _tilted(path: Path, what: str) -> MaskError:
    return refused(path, what, "mask-tilted", "Export it as a label map or DICOM SEG, which hold voxels.")
