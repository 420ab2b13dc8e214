"""From the slices of a series to volumes: by frame of reference, orientation, matrix, spacing, phase."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.io.dicom.headers import Frame, Header

MIN_SLICES = 10

# Slices may lie this far from an even grid and still count as even: the larger of 1 % of the spacing and 0.1 mm, but
# never more than 40 % of the spacing, since one that is missing moves the others by half of it or more.
JITTER_RELATIVE, JITTER_MM, JITTER_MOST = 0.01, 0.1, 0.4
# Orientation cosines and relative spacing that differ by less come from rounding in the tags.
_ORIENTATION_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 1e-3
_TEMPORAL, _ACQUISITION = 0, 1


@dataclass(frozen=True, slots=True)
class Plane:
    """One frame of one instance of a series."""

    header: Header
    frame: Frame


def volumes_of(headers: Iterable[Header]) -> list[list[Plane]]:
    """The planes of one series, as volumes in a stable order that does not depend on file names.

    Phases are never mixed: studies and temporal positions always part; acquisitions part where their ranges
    overlap, or where each is a volume of its own and there is a gap between them; other tags part slices that lie
    at the same place, and even volumes that lie between each other. Slices at the same place that no tag tells
    apart stay together, for the reader to compare.
    """
    planes = [Plane(header, frame) for header in headers for frame in header.frames]
    volumes: list[list[Plane]] = []
    for alike in (alike for study in _studies(planes) for alike in _alike_in_geometry(study)):
        for moment in _partition(alike, (_TEMPORAL,)):
            for acquisition in _acquisitions(moment):
                for part in _apart_where_repeated(acquisition):
                    volumes.extend(_apart_where_interleaved(part))
    return sorted(volumes, key=_order_key)


def selected(planes: Sequence[Plane]) -> tuple[Header, ...]:
    """The instances of a volume, each with only the frames that belong to it."""
    frames: dict[int, list[Frame]] = {}
    headers: dict[int, Header] = {}
    for plane in planes:
        headers[id(plane.header)] = plane.header
        frames.setdefault(id(plane.header), []).append(plane.frame)
    return tuple(replace(header, frames=tuple(frames[key])) for key, header in headers.items())


def normal_of(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Normal of the image plane in LPS (row direction x column direction), of unit length where they are."""
    return np.cross(
        np.asarray(orientation[:3], dtype=np.float64), np.asarray(orientation[3:], dtype=np.float64)
    )


def distances_mm(planes: Sequence[Plane]) -> NDArray[np.float64] | None:
    """Each plane's position along the normal, or None where a position or a usable orientation is missing."""
    orientation = planes[0].frame.orientation
    if orientation is None or any(plane.frame.position is None for plane in planes):
        return None
    normal = normal_of(orientation)
    if np.linalg.norm(normal) < 0.5:
        return None
    return np.array([plane.frame.position for plane in planes], dtype=np.float64) @ normal


def same_place_mm(distances: NDArray[np.float64]) -> float:
    """How near slices at the same place lie to each other: 0.1 mm, less for very thin slices."""
    steps = np.diff(np.sort(distances))
    return float(min(0.1, 0.2 * steps.max())) if steps.size else 0.1


def slice_count(planes: Sequence[Plane]) -> int:
    """How many different slice positions there are (all planes where positions are missing)."""
    distances = distances_mm(planes)
    if distances is None or len(planes) < 2:
        return len(planes)
    return 1 + int((np.diff(np.sort(distances)) > same_place_mm(distances)).sum())


def frames_of_reference(planes: Iterable[Plane]) -> int:
    """How many frames of reference the planes name."""
    return len({plane.header.frame_of_reference for plane in planes})


def is_even(distances: NDArray[np.float64]) -> bool:
    """Whether ascending positions lie on an even grid, up to jitter."""
    mean = float(distances[-1] - distances[0]) / (len(distances) - 1)
    grid = distances[0] + mean * np.arange(len(distances), dtype=np.float64)
    return bool(np.abs(distances - grid).max() <= jitter_mm(mean))


def jitter_mm(step: float) -> float:
    """How far slices a `step` apart may lie from an even grid and still count as even."""
    return min(max(JITTER_RELATIVE * step, JITTER_MM), JITTER_MOST * step)


