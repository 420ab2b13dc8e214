"""In which cells each label of a scan may have evidence: from the masks of the scan."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from unicodedata import category, normalize

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.names import label_slugs
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.masks.collection import CaseMasks, MaskCollection, MaskProblem, find_masks
from hirescam_cli.masks.mask import Mask
from hirescam_cli.masks.names import signs_agree
from hirescam_cli.train.augmentation import Change, Number
from hirescam_cli.train.cells import CellGrid, allowed_cells, shares
from hirescam_cli.train.options import MaskOptions
from hirescam_cli.train.table import Row

_ENDINGS = (".nii.gz", ".nii", ".npz", ".nrrd", ".mha", ".mhd", ".zip")


@dataclass(frozen=True, eq=False)
class Allowed:
    """`cells` [L, i, j, k]: those that a label's masks touch; `marked` [L]: whether it has masks that are not empty."""

    cells: NDArray[np.bool_]
    marked: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class AllowedCells:
    """Finds them for scans. `patterns`: per label the names of masks, with * and ?, that allow evidence together.

    `own`: whether each label of `patterns` has only the mask of its own name instead (see `masks.names.assign`).
    `symmetric`: whether mirroring the input mirrors the cells, so that one look at the masks serves every change.
    """

    collection: MaskCollection
    labels: tuple[str, ...]
    patterns: Mapping[str, tuple[str, ...]]
    grid: CellGrid
    how: str
    symmetric: bool
    own: bool = False
    _kept: dict[str, tuple[NDArray[np.uint8], NDArray[np.bool_]]] = field(default_factory=dict)
    _assigned: dict[tuple[str, ...], Mapping[str, str]] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[MaskProblem, ...]:
        """Masks that were found and cannot be used, or not be told apart."""
        if not self.own:
            return self.collection.problems
        doubts = [
            doubt for masks in self.collection.by_case.values() for doubt in masks.doubts(*self._called)
        ]
        return (*self.collection.problems, *doubts)

    def marks(self, row: Row, place: int) -> bool:
        """Whether a scan has a mask, if only an empty one, for the label at `place`."""
        masks = self.collection.of(case_name(row))
        return masks is not None and bool(self._names(masks, self.labels[place]))

    def of(self, row: Row, change: Change, input_ras: Affine, shape: Shape3) -> Allowed:
        """Those of a scan after a change; `input_ras`, `shape`: of its input before. Raises MaskError."""
        if not self.symmetric or self.how == "papers":
            return self._look(row, input_ras @ change.affine(shape))
        if row.id not in self._kept:
            found = self._look(row, input_ras)
            self._kept[row.id] = (np.packbits(found.cells), found.marked)
        packed, marked = self._kept[row.id]
        size = (len(self.labels), *self.grid.shape)
        cells = np.unpackbits(packed, count=int(np.prod(size))).astype(np.bool_).reshape(size)
        return Allowed(change.of(cells), marked)

    def shares(self, row: Row, grid: CellGrid, input_ras: Affine) -> dict[int, NDArray[np.float64]]:
        """By place of a label that is there and has masks that are not empty: the share of each cell of a grid in any.

        Raises MaskError.
        """
        found: dict[int, NDArray[np.float64]] = {}
        for place, share in self._each(row, lambda mask: shares(mask, grid, input_ras)):
            found[place] = np.maximum(found.get(place, 0.0), share)
        return found

    def _look(self, row: Row, input_ras: Affine) -> Allowed:
        cells = np.zeros((len(self.labels), *self.grid.shape), dtype=np.bool_)
        marked = np.zeros(len(self.labels), dtype=np.bool_)
        for place, part in self._each(row, lambda mask: allowed_cells(mask, self.grid, input_ras, self.how)):
            cells[place] |= part
            marked[place] = True
        return Allowed(cells, marked)

    def _each(
        self, row: Row, look: Callable[[Mask], NDArray[Number]]
    ) -> Iterator[tuple[int, NDArray[Number]]]:
        """What `look` makes of each mask of each label that is there, with the label's place; once for each mask.

        Empty masks are passed over: a label that is there and drawn nowhere is one without masks.
        """
        masks = self.collection.of(case_name(row))
        seen: dict[str, NDArray[Number] | None] = {}
        for place, label in enumerate(self.labels):
            if masks is None or row.truth[place] != 1.0:
                continue
            for name in self._names(masks, label):
                if name not in seen:
                    mask = masks.load(name)
                    seen[name] = look(mask) if mask.array_ijk.any() else None
                found = seen[name]
                if found is not None:
                    yield place, found

    def _names(self, masks: CaseMasks, label: str) -> list[str]:
        if not self.own:
            return [
                name for name in masks.names() if any(_fits(name, p) for p in self.patterns.get(label, ()))
            ]
        key = (*masks.sources, "", *masks.refused)
        if key not in self._assigned:
            self._assigned[key] = masks.assigned(*self._called).masks
        found = self._assigned[key].get(label)
        return [found] if found is not None and label in self.patterns else []

    @property
    def _called(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """The labels and what a case calls their files."""
        return self.labels, label_slugs(self.labels)


def case_name(row: Row) -> str:
    """What the folder of a scan's masks is called: its id without the ending of a file."""
    for ending in _ENDINGS:
        if row.id.endswith(ending):
            return PurePosixPath(row.id[: -len(ending)]).name
    return PurePosixPath(row.id).name


def own_masks(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Without a file of regions a label is allowed where the mask of its own name lies."""
    return {label: (re.sub(r"[*?\[]", "_", label),) for label in labels}


def _fits(name: str, pattern: str) -> bool:
    """Whether a mask is meant by a pattern; blanks and capitals make no difference, other signs only where both have
    mathematical ones (<, >, +)."""
    words = _words(pattern)
    same = bool(words) and fnmatch.fnmatchcase(_words(name), words)
    return same and signs_agree(name, pattern)


def _words(name: str) -> str:
    """A name or pattern in which spaces, signs and capitals make no difference; letters of any script count."""
    whole = normalize("NFKC", normalize("NFKC", name).casefold())
    apart = "".join(c if category(c)[0] in "LNM" or c in "*?[]" else "_" for c in whole)
    return re.sub("_+", "_", apart).strip("_")


def find_allowed(
    options: MaskOptions,
    rows: Sequence[Row],
    labels: tuple[str, ...],
    patterns: Mapping[str, tuple[str, ...]],
    grid: CellGrid,
    symmetric: bool,
) -> AllowedCells:
    """Look for the masks of some scans. Raises NoInputError, UsageError."""
    assert options.masks is not None
    collection = find_masks(options.masks, [case_name(row) for row in rows], options.mask_labels)
    own = options.regions is None
    return AllowedCells(collection, labels, patterns, grid, options.cells, symmetric, own)
