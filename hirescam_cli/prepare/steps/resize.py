"""`resize`: another number of voxels over the same extent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.resample import apply_separable, linear_matrix
from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.prepare.step import Step, StepKind
from hirescam_cli.toml_table import Table

INTERPOLATIONS = ("linear", "nearest", "area")


@dataclass(frozen=True)
class Resize(Step):
    """To `shape` voxels, whose outer faces are those of the voxels before; 0 leaves an axis as it is.

    `interpolation`: "linear" between centres without smoothing first (as OpenCV and torch do), "nearest", or "area"
    (the mean over each new voxel's share of the old ones, whole old voxels as torch's "area" takes them).
    """

    shape: Shape3
    interpolation: str = "linear"
    step: ClassVar[str] = "resize"

    def sizes(self, before: Shape3) -> list[int]:
        """Voxels along each axis afterwards."""
        return [new or old for old, new in zip(before, self.shape, strict=True)]

    def place(self, before: Place) -> Place:
        """Where the voxels lie afterwards."""
        sizes = self.sizes(before.grid.shape)
        scale = [old / new for old, new in zip(before.grid.shape, sizes, strict=True)]
        shift = [(factor - 1.0) / 2.0 for factor in scale]
        grid: Grid = before.grid.child(affines.scaling(scale, shift), sizes)
        return before.moved(grid, scale, shift)

    def apply(self, image: Image) -> Image:
        """The image afterwards, in float32."""
        after = self.place(image.place)
        sizes = zip(image.array.shape, after.grid.shape, strict=True)
        matrices = [matrix(old, new, self.interpolation) for old, new in sizes]
        return Image(apply_separable(image.array, matrices), after)


def matrix(old: int, new: int, interpolation: str) -> NDArray[np.float64]:
    """Weights [new, old] of one axis."""
    if interpolation == "area":
        weights = np.zeros((new, old))
        for n in range(new):
            start, stop = n * old // new, -(-(n + 1) * old // new)
            weights[n, start:stop] = 1.0 / (stop - start)
        return weights
    if interpolation == "nearest":
        return np.eye(old)[np.minimum(np.arange(new) * old // new, old - 1)]
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    return linear_matrix(old, np.clip(centres, 0.0, old - 1.0))


def read(table: Table) -> Resize:
    """From a model file."""
    table.only(("step", "shape", "interpolation"))
    return Resize(shape_of(table, lowest=0), table.choice("interpolation", INTERPOLATIONS, "linear"))


def shape_of(table: Table, lowest: int = 1) -> Shape3:
    """The key `shape`: three numbers of voxels."""
    found = table.numbers("shape", 3)
    if any(size < lowest or size != int(size) for size in found):
        least = "" if lowest else " (0: as many as there are)"
        raise table.fail(
            "shape", found, f"three positive whole numbers of voxels, along the axes of the input{least}"
        )
    i, j, k = (int(size) for size in found)
    return (i, j, k)


STEP = StepKind("resize", read)
