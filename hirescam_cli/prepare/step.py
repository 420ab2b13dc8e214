"""What a preparation step is: a change of the grid, of the values, or of both, told by data alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.toml_table import Table

if TYPE_CHECKING:
    from torch import Tensor


class Step:
    """One step: subclasses are frozen dataclasses whose fields are its settings, which decide a run's identity."""

    step: ClassVar[str]
    """Its name in model files."""

    def place(self, before: Place) -> Place | None:
        """Where the voxels lie afterwards; None if that depends on their values."""
        return before

    def apply(self, image: Image) -> Image:
        """The image afterwards. Raises ScanError where the step cannot be done."""
        raise NotImplementedError

    @property
    def pointwise(self) -> bool:
        """Whether a value depends on nothing but the same voxel: then, at the end of a list, it runs on the device."""
        return False

    def on_device(self, values: Tensor) -> Tensor:
        """Of a pointwise step, the float32 values afterwards; it may change `values` in place."""
        raise NotImplementedError


@dataclass(frozen=True)
class StepKind:
    """What the registry holds: how a step is made from its table of a model file.

    `read(table)` raises ModelError for keys and values that it does not know.
    """

    name: str
    read: Callable[[Table], Step]
