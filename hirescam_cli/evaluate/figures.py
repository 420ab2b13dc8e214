"""Pairs as a table of numbers: what is averaged, by label, method, placement and patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.bootstrap import Columns
from hirescam_cli.evaluate.pairs import Pair
from hirescam_cli.evaluate.record import Group

MEASURES = (
    "hit", "centre_in", "near", "blind", "distance_mm", "gap_mm", "evidence_in", "evidence_touching", "chance",
    "ceiling", "lift", "score", "negative_in", "signed_in", "ap", "rank", "slice_hit", "slice_auroc", "lesions_found",
    "seen",
)  # fmt: skip
PAIRED = (
    "hit", "centre_in", "near", "distance_mm", "gap_mm", "evidence_in", "evidence_touching", "score", "ap", "rank",
    "lesions_found",
)  # fmt: skip
GROUPS: tuple[Group, ...] = ("true_positives", "present")


_PLACES = ("blind", "chance", "ceiling", "seen")
_MAPS = tuple(name for name in MEASURES if name not in (*_PLACES, "lesions_found"))
_OF_MAPS, _OF_PLACES = attrgetter(*_MAPS), attrgetter(*_PLACES)
_NOTHING = (None,) * len(MEASURES)
_ORDER = [(*_MAPS, *_PLACES, "lesions_found").index(name) for name in MEASURES]


def values_of(pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """The figures of pairs [pairs, measures] in the order of `MEASURES`; NaN for those that are not defined."""
    rows: list[tuple[float | None, ...]] = [
        _NOTHING
        if pair.place is None or pair.measures is None
        else (
            *_OF_MAPS(pair.measures),
            *_OF_PLACES(pair.place),
            pair.measures.lesions_found / pair.place.lesions,
        )
        for pair in pairs
    ]
    # NumPy makes NaN of None.
    return np.array(rows, dtype=np.float64).reshape(-1, len(MEASURES))[:, _ORDER]


@dataclass(frozen=True, eq=False)
class Frame:
    """Pairs whose mask serves, as arrays over rows; sorted, so that their order in a run changes nothing.

    `values` [rows, measures]; `label`, `patient`, `method`, `placement`: indices into the lists of names;
    `positive` [rows]; `key` [rows]: one number for each case and label.
    """

    labels: tuple[str, ...]
    patients: tuple[str, ...]
    methods: tuple[str, ...]
    placements: tuple[str, ...]
    values: NDArray[np.float64]
    label: NDArray[np.intp]
    patient: NDArray[np.intp]
    method: NDArray[np.intp]
    placement: NDArray[np.intp]
    positive: NDArray[np.bool_]
    key: NDArray[np.intp]

    @staticmethod
    def of(
        pairs: Sequence[Pair],
        cases: Sequence[str],
        labels: Sequence[str],
        patients: Sequence[str],
        methods: Sequence[str],
        placements: Sequence[str],
    ) -> Frame:
        """The pairs of a run. `cases`, `labels`, `patients`: all that there are, of two runs that are compared too."""
        used = [p for p in pairs if p.answer.mask == "used" and p.answer.present]
        used.sort(key=lambda p: (p.answer.case, p.answer.label, p.method, p.placement))
        label = _indices([p.answer.label for p in used], labels)
        case = _indices([p.answer.case for p in used], cases)
        return Frame(
            tuple(labels),
            tuple(patients),
            tuple(methods),
            tuple(placements),
            values_of(used),
            label,
            _indices([p.answer.patient for p in used], patients),
            _indices([p.method for p in used], methods),
            _indices([p.placement for p in used], placements),
            np.asarray([p.answer.positive for p in used], dtype=bool),
            case * len(labels) + label,
        )

    def rows(self, method: str, placement: str, group: Group) -> NDArray[np.intp]:
        """The rows of a method and a placement: of true positives, or of all where the label is there."""
        chosen = (self.method == self.methods.index(method)) & (
            self.placement == self.placements.index(placement)
        )
        if group == "true_positives":
            chosen = chosen & self.positive
        return np.flatnonzero(chosen)

    def columns(self, rows: NDArray[np.intp], values: NDArray[np.float64]) -> Columns:
        """`values` [rows, measures] by patient; column = measure * labels + label."""
        count = values.shape[1]
        column = (np.arange(count)[None, :] * len(self.labels) + self.label[rows][:, None]).ravel()
        patient = np.repeat(self.patient[rows], count)
        shape = (len(self.patients), count * len(self.labels))
        return Columns.of(values.ravel(), patient, column, shape)


def _indices(names: Sequence[str], known: Sequence[str]) -> NDArray[np.intp]:
    place = {name: n for n, name in enumerate(known)}
    return np.asarray([place[name] for name in names], dtype=np.intp)
