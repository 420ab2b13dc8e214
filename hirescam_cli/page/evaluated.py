"""What `evaluate` adds to a page: outlines of masks over the planes, and each logit's parts by region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.view import CaseView
from hirescam_cli.geometry import affine as affines
from hirescam_cli.page.document import json_text
from hirescam_cli.page.encode import PackedScan
from hirescam_cli.pictures.outlines import in_patient

PlaneName = Literal["axial", "coronal", "sagittal"]
_MOST_FACES = 60_000
_OF_A_POINT, _OF_A_LINE = 18, 24
"""At least the characters that a point, and a line besides its points, take in the page."""
_DRAWN = {
    "axial": ("Axial", 0, (2, 1)),
    "coronal": ("Coronal", 1, (2, 0)),
    "sagittal": ("Sagittal", 2, (1, 0)),
}


@dataclass(frozen=True, eq=False)
class Polyline:
    """A line in a plane of the scan's own axes: `points_mm` [n, 3] in RAS mm, all in one slice.

    A closed outline repeats its first point at its end.
    """

    plane: PlaneName
    points_mm: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outline:
    """A mask by name and the lines around it in every slice that it meets; `label`: the one it is of, None: of all."""

    name: str
    lines: Sequence[Polyline]
    label: str | None = None


@dataclass(frozen=True)
class LedgerRow:
    """How many logits of a label's score a method's map puts into a region ("bias" and "outside" among them)."""

    label: str
    method: str
    region: str
    logits: float


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What is known of a case beyond itself; a page draws what is there."""

    outlines: Sequence[Outline] = ()
    ledger: Sequence[LedgerRow] = ()

    @property
    def room(self) -> int:
        """At most how many characters of the page this takes."""
        lines = [line for one in self.outlines for line in one.lines]
        points = sum(len(line.points_mm) for line in lines)
        named = len(json_text([[one.name, one.label] for one in self.outlines]).encode("utf-8"))
        rows = len(json_text(self._rows()).encode("utf-8"))
        return _OF_A_POINT * points + _OF_A_LINE * (len(lines) + 4 * len(self.outlines)) + named + rows

    def describe(self, scan: PackedScan) -> dict[str, object]:
        """The page's own form: lines by plane and slice of the embedded scan, in its continuous indices."""
        return {
            "outlines": [
                {"name": one.name, "label": one.label, "lines": _by_slice(one, scan)} for one in self.outlines
            ],
            "ledger": self._rows(),
        }

    def _rows(self) -> list[dict[str, object]]:
        return [
            {"label": row.label, "method": row.method, "region": row.region, "logits": row.logits}
            for row in self.ledger
        ]


def evaluated_of(view: CaseView) -> Evaluated:
    """What a view holds: its masks' outlines in every slice of its scan, around larger pixels where there are many."""
    scan = view.volume.grid
    faces = sum(_faces(outlined.mask.array_ijk) for outlined in view.masks)
    step = max(1, int(np.ceil(np.sqrt(faces / _MOST_FACES))))
    note = "" if step == 1 else f", on pixels {step} times as large"
    outlines = [
        Outline(
            outlined.mask.name + note,
            [Polyline(plane, points) for plane, points in in_patient(outlined.mask, scan, step)],
            outlined.label,
        )
        for outlined in view.masks
    ]
    return Evaluated(outlines, [LedgerRow(*row) for row in view.ledger])


def _faces(inside: NDArray[np.bool_]) -> int:
    """How many voxels' faces bound a mask."""
    return sum(int(np.count_nonzero(np.diff(inside, axis=axis))) for axis in range(3))


def _by_slice(outline: Outline, scan: PackedScan) -> dict[str, dict[str, list[list[float]]]]:
    """{plane: {slice: [[across, down, across, down, ...], ...]}}; lines beyond the scan are left out."""
    to_index = np.asarray(np.linalg.inv(scan.affine_ras), dtype=np.float64)
    found: dict[str, dict[str, list[list[float]]]] = {}
    for line in outline.lines:
        name, normal, in_plane = _DRAWN[line.plane]
        index = affines.apply(to_index, line.points_mm)
        at = int(np.floor(index[:, normal].mean() + 0.5))
        if 0 <= at < scan.shape_zyx[normal]:
            numbers = np.round(index[:, in_plane], 2).ravel().tolist()
            found.setdefault(name, {}).setdefault(str(at), []).append(numbers)
    return found
