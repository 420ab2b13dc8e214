"""What `evaluate` adds to a page: outlines of masks over the planes, and each logit's parts by region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import affine as affines
from hirescam_cli.page.document import json_text
from hirescam_cli.page.encode import PackedScan

PlaneName = Literal["axial", "coronal", "sagittal"]
_CHARACTERS = 64
"""More than a point, or a slice, takes in the page."""
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
    """A mask by name and the lines around it in every slice that it meets."""

    name: str
    lines: Sequence[Polyline]


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
        points = sum(len(line.points_mm) + 1 for one in self.outlines for line in one.lines)
        return _CHARACTERS * (points + len(self.outlines)) + len(json_text(self._rows()).encode("utf-8"))

    def describe(self, scan: PackedScan) -> dict[str, object]:
        """The page's own form: lines by plane and slice of the embedded scan, in its continuous indices."""
        return {
            "outlines": [{"name": one.name, "lines": _by_slice(one, scan)} for one in self.outlines],
            "ledger": self._rows(),
        }

    def _rows(self) -> list[dict[str, object]]:
        return [
            {"label": row.label, "method": row.method, "region": row.region, "logits": row.logits}
            for row in self.ledger
        ]


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
