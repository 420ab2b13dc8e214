"""`crop_foreground`: the smallest box around everything that is denser than air."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.prepare.step import Step, StepKind
from hirescam_cli.toml_table import Table


@dataclass(frozen=True)
class CropForeground(Step):
    """The bounding box of the voxels above `above_hu`."""

    above_hu: float
    step: ClassVar[str] = "crop_foreground"

    def place(self, before: Place) -> None:  # noqa: ARG002 - it depends on the voxels
        """The box is not known before the voxels are."""
        return

    def apply(self, image: Image) -> Image:
        """The image afterwards. Raises ScanError where no voxel is above."""
        above = image.array > self.above_hu
        box = []
        for axis in range(3):
            found = np.flatnonzero(above.any(axis=tuple(a for a in range(3) if a != axis)))
            if not found.size:
                raise ScanError(
                    f"No voxel of the scan is above {self.above_hu:g} HU, so it has no foreground to crop to.",
                    hint="Check that its values are HU.",
                    code="no-foreground",
                    stage="prepare",
                )
            box.append(slice(int(found[0]), int(found[-1]) + 1))
        array = image.array[tuple(box)]
        first = [float(part.start) for part in box]
        grid = image.place.grid.child(affines.scaling((1.0, 1.0, 1.0), first), array.shape)
        return Image(array, image.place.moved(grid, (1.0, 1.0, 1.0), first))


def read(table: Table) -> CropForeground:
    """From a model file."""
    table.only(("step", "above_hu"))
    return CropForeground(table.number("above_hu", "a number of HU"))


STEP = StepKind("crop_foreground", read)
