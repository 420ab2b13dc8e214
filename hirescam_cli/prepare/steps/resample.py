"""`resample`: voxels of another size, in mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from hirescam_cli.geometry import resampled
from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.prepare.step import Step, StepKind
from hirescam_cli.prepare.voxels import take
from hirescam_cli.toml_table import Table

INTERPOLATIONS = ("bspline", "linear", "nearest")
CONVENTIONS = ("hirescam",)


@dataclass(frozen=True)
class Resample(Step):
    """`spacing_mm` along the input's axes; `interpolation`: "bspline" (cubic), "linear" or "nearest".

    `convention` "hirescam": the first voxel's centre stays, n voxels become round(n * spacing / new spacing), as
    in RAD-ChestCT's published preparation.
    """

    spacing_mm: tuple[float, float, float]
    interpolation: str = "bspline"
    convention: str = "hirescam"
    step: ClassVar[str] = "resample"

    def place(self, before: Place) -> Place:
        """Where the voxels lie afterwards."""
        fine = resampled(before.grid, self.spacing_mm)
        ratios = self.ratios(before)
        return before.resampled(fine, ratios, (0.0, 0.0, 0.0))

    def ratios(self, before: Place) -> list[float]:
        """Per axis, voxels of `before` between two voxels afterwards."""
        fine = resampled(before.grid, self.spacing_mm)
        return [n / o for n, o in zip(fine.spacing_mm, before.grid.spacing_mm, strict=True)]

    def apply(self, image: Image) -> Image:
        """The image afterwards, in float32."""
        after = self.place(image.place)
        kept = [np.arange(size) for size in after.grid.shape]
        return Image(take(image.array, self.ratios(image.place), kept, self.interpolation), after)


def read(table: Table) -> Resample:
    """From a model file."""
    table.only(("step", "spacing_mm", "interpolation", "convention"))
    spacing = table.numbers("spacing_mm", 3)
    if min(spacing) <= 0:
        raise table.fail("spacing_mm", spacing, "positive numbers of mm, along the axes of the input")
    return Resample(
        cast(tuple[float, float, float], spacing),
        table.choice("interpolation", INTERPOLATIONS, "bspline"),
        table.choice("convention", CONVENTIONS, "hirescam"),
    )


STEP = StepKind("resample", read)
