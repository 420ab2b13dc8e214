"""What has to be known of a network to explain it: nothing of its kind, only where things are.

Axes are letters: n the batch (of one scan), c the channel, i, j, k the axes of the model's input (`[input] axes` of its
description says where in the patient they run). "ncijk" is a usual 3-D network, "icjk" one that takes slices as its
batch, "nkcij" one that works in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Literal, Protocol, cast

from hirescam_cli.errors import ModelError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.placement import At, Placement

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Cells:
    """Where the cells of a target lie on the network's input: cell n of an axis at voxel `stride` * n + `offset`."""

    stride: tuple[float, float, float]
    offset: tuple[float, float, float]

    def affine(self) -> Affine:
        """Cell to input voxel, by receptive fields."""
        return affines.scaling(self.stride, self.offset)


def stretched(cells: Shape3, shape: Shape3) -> Affine:
    """Cell to input voxel where the cells are spread evenly over an input of `shape` voxels."""
    stride = [size / count for size, count in zip(shape, cells, strict=True)]
    return affines.scaling(stride, [(step - 1.0) / 2.0 for step in stride])


class Placing(Protocol):
    """Where the cells of a layer's output or input lie for an input of `shape` voxels."""

    def __call__(self, layer: str, shape: Shape3, at: At = ..., /) -> Cells:
        """Raises ModelError for what has no place."""
        ...


def _call(module: nn.Module, values: Tensor) -> Tensor:
    found: Tensor = module(values)
    return found


@dataclass(frozen=True, eq=False)
class Network:
    """A module, and where its input, its target and its logits are.

    `module`: any `nn.Module`. `inputs`: the axes of the tensor that it takes. `target_layer`: the module that is
    explained unless another is asked for; `at`: its "output" or its (first) "input". `activation(layer)`: the axes of
    a target. `cells(layer, shape, at)`: where the cells of a layer's output or input lie for an input of `shape`
    voxels; it raises ModelError for what has no place and for an input that does not fit. One that takes `layer` and
    `shape` alone speaks of that end which `at` of the network names, and of no other.

    `answer`: "logits" [1, L], before sigmoid or softmax, or "slice_scores" [S, L], whose mean is the logit. Where
    `inputs` begins with i and the answer is slice scores, positions along i are independent of each other and run in
    chunks. `run(module, values)` calls the module and takes the answer from what it gives.
    `linear_head`: name of the module that makes the answer from the target layer and is linear in it: one convolution
    that covers a position's whole map, or a linear layer (or 1 x 1 convolution) behind a mean over all cells; it gives
    maps in closed form. `trunk`: names of the modules, one after the other,
    that may run in half precision. `norms_follow`: each batch norm
    registered right after a convolution is applied right after it, so that the two may be one. `published_below`: where
    a published file may hold more than this network, what then stands before the names of its own parameters.
    """

    module: nn.Module
    inputs: str
    target_layer: str
    activation: Callable[[str], str]
    cells: Callable[[str, Shape3], Cells] | Placing
    at: At = "output"
    answer: Literal["logits", "slice_scores"] = "logits"
    run: Callable[[nn.Module, Tensor], Tensor] = _call
    linear_head: str | None = None
    trunk: tuple[str, ...] = ()
    norms_follow: bool = False
    published_below: tuple[str, ...] = ()

    def place(self, layer: str, shape: Shape3, at: At | None = None) -> Cells:
        """Where the cells at that end of a layer (None: the network's own) lie, as declared. Raises ModelError."""
        end = at or self.at
        if len(signature(self.cells).parameters) != 2:
            return cast(Placing, self.cells)(layer, shape, end)
        if end == self.at:
            return self.cells(layer, shape)
        raise ModelError(
            f"The architecture says where the {self.at} of a layer lies, not where the {end} of {layer!r} does.",
            hint=f'Leave `at = "{end}"` out of [explanation], or let `cells` of the architecture take `at`.',
            code="target-layer",
        )

    @property
    def by_slices(self) -> bool:
        """Whether positions along i are independent until the mean of their scores."""
        return self.answer == "slice_scores" and self.inputs.startswith("i")


@dataclass(frozen=True)
class Architecture:
    """A named way to build a network.

    `build(parameters, labels)`: with random weights, for so many labels; ModelError for parameters that it does not
    know. `placement`: where cells lie unless the model's description says otherwise.
    """

    name: str
    description: str
    build: Callable[[Mapping[str, object], int], Network]
    placement: Placement = "receptive-field"
