"""How the slices of a volume lie (order, spacing, gaps, tilt) and the grid that they make.

Everything is in DICOM's LPS millimetres until the grid's affine, which is RAS. Slices are ordered by their
projection on the normal (row direction x column direction), never by number or name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io.dicom.grouping import (
    Plane,
    is_even,
    jitter_mm,
    normal_of,
    same_place_mm,
)
from hirescam_cli.warning import Warning

Floats = NDArray[np.float64]

# In-plane drift over the whole stack, in pixels, below which slices count as stacked along their normal.
DRIFT_PIXELS = 0.1
# A slice this far (in pixels) from the line that the others make was taken of something else.
STRAY_PIXELS = 1.0
# A step of so many usual steps is a gap even where it is not a whole multiple.
GAP_STEPS = 3.0
MAX_SPACING_MM = 100.0
MAX_SLICES = 20_000


@dataclass(frozen=True, eq=False)
class Stack:
    """A volume's slices in order, and the orthogonal, even grid that they make or are resampled to.

    `order`: for each position, ascending along the normal, the planes there (more than one: copies to
    compare). `distances_mm`: of these positions from the first. `shifts_px` [position, 2]: how far each
    slice's first pixel lies from the grid's, in columns and rows. `targets_mm`: the grid's own slice
    positions. `shape_ijk`, `affine_ras`: the grid. `resample_normal`, `resample_plane`: whether the slices
    have to be interpolated to get there.
    """

    order: tuple[tuple[Plane, ...], ...]
    distances_mm: Floats
    shifts_px: Floats
    targets_mm: Floats
    shape_ijk: tuple[int, int, int]
    affine_ras: Affine
    resample_normal: bool
    resample_plane: bool
    warnings: tuple[Warning, ...] = field(default=())


def stack_of(planes: Sequence[Plane], name: str, *, allow_gaps: bool) -> Stack:
    """The `Stack` of a volume's planes, all of one orientation, matrix and pixel spacing.

    Raises ScanError: "dicom-no-position", "dicom-orientation", "dicom-spacing", "dicom-gaps",
    "dicom-stray-slices".
    """
    directions, spacing = _frame_geometry(planes, name)
    positions = _positions(planes, name)
    along = positions @ directions[2]
    order, first_of = _ordered(planes, along)
    line = positions[first_of]
    distances = along[first_of] - along[first_of[0]]
    _refuse_interleaved([place[0] for place in order], distances, name)
    step, targets, notes = _even_grid(planes, distances, name, allow_gaps)
    in_plane = (line - line[0]) @ directions[:2].T / np.array([spacing[0], spacing[1]])
    tilted, tilt_notes = _check_drift(in_plane, distances, spacing, name)
    base, extra = _plane_extent(in_plane) if tilted else (np.zeros(2), np.zeros(2, dtype=int))
    first_format = planes[0].header.pixel_format
    assert first_format is not None
    shape = (first_format.columns + int(extra[0]), first_format.rows + int(extra[1]), len(targets))
    origin = line[0] + base[0] * spacing[0] * directions[0] + base[1] * spacing[1] * directions[1]
    linear = np.column_stack([directions[0] * spacing[0], directions[1] * spacing[1], directions[2] * step])
    resample_normal = len(targets) != len(distances) or bool(notes)
    return Stack(
        order=order,
        distances_mm=distances,
        shifts_px=in_plane - base if tilted else np.zeros_like(in_plane),
        targets_mm=targets,
        shape_ijk=shape,
        affine_ras=affines.LPS_TO_RAS @ affines.from_parts(linear, origin),
        resample_normal=resample_normal,
        resample_plane=tilted,
        warnings=(*notes, *tilt_notes),
    )


def _frame_geometry(planes: Sequence[Plane], name: str) -> tuple[Floats, tuple[float, float]]:
    """Unit row, column and normal directions (rows of [3, 3]); spacing between columns, between rows."""
    frame = min(planes, key=lambda plane: (plane.header.sop_uid or "", plane.frame.index)).frame
    if frame.orientation is None:
        raise ScanError(
            f"{name} has no ImageOrientationPatient of six numbers.",
            code="dicom-no-position",
            hint="Export the original series, not a copy without geometry.",
        )
    row, column = np.asarray(frame.orientation[:3]), np.asarray(frame.orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1.0) for length in lengths) > 1e-2 or abs(float(row @ column)) > 1e-2:
        raise ScanError(
            f"{name} has an ImageOrientationPatient whose two directions are not perpendicular unit vectors.",
            code="dicom-orientation",
            hint="Export the series again.",
        )
    row = row / lengths[0]
    normal = normal_of([*row, *column])
    normal = normal / np.linalg.norm(normal)
    column = np.cross(normal, row)
    spacing = frame.spacing
    if spacing is None or min(spacing) <= 0 or max(spacing) > MAX_SPACING_MM:
        raise ScanError(
            f"{name} has no PixelSpacing of two positive numbers of millimetres.",
            code="dicom-spacing",
            hint="Export the original series; pixel sizes are never guessed.",
        )
    return np.stack([row, column, normal]), (spacing[1], spacing[0])


def _positions(planes: Sequence[Plane], name: str) -> Floats:
    missing = [plane for plane in planes if plane.frame.position is None]
    if missing:
        raise ScanError(
            f"{name}: {len(missing)} of {len(planes)} slices have no ImagePositionPatient.",
            code="dicom-no-position",
            hint="Export the original series; slice order is never guessed from names or instance numbers.",
        )
    positions = np.array([plane.frame.position for plane in planes], dtype=np.float64)
    if np.abs(positions).max() > 1e5:
        raise ScanError(
            f"{name} has a slice further than 100 m from the origin.",
            code="dicom-no-position",
            hint="Export the series again.",
        )
    return positions


def _ordered(planes: Sequence[Plane], along: Floats) -> tuple[tuple[tuple[Plane, ...], ...], list[int]]:
    """Planes by position, those at one place together, and the index of the first plane of each place."""
    same = same_place_mm(along)
    ranking = sorted(range(len(planes)), key=lambda n: (along[n], planes[n].header.sop_uid or "", n))
    places: list[list[int]] = []
    for n in ranking:
        if places and along[n] - along[places[-1][-1]] <= same:
            places[-1].append(n)
        else:
            places.append([n])
    order = tuple(tuple(planes[n] for n in place) for place in places)
    return order, [place[0] for place in places]


def _refuse_interleaved(planes: Sequence[Plane], distances: Floats, name: str) -> None:
    """Refuse two even runs of slices between each other, numbered one after the other or both in the same way.

    The frames of one object may lie in it in any order where they make one even volume.
    """
    if len(distances) < 8 or not (is_even(distances[::2]) and is_even(distances[1::2])):
        return
    if is_even(distances) and len({id(plane.header) for plane in planes}) == 1:
        return
    numbers = [(plane.header.number or 0, plane.frame.index) for plane in planes]
    runs = sorted((min(run), max(run), run) for run in (numbers[::2], numbers[1::2]))
    in_order = all(run in (sorted(run), sorted(run, reverse=True)) for _, _, run in runs)
    apart, same = runs[0][1] < runs[1][0], sorted(runs[0][2]) == sorted(runs[1][2])
    if in_order and (apart or same) and len(set(runs[0][2])) > 1:
        how = "numbered one after the other" if apart else "each numbered in the same way"
        raise ScanError(
            f"{name} has two runs of slices between each other, {how}.",
            code="dicom-mixed",
            hint="The series mixes volumes that no tag tells apart; export them as series of their own.",
        )


def _even_grid(
    planes: Sequence[Plane], distances: Floats, name: str, allow_gaps: bool
) -> tuple[float, Floats, list[Warning]]:
    """Step and positions of the even grid, and a warning for each kind of interpolation that it needs."""
    count = len(distances)
    if count == 1:
        thickness = planes[0].frame.distance or planes[0].frame.thickness
        if thickness is None or not 0 < thickness <= MAX_SPACING_MM:
            raise ScanError(
                f"{name} has a single slice without a thickness.",
                code="dicom-spacing",
                hint="Give a whole series.",
            )
        return thickness, np.zeros(1), []
    mean = float(distances[-1]) / (count - 1)
    even: Floats = mean * np.arange(count, dtype=np.float64)
    if is_even(distances):
        return mean, even, []
    steps = np.diff(distances)
    usual = float(np.sort(steps)[(count - 2) // 2])
    multiples = np.rint(steps / usual)
    tolerance = jitter_mm(usual)
    gaps = (multiples >= 2) & (
        (np.abs(steps - multiples * usual) <= tolerance * multiples) | (steps > GAP_STEPS * usual)
    )
    if gaps.any() and not allow_gaps:
        raise _gap_error(name, distances, steps, gaps, usual)
    intervals = max(1, round(float(distances[-1]) / usual))
    if intervals > MAX_SLICES:
        raise ScanError(
            f"{name} would need {intervals} slices of {usual:.3g} mm, at most {MAX_SLICES} are made.",
            code="dicom-spacing",
            hint="Export the series again.",
        )
    step = float(distances[-1]) / intervals
    targets: Floats = step * np.arange(intervals + 1, dtype=np.float64)
    places = np.rint(distances / step).astype(np.intp)
    off_grid = float(np.abs(distances - targets[places]).max())
    if off_grid <= tolerance:
        # Only slices are missing: those that are there stay as they are, at their places on the grid.
        targets[places] = distances
    return step, targets, _normal_notes(distances, gaps, step, uneven=off_grid > tolerance)


def _gap_error(
    name: str, distances: Floats, steps: Floats, gaps: NDArray[np.bool_], usual: float
) -> ScanError:
    where = int(np.argmax(gaps))
    others = int(gaps.sum()) - 1
    more = f" (and {others} more {'gap' if others == 1 else 'gaps'})" if others else ""
    return ScanError(
        f"{name} misses slices: {steps[where]:.2f} mm between slices {where + 1} and {where + 2} "
        f"of {len(distances)}, elsewhere {usual:.2f} mm{more}.",
        code="dicom-gaps",
        hint="Fetch the missing slices, or give --allow-gaps to interpolate them.",
    )


def _normal_notes(distances: Floats, gaps: NDArray[np.bool_], step: float, *, uneven: bool) -> list[Warning]:
    """A warning for each kind of interpolation between slices."""
    notes = []
    if gaps.any():
        spans = ", ".join(
            f"{distances[n]:.1f} to {distances[n + 1]:.1f} mm above the lowest slice"
            for n in np.flatnonzero(gaps)[:5]
        )
        more = ", ..." if gaps.sum() > 5 else ""
        notes.append(
            Warning("interpolated-gaps", f"missing slices were interpolated linearly from {spans}{more}.")
        )
    if uneven or not notes:
        regular = np.diff(distances)[~gaps]
        span = f"{regular.min():.2f} to {regular.max():.2f}" if regular.size else f"{step:.2f}"
        notes.append(
            Warning(
                "uneven-slices",
                f"slice distances from {span} mm were resampled along the normal to {step:.2f} mm.",
            )
        )
    return notes


def _check_drift(
    in_plane: Floats, distances: Floats, spacing: tuple[float, float], name: str
) -> tuple[bool, tuple[Warning, ...]]:
    """Whether slices shift sideways as they rise (gantry tilt), with the warning that says so."""
    if np.abs(in_plane).max(initial=0.0) <= DRIFT_PIXELS:
        return False, ()
    slope = in_plane[-1] / distances[-1] if len(distances) > 1 else np.zeros(2)
    stray = np.abs(in_plane - distances[:, None] * slope).max()
    if stray > STRAY_PIXELS:
        raise ScanError(
            f"{name} has slices whose positions do not lie on one line: one is {stray:.1f} pixels off.",
            code="dicom-stray-slices",
            hint="The series may hold several reconstructions; export them as series of their own.",
        )
    degrees = float(np.degrees(np.arctan(np.hypot(slope[0] * spacing[0], slope[1] * spacing[1]))))
    if degrees > 60.0:
        raise ScanError(
            f"{name} has slices stacked {degrees:.0f} degrees off their normal.",
            code="dicom-stray-slices",
            hint="Export the original series.",
        )
    return True, (
        Warning(
            "gantry-tilt",
            f"slices tilted by {degrees:.1f} degrees were shifted in their planes onto an "
            "orthogonal grid; the volume and every map on it lie on that grid.",
        ),
    )


def _plane_extent(in_plane: Floats) -> tuple[Floats, NDArray[np.int_]]:
    """Where a grid that holds all shifted slices begins, in pixels of the first, and how many it adds."""
    low = np.floor(in_plane.min(axis=0) + 1e-6)
    high = np.ceil(in_plane.max(axis=0) - 1e-6)
    return low, (high - low).astype(int)
