"""In which cells each label of a scan may have evidence: from the masks of the scan."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.masks.collection import CaseMasks, MaskCollection, MaskProblem, find_masks
from hirescam_cli.masks.mask import Mask
from hirescam_cli.train.augmentation import Change, Number
from hirescam_cli.train.cells import CellGrid, allowed_cells, shares
from hirescam_cli.train.options import MaskOptions
from hirescam_cli.train.table import Row

_ENDINGS = (".nii.gz", ".nii", ".npz", ".nrrd", ".mha", ".mhd", ".zip")


@dataclass(frozen=True, eq=False)
class Allowed:
    """`cells` [L, i, j, k]: those that a label's masks touch; `marked` [L]: whether it has masks at all."""

    cells: NDArray[np.bool_]
    marked: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class AllowedCells:
    """Finds them for scans. `patterns`: per label the names of masks, with * and ?, that allow evidence together.

    `symmetric`: whether mirroring the input mirrors the cells, so that one look at the masks serves every change.
    """

    collection: MaskCollection
    labels: tuple[str, ...]
    patterns: Mapping[str, tuple[str, ...]]
    grid: CellGrid
    how: str
    symmetric: bool
    _kept: dict[str, tuple[NDArray[np.uint8], NDArray[np.bool_]]] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[MaskProblem, ...]:
        """Masks that were found and cannot be used."""
        return self.collection.problems

    def marks(self, row: Row, place: int) -> bool:
        """Whether a scan has a mask for the label at `place`."""
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
        """By place of a label that is there and has masks: the share of each cell of a grid in any of them.

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
        """What `look` makes of each mask of each label that is there, with the label's place; once for each mask."""
        masks = self.collection.of(case_name(row))
        seen: dict[str, NDArray[Number]] = {}
        for place, label in enumerate(self.labels):
            if masks is None or row.truth[place] != 1.0:
                continue
            for name in self._names(masks, label):
                if name not in seen:
                    seen[name] = look(masks.load(name))
                yield place, seen[name]

    def _names(self, masks: CaseMasks, label: str) -> list[str]:
        patterns = [_words(pattern) for pattern in self.patterns.get(label, ())]
        return [name for name in masks.names() if any(fnmatch.fnmatchcase(_words(name), p) for p in patterns)]


def case_name(row: Row) -> str:
    """What the folder of a scan's masks is called: its id without the ending of a file."""
    for ending in _ENDINGS:
        if row.id.endswith(ending):
            return PurePosixPath(row.id[: -len(ending)]).name
    return PurePosixPath(row.id).name


def own_masks(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Without a file of regions a label is allowed where the mask of its own name lies."""
    return {label: (re.sub(r"[*?\[]", "_", label),) for label in labels}


def _words(name: str) -> str:
    """A name or pattern in which spaces, signs and capitals make no difference."""
    return re.sub(r"[^a-z0-9*?\[\]]+", "_", name.lower()).strip("_")


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
    return AllowedCells(collection, labels, patterns, grid, options.cells, symmetric)
