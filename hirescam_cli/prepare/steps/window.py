"""`window`: HU clamped to limits and mapped linearly, perhaps in whole steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.prepare.image import Image
from hirescam_cli.prepare.step import Step, StepKind
from hirescam_cli.toml_table import Table

if TYPE_CHECKING:
    from torch import Tensor

Limits = tuple[float, float]

ROUNDINGS = ("nearest", "16-bit")
_UPPER = 65535


@dataclass(frozen=True)
class Window(Step):
    """Values clamped to `hu` and mapped linearly so that its ends become those of `to`.

    `levels`: so many equally spaced values (256 for 8 bits); None: all of them. `rounding`: the "nearest" level is
    taken, or with "16-bit" the upper bits of a number from 0 to 65535, whose fraction and lower bits are lost. Several
    pairs of `hu` make several channels.
    """

    hu: tuple[Limits, ...]
    to: Limits = (0.0, 1.0)
    levels: int | None = None
    rounding: str = "nearest"
    step: ClassVar[str] = "window"

    @property
    def pointwise(self) -> bool:
        """A value depends on nothing but the same voxel."""
        return True

    @property
    def whole_hu(self) -> bool:
        """Whether this is clamping and rounding to whole HU, and no more."""
        (low, high) = self.hu[0]
        whole = self.levels == high - low + 1 and self.rounding == "nearest"
        return len(self.hu) == 1 and self.to == (low, high) and whole

    def apply(self, image: Image) -> Image:
        """The image afterwards, in float32."""
        return image.with_values(self.on_array(np.array(image.floats)))

    def on_array(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values of the only window, in place."""
        ((low, high),) = self.hu
        np.clip(values, low, high, out=values)
        if self.whole_hu:
            return np.rint(values, out=values)
        if self.levels is not None and self.rounding == "16-bit":
            # In float64: in float32 a value that just reaches a level may miss it.
            exact = (values.astype(np.float64) - low) * (_UPPER / (high - low))
            values[:] = np.floor(exact * (self.levels / (_UPPER + 1)))
            values /= self.levels - 1
        elif self.levels is not None:
            values -= low
            values *= (self.levels - 1) / (high - low)
            np.rint(values, out=values)
            values /= self.levels - 1
        elif self.to != (low, high):
            values -= low
            values /= high - low
        else:
            return values
        return _spread_array(values, self.to)

    def on_device(self, values: Tensor) -> Tensor:
        """The values afterwards; of several windows stacked along a new first axis."""
        if len(self.hu) == 1:
            return self._one(values, self.hu[0])
        # Not at the head of the module: reading scans and models does without torch.
        from torch import stack

        return stack([self._one(values.clone(), limits) for limits in self.hu])

    def _one(self, values: Tensor, limits: Limits) -> Tensor:
        low, high = limits
        values.clamp_(low, high)
        if self.whole_hu:
            return values.round_()
        if self.to == limits and self.levels is None:
            return values
        if self.levels is not None and self.rounding == "16-bit":
            # Not every device has float64; a step of this kind is rarely the last that moves anything.
            exact = (values.cpu().double() - low) * (_UPPER / (high - low))
            values.copy_((exact * (self.levels / (_UPPER + 1))).floor_() / (self.levels - 1))
            return self._spread(values)
        values.sub_(low)
        if self.levels is not None:
            values.mul_((self.levels - 1) / (high - low)).round_().div_(self.levels - 1)
        else:
            values.div_(high - low)
        return self._spread(values)

    def _spread(self, values: Tensor) -> Tensor:
        if self.to != (0.0, 1.0):
            values.mul_(self.to[1] - self.to[0]).add_(self.to[0])
        return values


def _spread_array(values: NDArray[np.float32], to: Limits) -> NDArray[np.float32]:
    if to != (0.0, 1.0):
        values *= to[1] - to[0]
        values += to[0]
    return values


def read(table: Table) -> Window:
    """From a model file."""
    table.only(("step", "hu", "to", "levels", "rounding"))
    given = table.values.get("hu")
    several = isinstance(given, list) and bool(given) and isinstance(given[0], list)
    pairs = [table]
    if isinstance(given, list) and several:
        pairs = [Table(table.file, table.where, {"hu": pair}) for pair in given]
    hu = tuple(_rising(pair, "hu", "a lower and a higher HU") for pair in pairs)
    to = _rising(table, "to", "a lower and a higher value", (0.0, 1.0))
    levels = table.whole("levels", "a number of levels from 2 on", lowest=2) if "levels" in table else None
    if "rounding" in table and levels is None:
        raise table.missing("levels", "a number of levels from 2 on, since there is a rounding")
    return Window(hu, to, levels, table.choice("rounding", ROUNDINGS, "nearest"))


def _rising(table: Table, key: str, expected: str, default: Limits | None = None) -> Limits:
    low, high = table.numbers(key, 2, default)
    if low >= high:
        raise table.fail(key, (low, high), expected)
    return (low, high)


STEP = StepKind("window", read)
