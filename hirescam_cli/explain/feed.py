"""From prepared voxels to the tensor that a network takes: channels, deferred steps, the order of axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hirescam_cli.errors import HirescamError, ModelError
from hirescam_cli.geometry import Grid
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.prepare.preparation import Preparation
from hirescam_cli.prepare.step import Step
from hirescam_cli.prepare.steps.crop_foreground import CropForeground
from hirescam_cli.prepare.steps.pad_crop import PadAndCrop
from hirescam_cli.prepare.steps.resample import Resample
from hirescam_cli.prepare.steps.resize import Resize

AIR_HU = -1000
_MOVING = (CropForeground, PadAndCrop, Resample, Resize)


@dataclass(frozen=True)
class Feed:
    """`steps`: those that run on the device. `channels`, `slab`: see `Preparation`. `inputs`: axes of the tensor.

    `earlier`: the steps before them that may change values, where they stand between steps that only move voxels.
    """

    steps: tuple[Step, ...]
    channels: str
    slab: int
    inputs: str
    earlier: tuple[Step, ...] = ()

    @staticmethod
    def of(preparation: Preparation, inputs: str) -> Feed:
        """That of a model."""
        earlier = tuple(step for step in preparation.early if not isinstance(step, _MOVING))
        return Feed(preparation.deferred, preparation.channels, preparation.slab, inputs, earlier)

    @property
    def count(self) -> int:
        """How many channels the network takes."""
        return self.tensor(torch.zeros(1, self.slab, 1, 1)).shape[self.inputs.index("c")]

    def from_hu(self, hu: Voxels) -> Voxels:
        """Voxels [i, j, k] in HU as the steps before those on the device would leave them, on the same grid.

        A step of another package that moves voxels too, or refuses them, is left out.
        """
        image = _image(hu)
        for step in self.earlier:
            try:
                after = step.apply(image)
            except HirescamError:
                continue
            image = after if after.array.shape == hu.shape else image
        return image.array

    def air(self, shape: Shape3, *, alike: bool) -> Voxels:
        """An input of `shape` voxels [i, j, k] that is nothing but air, as from a scan of air.

        Raises ModelError where it cannot be known: where a step fails on air, where one moves voxels and leaves no one
        value, and, if all positions are to be `alike`, where the voxels are not.
        """
        image = _image(np.full(shape, AIR_HU, dtype=np.int16))
        for step in self.earlier:
            try:
                after = step.apply(image)
            except (HirescamError, ArithmeticError, ValueError, LookupError) as error:
                raise _no_air(step, f"fails on it ({error})") from error
            moved = after.array.shape != shape
            if (moved or alike) and not _of_one_value(after.array):
                raise _no_air(step, "makes different values of it")
            image = _image(np.full(shape, after.array.flat[0])) if moved else after
        return image.array

    def positions(self, voxels: Voxels) -> Voxels:
        """Voxels [i, j, k] as positions [n, slices, j, k] along the first axis, to be taken in any number."""
        return voxels.reshape(-1, self.slab, *voxels.shape[1:])

    def tensor(self, positions: Tensor, layout: torch.memory_format = torch.preserve_format) -> Tensor:
        """What the network takes, float32, of positions [n, slices, j, k]."""
        # A copy in any case: steps change values in place, and voxels may be the caller's.
        values = positions.to(torch.float32, memory_format=layout, copy=True)
        for step in self.steps:
            values = step.on_device(values)
        axes = "icjk"
        if self.channels == "windows":
            # [windows, n, 1, j, k]: the windows become channels.
            values = values.squeeze(2).movedim(0, 1)
        elif self.channels.startswith("repeat"):
            values = values.expand(-1, int(self.channels.partition(":")[2]), -1, -1)
        wanted = self.inputs.replace("n", "")
        if wanted != axes:
            values = values.permute([axes.index(axis) for axis in wanted])
        return values.unsqueeze(self.inputs.index("n")) if "n" in self.inputs else values


def _image(voxels: Voxels) -> Image:
    i, j, k = voxels.shape
    return Image(voxels, Place.whole(Grid((i, j, k), np.eye(4))))


def _of_one_value(voxels: Voxels) -> bool:
    return bool((voxels == voxels.flat[0]).all())


def _no_air(step: Step, why: str) -> ModelError:
    return ModelError(
        f"What a volume of air becomes on its way into the network is not known: the step {step.step!r} {why}.",
        hint="Choose another --method than layer-ig, which measures from air.",
        code="method-unavailable",
    )


def canonical(tensor: Tensor, axes: str, leading: int = 0) -> Tensor:
    """A target's tensor, with axes called `axes` behind `leading` others, as [..., i, c, j, k].

    A batch axis must have one entry; axes of the input that the target lacks get one cell.
    """
    for place in reversed(range(len(axes))):
        if axes[place] == "n":
            tensor = tensor.squeeze(place + leading)
    left = axes.replace("n", "")
    for axis in "icjk":
        if axis not in left:
            tensor, left = tensor.unsqueeze(leading), axis + left
    order = [*range(leading), *(left.index(axis) + leading for axis in "icjk")]
    return tensor.permute(order)


def channel_axis(axes: str) -> int | None:
    """Which dimension of a target's tensor, with axes called `axes`, holds its channels; None if it has none."""
    return axes.index("c") if "c" in axes else None