def _alike_in_geometry(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Groups of one matrix, orientation and pixel spacing, up to rounding, and of one frame of reference.

    De-identification has given every slice of some collections (LIDC-IDRI) a frame of reference of its own;
    those stay together where their positions make one even volume.
    """
    groups: list[list[Plane]] = []
    for plane in planes:
        home = next((group for group in groups if _alike(group[0], plane)), None)
        if home is None:
            groups.append([plane])
        else:
            home.append(plane)
    return [part for group in groups for part in _by_frame_of_reference(group)]


def _studies(planes: list[Plane]) -> list[list[Plane]]:
    """The planes by study; those of none belong to the study of the others where that is one."""
    studies: dict[str | None, list[Plane]] = {}
    for plane in planes:
        studies.setdefault(plane.header.study_uid, []).append(plane)
    return [planes] if len(studies.keys() - {None}) < 2 else list(studies.values())


def _by_frame_of_reference(planes: list[Plane]) -> list[list[Plane]]:
    if frames_of_reference(planes) == 1 or _is_one_volume_all_the_same(planes):
        return [planes]
    parts: dict[str | None, list[Plane]] = {}
    for plane in planes:
        parts.setdefault(plane.header.frame_of_reference, []).append(plane)
    return list(parts.values())


def _is_one_volume_all_the_same(planes: Sequence[Plane]) -> bool:
    """Whether every slice has a frame of reference of its own and all of them lie evenly on one line."""
    distinct, frames = _distinct(planes), frames_of_reference(planes)
    distances = distances_mm(distinct)
    if len(distinct) != frames or frames < MIN_SLICES or distances is None:
        return False
    order = np.argsort(distances)
    if np.diff(distances[order]).min() <= same_place_mm(distances) or not is_even(distances[order]):
        return False
    positions = np.array([plane.frame.position for plane in distinct], dtype=np.float64)[order]
    line = np.linspace(positions[0], positions[-1], frames)
    step = float(np.linalg.norm(positions[-1] - positions[0])) / (frames - 1)
    return bool(np.linalg.norm(positions - line, axis=1).max() <= max(JITTER_RELATIVE * step, JITTER_MM))


def _alike(a: Plane, b: Plane) -> bool:
    first, second = a.header.pixel_format, b.header.pixel_format
    if first is None or second is None or (first.rows, first.columns) != (second.rows, second.columns):
        return False
    if not _close(a.frame.orientation, b.frame.orientation, _ORIENTATION_TOLERANCE):
        return False
    return _close(a.frame.spacing, b.frame.spacing, _SPACING_TOLERANCE * abs((a.frame.spacing or (1.0,))[0]))


def _close(a: Sequence[float] | None, b: Sequence[float] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def _partition(planes: Sequence[Plane], tags: Sequence[int]) -> list[list[Plane]]:
    parts: dict[tuple[str, ...], list[Plane]] = {}
    for plane in planes:
        parts.setdefault(tuple(plane.frame.phase[tag] for tag in tags), []).append(plane)
    return list(parts.values())


def _distinct(planes: Sequence[Plane]) -> list[Plane]:
    """Without the copies of an instance that lie in several files."""
    seen: dict[object, Plane] = {}
    for plane in planes:
        key = (plane.header.sop_uid or id(plane.header), plane.frame.index)
        seen.setdefault(key, plane)
    return list(seen.values())


def _acquisitions(planes: list[Plane]) -> list[list[Plane]]:
    """Acquisitions apart, unless they only continue each other along the normal."""
    parts = _partition(planes, (_ACQUISITION,))
    if len(parts) == 1 or distances_mm(planes) is None:
        return [planes]
    ranges = []
    for part in parts:
        distances = distances_mm(_distinct(part))
        assert distances is not None
        ranges.append((float(distances.min()), float(distances.max())))
    ranges.sort()
    same = same_place_mm(np.array([bound for pair in ranges for bound in pair]))
    if any(nxt[0] <= before[1] + same for before, nxt in itertools.pairwise(ranges)):
        return parts
    if all(slice_count(part) >= MIN_SLICES for part in parts):
        widest = max(
            (hi - lo) / (slice_count(part) - 1) for (lo, hi), part in zip(ranges, parts, strict=True)
        )
        if any(nxt[0] - before[1] > 1.5 * widest for before, nxt in itertools.pairwise(ranges)):
            return parts
    return [planes]


def _apart_where_repeated(planes: list[Plane]) -> list[list[Plane]]:
    """Parts by the first tags that leave no two slices of one part at one place."""
    most = _repeats(planes)
    if most <= 1:
        return [planes]
    tags = range(_ACQUISITION, len(planes[0].frame.phase))
    for size in (1, 2):
        for chosen in itertools.combinations(tags, size):
            parts = _partition(planes, chosen)
            if 1 < len(parts) <= most and all(_repeats(part) <= 1 for part in parts):
                return parts
    return [planes]


def _apart_where_interleaved(planes: list[Plane]) -> list[list[Plane]]:
    """Parts by each tag that makes even volumes of the planes, some of which lie between others' slices."""
    for tag in range(_ACQUISITION, len(planes[0].frame.phase)):
        parts = _partition(planes, (tag,))
        known = sorted(bounds for part in parts if (bounds := _even_range(part)) is not None)
        overlap = any(nxt[0] <= before[1] for before, nxt in itertools.pairwise(known))
        if overlap and len(known) == len(parts):
            return [each for part in parts for each in _apart_where_interleaved(part)]
    return [planes]


def _even_range(planes: Sequence[Plane]) -> tuple[float, float] | None:
    """Where the slices of an even volume begin and end; None where they are fewer than three or uneven."""
    distances = distances_mm(_distinct(planes))
    if distances is None or len(distances) < 3:
        return None
    ordered = np.sort(distances)
    return (float(ordered[0]), float(ordered[-1])) if is_even(ordered) else None


def _repeats(planes: Sequence[Plane]) -> int:
    """The largest number of different instances' slices at one place."""
    distinct = _distinct(planes)
    distances = distances_mm(distinct)
    if distances is None or len(distinct) < 2:
        return 1
    ordered = np.sort(distances)
    same = same_place_mm(distances)
    longest = run = 1
    for step in np.diff(ordered):
        run = run + 1 if step <= same else 1
        longest = max(longest, run)
    return longest


def _order_key(planes: Sequence[Plane]) -> tuple[object, ...]:
    distances = distances_mm(planes)
    first = planes[0]
    pixel_format = first.header.pixel_format
    return (
        min(_natural(plane.frame.phase[_TEMPORAL]) for plane in planes),
        min(_natural(plane.frame.phase[_ACQUISITION]) for plane in planes),
        -slice_count(planes),
        tuple(round(v, 3) for v in first.frame.orientation or ()),
        tuple(round(v, 4) for v in first.frame.spacing or ()),
        (pixel_format.rows, pixel_format.columns) if pixel_format else (),
        min(plane.frame.phase for plane in planes),
        float(distances.min()) if distances is not None else 0.0,
        min(plane.header.sop_uid or "" for plane in planes),
    )


def _natural(value: str) -> tuple[int, float, str]:
    """Numbers by size, before other texts by their letters."""
    try:
        return (0, float(value), "")
    except ValueError:
        return (1, 0.0, value)
