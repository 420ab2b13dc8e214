"""Where cells lie, measured: the centroid of what of the input a cell depends on, in the network itself.

Every convolution and pool becomes a mean over its window and all channels, activations and normalisers do nothing: what
is left is linear and has no preferences, so the gradient of a cell is the shape of its receptive field. One axis is
measured at a time, on an input that is long along it, so that no receptive field is cut off. Independent of what an
architecture declares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.feed import Feed, canonical
from hirescam_cli.explain.state import as_it_was
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.contract import Cells, Network

_STILL = frozenset(
    (
        "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "selu", "gelu", "silu", "mish", "hardswish",
        "prelu", "sigmoid", "tanh", "softplus", "batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm",
        "local_response_norm", "normalize", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
        "feature_alpha_dropout",
    )
)  # fmt: skip
_LONGEST = 8192
_MOST_VOXELS = 1 << 24


@dataclass(frozen=True)
class Measured:
    """Per axis stride and offset in voxels of the input; None where it could not be measured."""

    stride: tuple[float | None, float | None, float | None]
    offset: tuple[float | None, float | None, float | None]

    def differs(self, declared: Cells, tolerance: float = 0.05) -> bool:
        """Whether a declared place is not the measured one, as far as that is known."""
        pairs = [
            *zip(self.stride, declared.stride, strict=True),
            *zip(self.offset, declared.offset, strict=True),
        ]
        return any(found is not None and abs(found - said) > tolerance for found, said in pairs)

    @property
    def complete(self) -> bool:
        """Whether every axis could be measured."""
        return None not in (*self.stride, *self.offset)


class _Reached(Exception):
    """The target has been reached: nothing above it is wanted."""


class _Uniform(TorchFunctionMode):
    """While it is active, windows are means over them, and all channels alike; what is pointwise does nothing."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call `func`, or what takes its place."""
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "").removeprefix("_").removesuffix("_with_indices")
        if name in _STILL:
            return args[0] if args else given["input"]
        if name in ("add", "add_", "__add__", "__iadd__") and (total := _sum(args)) is not None:
            return total
        if name in ("conv1d", "conv2d", "conv3d"):
            weight = cast(Tensor, _argument(args, given, 1, "weight"))
            return _mean_of_windows(
                cast(Tensor, _argument(args, given, 0, "input")),
                tuple(weight.shape[2:]),
                _argument(args, given, 3, "stride", 1),
                _argument(args, given, 4, "padding", 0),
                _argument(args, given, 5, "dilation", 1),
                weight.shape[0],
            )
        if name[:9] in ("max_pool1", "max_pool2", "max_pool3", "avg_pool1", "avg_pool2", "avg_pool3"):
            values = cast(Tensor, _argument(args, given, 0, "input"))
            kernel = _argument(args, given, 1, "kernel_size")
            dilation = _argument(args, given, 4, "dilation", 1) if name.startswith("max") else 1
            return _mean_of_windows(
                values,
                _spread(kernel, values.ndim - 2),
                _argument(args, given, 2, "stride") or kernel,
                _argument(args, given, 3, "padding", 0),
                dilation,
                values.shape[1],
            )
        return func(*args, **given)


def _spread_out(one: Tensor, channels: int) -> Tensor:
    """One channel as so many, which remember that they are one."""
    found = one.expand(-1, channels, *[-1] * (one.ndim - 2))
    vars(found)["one_channel"] = one
    return found


def _one_channel(values: Tensor) -> Tensor:
    """The mean over channels, or the one that all of them are."""
    one: Tensor | None = vars(values).get("one_channel")
    return values.mean(dim=1, keepdim=True) if one is None else one


def _sum(args: tuple[object, ...]) -> Tensor | None:
    """The sum of two tensors whose channels are alike, without computing it for each; None for others."""
    if len(args) != 2 or not all(isinstance(arg, Tensor) and arg.ndim > 2 for arg in args):
        return None
    first, second = cast(tuple[Tensor, Tensor], args)
    if first.shape != second.shape or not all("one_channel" in vars(arg) for arg in (first, second)):
        return None
    return _spread_out(_one_channel(first) + _one_channel(second), first.shape[1])


