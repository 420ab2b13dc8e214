"""What a step needs of a scan: its voxels after augmentation, and where each label may not have evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hirescam_cli.geometry.types import Voxels
from hirescam_cli.train.allowed import Allowed, AllowedCells
from hirescam_cli.train.augmentation import Augmentation, Change
from hirescam_cli.train.lesions import LesionCells, Lesions
from hirescam_cli.train.scans import Scans
from hirescam_cli.train.table import Row


@dataclass(frozen=True, eq=False)
class Sample:
    """`allowed`: None without a mask loss, or with the one that takes `lesions`."""

    row: Row
    voxels: Voxels
    allowed: Allowed | None
    lesions: Lesions | None = None

    @property
    def truth(self) -> Tensor:
        """The truth [L], NaN where unknown."""
        return torch.tensor([np.nan if v is None else v for v in self.row.truth], dtype=torch.float32)


@dataclass(frozen=True, eq=False)
class Position:
    """One position of a scan: `voxels` [slices, j, k] after augmentation, and its one `lesions`."""

    row: Row
    voxels: Voxels
    lesions: Lesions


@dataclass(frozen=True, eq=False)
class Samples:
    """Makes samples from the rows of a table; no more than one of `allowed` and `lesions` is there."""

    scans: Scans
    augmentation: Augmentation
    allowed: AllowedCells | None
    lesions: LesionCells | None = None

    def training(self, row: Row, place: int, epoch: int) -> Sample:
        """The scan at a place of the table, changed as in this epoch. Raises ScanError, MaskError, OutputIOError."""
        return self._make(row, place, epoch)

    def validation(self, row: Row) -> Sample:
        """A scan as it is. Raises as `training`."""
        return self._make(row, 0, None)

    def _make(self, row: Row, place: int, epoch: int | None) -> Sample:
        scan = self.scans.load(row)
        i, j, k = scan.array_ijk.shape
        change = Change() if epoch is None else self.augmentation.draw(epoch, place, (i, j, k))
        allowed = lesions = None
        if self.allowed is not None:
            allowed = self.allowed.of(row, change, scan.affine_ras, (i, j, k))
        if self.lesions is not None:
            lesions = self.lesions.of(row, change, scan.affine_ras, (i, j, k))
        return Sample(row, np.ascontiguousarray(change.of(scan.array_ijk)), allowed, lesions)
