"""One case against its masks: a pair for every label, method and placement, and the ledger of its logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.record import Case, Label
from hirescam_cli.case.reload import FinishedCase
from hirescam_cli.case.view import affine_of
from hirescam_cli.evaluate.cells import MaskOnCells, box_share, share_inside
from hirescam_cli.evaluate.ledger import ledger
from hirescam_cli.evaluate.lesions import components, local_maxima
from hirescam_cli.evaluate.measures import Measures, Place, measure
from hirescam_cli.evaluate.papers import PaperFigures, paper_figures
from hirescam_cli.evaluate.regions import Region, disjoint, shares
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.masks.mask import Mask

Outcome = Literal["true_positive", "false_negative", "false_positive", "true_negative"]
MaskUse = Literal["used", "out_of_view", "empty", "none"]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_LESION_MM3 = 10.0
MIN_SEEN = 0.5
_REACHED = 1e-6


@dataclass(frozen=True)
class Answer:
    """What the network said of a label whose truth is known. `mask`: whether and how its mask serves."""

    case: str
    patient: str
    split: str | None
    label: str
    logit: float
    probability: float
    positive: bool
    outcome: Outcome
    mask: MaskUse

    @property
    def present(self) -> bool:
        """Whether the label is true of the case."""
        return self.outcome in ("true_positive", "false_negative")


@dataclass(frozen=True)
class Pair:
    """A label of a case under one method and placement; without figures where no mask serves."""

    answer: Answer
    method: str
    placement: str
    place: Place | None
    measures: Measures | None
    papers: PaperFigures | None = None


@dataclass(frozen=True)
class Entry:
    """A line of the ledger."""

    case: str
    patient: str
    label: str
    method: str
    placement: str
    region: str
    logits: float


@dataclass(frozen=True)
class Plan:
    """How a case is evaluated. `every_placement`: else only the case's own."""

    methods: tuple[str, ...]
    every_placement: bool
    tolerance_mm: float
    papers: bool
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class Evaluated:
    """What came out of a case."""

    answers: tuple[Answer, ...] = ()
    pairs: tuple[Pair, ...] = ()
    entries: tuple[Entry, ...] = ()


class Lesions:
    """A mask that is not empty, and its lesions: its components of at least `MIN_LESION_MM3`, or else all of it.

    `tight`: see `MaskOnCells`.
    """

    def __init__(self, array_ijk: Bools, affine_ras: Affine, seen: Grid, *, tight: bool = False) -> None:
        voxel_mm3 = abs(float(np.linalg.det(affine_ras[:3, :3])))
        parts = [part for part in components(array_ijk) if part.sum() * voxel_mm3 >= MIN_LESION_MM3]
        self.array, self.affine, self.tight = array_ijk, affine_ras, tight
        self.parts = parts or [array_ijk]  # the array itself where it is one component
        self.seen = share_inside(array_ijk, affine_ras, seen)
        self.volume_ml = float(array_ijk.sum()) * voxel_mm3 / 1000.0

    def on(self, cells: Grid) -> tuple[MaskOnCells, list[MaskOnCells]]:
        """The mask, and its lesions, on the cells of a map."""
        mask = MaskOnCells(self.array, self.affine, cells, tight=self.tight)
        if self.parts[0] is self.array:
            return mask, [mask]
        return mask, [MaskOnCells(part, self.affine, cells) for part in self.parts]


def scan_grid(case: Case) -> Grid:
    """The grid of the scan."""
    return Grid(case.input.shape, affine_of(case.input.affine))


def seen_grid(case: Case) -> Grid:
    """The grid of the network's input."""
    return Grid(case.seen.shape, affine_of(case.seen.affine))


def cell_grids(case: Case, every: bool) -> dict[str, Grid]:
    """The cells of a map by placement: the case's own, or every one."""
    return {
        str(name): Grid(case.target.cells, affine_of(rows))
        for name, rows in case.target.affines.items()
        if every or name == case.placement
    }


def evaluate_case(
    finished: FinishedCase,
    answers: Sequence[Answer],
    lesions: dict[str, Lesions],
    organs: Sequence[Mask],
    plan: Plan,
) -> Evaluated:
    """Measure one case.

    `answers`: for the labels whose truth is known; `lesions`: by label, where a mask serves; `organs`: the masks that
    the plan's regions take.
    """
    case = finished.case
    owned = disjoint(plan.regions, organs) if plan.regions else {}
    pairs: list[Pair] = []
    entries: list[Entry] = []
    told = [answer for answer in answers if answer.outcome != "true_negative"]
    for placement, cells in cell_grids(case, plan.every_placement).items():
        on_scan = box_share(scan_grid(case), cells)
        regions = {name: shares(parts, cells) for name, parts in owned.items()}
        for answer in told:
            found = lesions.get(answer.label)
            on_cells = found.on(cells) if found else None
            label = case.label(answer.label)
            place = _place(found, on_cells, on_scan, plan) if found and on_cells else None
            for method in plan.methods:
                h = finished.cams[method][..., label.index].astype(np.float64)
                pairs.append(_pair(answer, method, placement, h, label, place, on_cells, on_scan, plan))
                own = {} if regions or not on_cells else {"lesion": on_cells[0].share}
                parts = ledger(h, label.maps[method].bias, label.logit, regions or own, on_scan)
                entries += _entries(answer, method, placement, parts)
    return Evaluated(tuple(answers), tuple(pairs), tuple(entries))


def _place(
    lesions: Lesions, on_cells: tuple[MaskOnCells, list[MaskOnCells]], on_scan: Floats, plan: Plan
) -> Place:
    mask, parts = on_cells
    reached = on_scan > _REACHED
    near = mask.near(plan.tolerance_mm)[reached]
    return Place(
        chance=float(mask.share[reached].mean()) if reached.any() else 0.0,
        ceiling=float(mask.share.max()),
        blind=float(near.mean()) if reached.any() else 0.0,
        seen=lesions.seen,
        volume_ml=lesions.volume_ml,
        lesions=len(parts),
    )


def _pair(
    answer: Answer,
    method: str,
    placement: str,
    h: Floats,
    label: Label,
    place: Place | None,
    on_cells: tuple[MaskOnCells, list[MaskOnCells]] | None,
    on_scan: Floats,
    plan: Plan,
) -> Pair:
    if place is None or on_cells is None:
        return Pair(answer, method, placement, None, None)
    mask, parts = on_cells
    scores = label.slice_scores
    figures = measure(
        h,
        mask,
        parts,
        place,
        on_scan > _REACHED,
        None if scores is None or len(scores) != h.shape[0] else np.asarray(scores),
        local_maxima(h, len(parts)),
        plan.tolerance_mm,
    )
    papers = paper_figures(h, mask) if plan.papers else None
    return Pair(answer, method, placement, place, figures, papers)


def _entries(answer: Answer, method: str, placement: str, parts: dict[str, float]) -> Iterator[Entry]:
    for region, logits in parts.items():
        yield Entry(answer.case, answer.patient, answer.label, method, placement, region, logits)