def _argument(
    args: tuple[object, ...], kwargs: Mapping[str, object], place: int, name: str, default: object = None
) -> object:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _spread(value: object, axes: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * axes
    found = tuple(int(number) for number in cast(Sequence[int], value))
    return found if len(found) == axes else found * axes


def _mean_of_windows(
    values: Tensor, kernel: tuple[int, ...], stride: object, padding: object, dilation: object, channels: int
) -> Tensor:
    axes = len(kernel)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
    window = torch.full((1, 1, *kernel), 1.0 / math.prod(kernel))
    where = padding if isinstance(padding, str) else _spread(padding, axes)
    found = convolve(
        _one_channel(values), window, None, _spread(stride, axes), where, _spread(dilation, axes)
    )
    return _spread_out(found, channels)


def measure_cells(engine: Engine, declared: Cells, shape: Shape3) -> Measured:
    """Stride and offset of the target's cells for an input of about `shape` voxels."""
    found = [_axis(engine, declared, shape, axis) for axis in range(3)]
    stride, offset = zip(*found, strict=True)
    return Measured(tuple(stride), tuple(offset))


def _axis(engine: Engine, declared: Cells, shape: Shape3, axis: int) -> tuple[float | None, float | None]:
    """Along one axis, on inputs that are longer and longer along it until a cell's field has room; thin ones first."""
    slab = engine.feed.slab
    thin = [max(slab if a == 0 else 1, math.ceil(2 * declared.stride[a])) for a in range(3)]
    full = [thin[0] if engine.contract.by_slices else shape[0], shape[1], shape[2]]
    for others in (thin, full):
        # Positions that are independent see no further than themselves.
        length = 6 * slab if axis == 0 and engine.contract.by_slices else shape[axis]
        while length <= _LONGEST:
            size = [length if a == axis else others[a] for a in range(3)]
            if math.prod(size) > _MOST_VOXELS:
                break
            found = _between(engine, size, axis)
            if isinstance(found, tuple):
                return found
            if found is None:
                break
            length *= 2
    return (None, None)


def _between(engine: Engine, size: list[int], axis: int) -> tuple[float, float] | bool | None:
    """Stride and offset from two neighbouring cells; False if the input is too short, None if nothing is to be had."""
    try:
        voxels, target = _run(engine, size)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError):
        return None
    moved = target.movedim((0, 2, 3)[axis], 0)
    count = moved.shape[0]
    if count < 4:
        return False
    middle = count // 2 - 1
    centres = []
    for cell in (middle, middle + 1):
        inner = moved[cell]
        chosen = inner[tuple(n // 2 for n in inner.shape)]
        (gradient,) = torch.autograd.grad(chosen, voxels, retain_graph=True)
        others = tuple(a for a in range(3) if a != axis)
        profile = gradient.double().abs().sum(dim=others)
        if not bool(torch.isfinite(profile).all()) or not bool((profile > 0).any()):
            return None
        if profile[0] > 0 or profile[-1] > 0:
            return False
        places = torch.arange(len(profile), dtype=torch.float64)
        centres.append(float((profile * places).sum() / profile.sum()))
    stride = centres[1] - centres[0]
    return (stride, centres[0] - middle * stride)


def _run(engine: Engine, size: list[int]) -> tuple[Tensor, Tensor]:
    """Voxels of ones and what the target makes of them [i, C, j, k], with gradients between the two."""
    network: Network = engine.contract
    slab, channels = engine.feed.slab, engine.feed.channels
    i, j, k = size[0] - size[0] % slab, size[1], size[2]
    voxels = torch.ones(i, j, k, requires_grad=True)
    positions = voxels.reshape(-1, slab, j, k)
    if channels == "windows":
        count = engine.feed.tensor(torch.zeros(1, 1, 1, 1)).shape[network.inputs.index("c")]
        positions = positions.expand(count, *positions.shape)
    values = Feed((), channels, slab, network.inputs).tensor(positions)
    layer = network.module.get_submodule(engine.target_layer)
    kept: list[Tensor] = []

    def after(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        kept.append(output)
        raise _Reached

    def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(inputs[0])
        raise _Reached

    handle = (
        layer.register_forward_hook(after)
        if engine.at == "output"
        else layer.register_forward_pre_hook(before)
    )
    try:
        with as_it_was(network.module), torch.enable_grad(), _Uniform():
            network.run(network.module, values)
    except _Reached:
        pass
    finally:
        handle.remove()
    if len(kept) != 1:
        raise ValueError("the target is not reached")
    return voxels, canonical(kept[0], network.activation(engine.target_layer))
