"""`normalise`: a number taken off, and a division; either by given numbers or by those of the volume itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hirescam_cli.prepare.image import Image
from hirescam_cli.prepare.step import Step, StepKind
from hirescam_cli.toml_table import Table

if TYPE_CHECKING:
    from torch import Tensor

SCALES = ("z-score", "min-max")


@dataclass(frozen=True)
class Normalise(Step):
    """(value - `subtract`) / `divide`; or, with `volume`, by the volume's own numbers.

    `volume`: "z-score" (mean and standard deviation) or "min-max" (to 0 .. 1) of all its voxels, padding included.
    A volume of one value becomes 0.
    """

    subtract: float = 0.0
    divide: float = 1.0
    volume: str | None = None
    step: ClassVar[str] = "normalise"

    @property
    def pointwise(self) -> bool:
        """Whether the numbers are given."""
        return self.volume is None

    def apply(self, image: Image) -> Image:
        """The image afterwards, in float32."""
        values = np.array(image.floats)
        subtract, divide = self.subtract, self.divide
        if self.volume == "z-score":
            subtract, divide = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
        elif self.volume == "min-max":
            subtract, divide = float(values.min()), float(values.max()) - float(values.min())
        values -= np.float32(subtract)
        if divide not in (0.0, 1.0):
            values /= np.float32(divide)
        return image.with_values(values)

    def on_device(self, values: Tensor) -> Tensor:
        """The values afterwards, in place."""
        values.sub_(self.subtract)
        return values if self.divide == 1.0 else values.div_(self.divide)


def read(table: Table) -> Normalise:
    """From a model file."""
    table.only(("step", "subtract", "divide", "of", "scale"))
    if table.choice("of", ("numbers", "volume"), "numbers") == "volume":
        for key in ("subtract", "divide"):
            if key in table:
                raise table.fail(key, table.values[key], 'no such key with of = "volume"')
        return Normalise(volume=table.choice("scale", SCALES, "z-score"))
    divide = table.number("divide", "a number other than 0", 1.0)
    if divide == 0:
        raise table.fail("divide", divide, "a number other than 0")
    return Normalise(table.number("subtract", default=0.0), divide)


STEP = StepKind("normalise", read)
