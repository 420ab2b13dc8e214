"""`pad_crop`: a fixed number of voxels, by padding and cropping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import numpy as np
from numpy.typing import DTypeLike

from hirescam_cli.geometry import PadCrop, pad_crop
from hirescam_cli.geometry.grid import Anchor, Centring, Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.prepare.step import Step, StepKind
from hirescam_cli.prepare.steps.resize import shape_of
from hirescam_cli.toml_table import Table, is_number

ANCHORS = ("centre", "start", "end")


@dataclass(frozen=True)
class PadAndCrop(Step):
    """To `shape` voxels: along each axis the part at its `anchor` stays ("centre", "start", "end" of the axis).

    `value`: of the padding, or "minimum" of all voxels, those included that are cropped away. `convention`: where an
    odd voxel about the centre goes, see `PadCrop`.
    """

    shape: Shape3
    anchor: tuple[Anchor, Anchor, Anchor] = ("centre", "centre", "centre")
    value: float | Literal["minimum"] = "minimum"
    convention: Centring = "hirescam"
    step: ClassVar[str] = "pad_crop"

    def axes(self, before: Place) -> tuple[PadCrop, PadCrop, PadCrop]:
        """What becomes of each axis."""
        return pad_crop(before.grid, self.shape, self.anchor, self.convention)[0]

    def place(self, before: Place) -> Place:
        """Where the voxels lie afterwards."""
        axes, grid = pad_crop(before.grid, self.shape, self.anchor, self.convention)
        return before.moved(grid, (1.0, 1.0, 1.0), [float(axis.shift) for axis in axes])

    def apply(self, image: Image) -> Image:
        """The image afterwards, in float32 where the padding's value is not one of the voxels' type."""
        axes = self.axes(image.place)
        kept = image.array[tuple(slice(a.start + a.shift, a.stop + a.shift) for a in axes)]
        after = self.place(image.place)
        if kept.shape == self.shape:
            return Image(kept, after)
        value = float(image.array.min()) if self.value == "minimum" else self.value
        result = np.full(self.shape, value, dtype=_type_for(image.array, value))
        result[tuple(slice(a.start, a.stop) for a in axes)] = kept
        return Image(result, after)


def _type_for(voxels: Voxels, value: float) -> DTypeLike:
    """The voxels' own type where it holds `value` exactly, else float32."""
    if not np.issubdtype(voxels.dtype, np.integer):
        return voxels.dtype
    limits = np.iinfo(voxels.dtype)
    return voxels.dtype if value == int(value) and limits.min <= value <= limits.max else np.float32


def read(table: Table) -> PadAndCrop:
    """From a model file."""
    table.only(("step", "shape", "anchor", "value", "convention"))
    expected = f"three of {', '.join(ANCHORS)}"
    anchor = table.words("anchor", expected, ("centre", "centre", "centre"))
    if len(anchor) != 3 or not set(anchor) <= set(ANCHORS):
        raise table.fail("anchor", list(anchor), expected)
    value = table.values.get("value", "minimum")
    if value != "minimum" and not is_number(value):
        raise table.fail("value", value, 'a number, or "minimum"')
    padding: float | Literal["minimum"] = "minimum" if value == "minimum" else table.number("value")
    convention = table.choice("convention", get_args(Centring), "hirescam")
    return PadAndCrop(
        shape_of(table), cast(tuple[Anchor, Anchor, Anchor], anchor), padding, cast(Centring, convention)
    )


STEP = StepKind("pad_crop", read)
