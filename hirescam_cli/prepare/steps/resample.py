"""`resample`: voxels of another size, in mm."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import ClassVar, cast

import numpy as np

from hirescam_cli.geometry import affine as affines
from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.prepare.step import Step, StepKind
from hirescam_cli.prepare.voxels import Line, take
from hirescam_cli.toml_table import Table

INTERPOLATIONS = ("bspline", "linear", "nearest", "area")
CONVENTIONS = ("hirescam", "monai", "torchio", "torchio-0.18")
SPACINGS = ("voxels", "header")
_MONAI_SAME_MM = 1e-3


@dataclass(frozen=True)
class Resample(Step):
    """`spacing_mm` along the input's axes; `interpolation`: "bspline" (cubic), "linear", "nearest" or "area" (means).

    `convention`, of n voxels that become r times as large:
    - "hirescam": the first voxel's centre stays, round(n / r) voxels, as in RAD-ChestCT's published preparation;
    - "monai": the first voxel's centre stays, round((n - 1) / r + 1) voxels, and a spacing within 0.001 mm of the
      wanted one is left alone, as `Spacing` does;
    - "torchio": the centre of all stays, floor(n / r) voxels, as `Resample` does since 2025;
    - "torchio-0.18": the first voxel's outer face stays, ceil(n / r) voxels, as it did before.
    Beyond the scan the first two repeat the outer voxels, and the others have 0.

    `spacing_of`: what r is measured from: the "voxels" as they are, or what the scan's "header" says of its own (their
    spacing and the slices' thickness, in float32), even if they were resized since or lie closer. Either way the result
    is known to lie where its voxels were taken from.
    """

    spacing_mm: tuple[float, float, float]
    interpolation: str = "bspline"
    convention: str = "hirescam"
    spacing_of: str = "voxels"
    step: ClassVar[str] = "resample"

    @property
    def inside(self) -> bool:
        """Whether all of the result is scan."""
        return not self.convention.startswith("torchio")

    def place(self, before: Place) -> Place:
        """Where the voxels lie afterwards."""
        lines = self.lines(before)
        ratios, shifts = [line.ratio for line in lines], [line.shift for line in lines]
        grid = before.grid.child(affines.scaling(ratios, shifts), self._shape(before))
        return (before.resampled if self.inside else before.moved)(grid, ratios, shifts)

    def lines(self, before: Place) -> list[Line]:
        """Per axis where the voxels afterwards lie among those of `before`."""
        found = []
        axes = zip(before.grid.shape, self._shape(before), self._sizes_mm(before), strict=True)
        for old, new, (old_mm, new_mm) in axes:
            ratio, shift = new_mm / old_mm, 0.0
            if self.convention == "torchio":
                shift = (old - 1 - (new - 1) * ratio) / 2
            elif self.convention == "torchio-0.18":
                shift = (ratio - 1) / 2
            found.append(Line(ratio, shift, held=self.inside))
        return found

    def _sizes_mm(self, before: Place) -> list[tuple[float, float]]:
        """Per axis the size of a voxel before and afterwards."""
        sizes: list[float] = list(before.grid.spacing_mm)
        if self.spacing_of == "header":
            sizes = [float(np.float32(mm)) for mm in before.header_mm]
        same = _MONAI_SAME_MM if self.convention == "monai" else 0.0
        pairs = zip(sizes, self.spacing_mm, strict=True)
        return [(old, old if abs(new - old) <= same else new) for old, new in pairs]

    def _shape(self, before: Place) -> list[int]:
        """Voxels along each axis afterwards."""
        axes = zip(before.grid.shape, self._sizes_mm(before), strict=True)
        return [self._count(n, old_mm, new_mm) for n, (old_mm, new_mm) in axes]

    def _count(self, n: int, old_mm: float, new_mm: float) -> int:
        if self.convention == "monai":
            return round((n - 1) * old_mm / new_mm + 1.0)
        if self.convention == "hirescam":
            return max(1, round(n / (new_mm / old_mm)))
        if n == 1:
            return 1
        return (
            max(1, floor(n * old_mm / new_mm)) if self.convention == "torchio" else ceil(n * old_mm / new_mm)
        )

    def apply(self, image: Image) -> Image:
        """The image afterwards, in float32."""
        after = self.place(image.place)
        kept = [np.arange(size) for size in after.grid.shape]
        return Image(take(image.array, self.lines(image.place), kept, self.interpolation), after)


def read(table: Table) -> Resample:
    """From a model file."""
    table.only(("step", "spacing_mm", "interpolation", "convention", "spacing_of"))
    spacing = table.numbers("spacing_mm", 3)
    if min(spacing) <= 0:
        raise table.fail("spacing_mm", spacing, "positive numbers of mm, along the axes of the input")
    return Resample(
        cast(tuple[float, float, float], spacing),
        table.choice("interpolation", INTERPOLATIONS, "bspline"),
        table.choice("convention", CONVENTIONS, "hirescam"),
        table.choice("spacing_of", SPACINGS, "voxels"),
    )


STEP = StepKind("resample", read)
