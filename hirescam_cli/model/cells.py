"""Where the cells of a layer lie, followed through a network's convolutions and pools without computing anything.

A window of k voxels (dilation d, stride s, p voxels of padding before it) puts its output n at
s * n + d * (k - 1) / 2 - p of what it reads. Pointwise operations and normalisers move nothing; sums and concatenations
move nothing where all their parts lie alike. Whatever else happens to a tensor, its place is taken as unknown: a wrong
place is worse than none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hirescam_cli.errors import ModelError
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.contract import Cells, Network
from hirescam_cli.placement import At

_WINDOWS: dict[str, dict[str, int | None]] = {
    "conv3d": {"kernel_size": None, "stride": 3, "padding": 4, "dilation": 5},
    "max_pool3d": {"kernel_size": 1, "stride": 2, "padding": 3, "dilation": 4},
    "avg_pool3d": {"kernel_size": 1, "stride": 2, "padding": 3, "dilation": None},
    "lp_pool3d": {"kernel_size": 2, "stride": 3, "padding": None, "dilation": None},
}
"""Of each function with a window, at which place its arguments stand."""

# fmt: off
_STILL = frozenset((
    "add", "add_", "__add__", "__iadd__", "__radd__", "sub", "mul", "mul_", "__mul__", "__imul__", "__rmul__", "div",
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "selu", "celu", "gelu", "silu", "mish", "hardtanh",
    "hardswish", "hardsigmoid", "prelu", "sigmoid", "tanh", "softplus", "clamp", "batch_norm", "instance_norm",
    "group_norm", "local_response_norm", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "feature_alpha_dropout", "cat", "concat", "clone", "contiguous", "detach", "to", "float",
))
# fmt: on
"""What leaves voxels where they are."""

_NOT_FOLLOWED = (ModelError, RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)
"""What following a network comes to where its code needs more than shapes."""

_TOLERANCE = 0.05


def follow(module: nn.Module, channels: int, layer: str, shape: Shape3, at: At = "output") -> Cells:
    """Where the cells of `layer`, of its "output" or its "input", lie on an input [1, channels, *shape] of `module`.

    Raises ModelError for a layer that there is not, that is not run once, or whose place is not known, and for an input
    that does not fit.
    """
    found = dict(module.named_modules()).get(layer)
    if found is None or layer == "":
        raise ModelError(
            f"The network has no layer {layer!r}.",
            hint="`hirescam model show` lists the layers that can be named.",
            code="target-layer",
        )
    places = _Places()
    seen: list[Cells | None] = []

    def after(_module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        seen.append(places.of(output if at == "output" else inputs[0]))

    handle = found.register_forward_hook(after)
    try:
        _run(module, places, channels, shape)
    finally:
        handle.remove()
    if len(seen) != 1:
        times = "never" if not seen else f"{len(seen)} times"
        raise ModelError(
            f"The layer {layer!r} is run {times} in a pass, so it has no one activation to explain.",
            hint="Name a module that is run once, such as the block around it (--target-layer).",
            code="target-layer",
        )
    if seen[0] is None:
        raise ModelError(
            f"Where the cells of the layer {layer!r} lie is not known: what comes before it is more than convolutions, "
            "pools and pointwise operations.",
            hint="Name a layer before that (--target-layer).",
            code="target-layer",
        )
    return seen[0]


def refuse_misplaced(network: Network, channels: int, layer: str, shape: Shape3, at: At) -> None:
    """Raise ModelError where a layer's cells can be followed and lie elsewhere than the architecture declares.

    `channels`: of the network's input. Networks that take their axes in another order are not followed.
    """
    if network.inputs != "ncijk":
        return
    try:
        declared = network.place(layer, shape, at)
        found = follow(_shell(network.module), channels, layer, shape, at)
    except _NOT_FOLLOWED:
        return
    said = [*declared.stride, *declared.offset]
    if all(abs(a - b) <= _TOLERANCE for a, b in zip(said, [*found.stride, *found.offset], strict=True)):
        return
    raise ModelError(
        f"The architecture says that the cells of the {at} of {layer!r} have stride {_shown(declared.stride)} "
        f"and offset {_shown(declared.offset)} voxels; followed through its layers they have stride "
        f"{_shown(found.stride)} and offset {_shown(found.offset)}. Maps would lie in the wrong place.",
        hint="Correct `cells` of the architecture; `hirescam model doctor` measures where they lie.",
        code="target-layer",
    )


def _shown(numbers: Sequence[float]) -> str:
    return f"({', '.join(f'{number:g}' for number in numbers)})"


def _shell(module: nn.Module) -> nn.Module:
    """A copy without values: nothing that a pass over shapes leaves in a module is left in the network."""
    empty = {id(p): nn.Parameter(torch.empty_like(p, device="meta"), False) for p in module.parameters()}
    buffers = {id(value): torch.empty_like(value, device="meta") for value in module.buffers()}
    return copy.deepcopy(module, {**empty, **buffers})


def _run(module: nn.Module, places: _Places, channels: int, shape: Shape3) -> None:
    """One pass in which only shapes are computed."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    empty = {name: torch.empty_like(value, device="meta") for name, value in tensors}
    kind = next((value.dtype for value in empty.values() if value.is_floating_point()), torch.float32)
    values = torch.empty(1, channels, *shape, device="meta", dtype=kind)
    places.put(values, Cells((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    try:
        with _evaluating(module), torch.no_grad(), places:
            torch.func.functional_call(module, empty, (values,))
    except (RuntimeError, ValueError, TypeError, NotImplementedError, IndexError) as error:
        raise ModelError(
            f"The network cannot take an input of {channels} channel{'s' if channels > 1 else ''} and "
            f"{' x '.join(map(str, shape))} voxels: {str(error).splitlines()[0]}.",
            hint="Correct the shape in [[preparation]], the channels in [input] or the architecture's parameters.",
            code="model-parameters",
        ) from error


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


class _Places(TorchFunctionMode):
    """While it is entered, notes the place of each tensor that is made from one whose place is known."""

    def __init__(self) -> None:
        super().__init__()
        # The tensors are kept, so that no other one is given the identity of one that has gone.
        self._known: dict[int, tuple[Tensor, Cells]] = {}

    def put(self, tensor: Tensor, place: Cells) -> None:
        """State a place."""
        self._known[id(tensor)] = (tensor, place)

    def of(self, value: object) -> Cells | None:
        """The place of a tensor, if it is known."""
        found = self._known.get(id(value))
        return None if found is None else found[1]

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call `func`, and follow what it does."""
        given = dict(kwargs or {})
        result = func(*args, **given)
        first = result[0] if isinstance(result, tuple) and result else result
        if isinstance(first, Tensor) and first.ndim == 5:
            place = self._after(_Call(func, args, given), first)
            if place is None:
                self._known.pop(id(first), None)
            else:
                self.put(first, place)
        return result

    def _after(self, call: _Call, result: Tensor) -> Cells | None:
        name = call.name
        if name in _WINDOWS:
            before = self.of(call.argument("input", 0))
            return None if before is None else _through_window(before, call)
        if name == "pad":
            before, widths = self.of(call.argument("input", 0)), call.argument("pad", 1)
            return None if before is None else _padded(before, widths)
        if name not in _STILL:
            return None
        parts = [self.of(tensor) for tensor in call.tensors() if tensor.shape[2:] == result.shape[2:]]
        known = [place for place in parts if place is not None]
        return known[0] if known and all(place == known[0] for place in known) else None


@dataclass(frozen=True)
class _Call:
    """A function and what it was called with."""

    func: Callable[..., object]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    @property
    def name(self) -> str:
        """The function's, without what torch puts around it."""
        return getattr(self.func, "__name__", "").removeprefix("_").removesuffix("_with_indices")

    def argument(self, name: str, place: int | None, default: object = None) -> object:
        """An argument by its name or its place."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[place] if place is not None and place < len(self.args) else default

    def tensors(self) -> Iterator[Tensor]:
        """The tensors with three spatial axes among the arguments, and in lists of them."""
        for value in (*self.args, *self.kwargs.values()):
            for item in value if isinstance(value, list | tuple) else (value,):
                if isinstance(item, Tensor) and item.ndim == 5:
                    yield item


def _three(value: object) -> tuple[int, int, int]:
    if isinstance(value, int):
        return (value, value, value)
    assert isinstance(value, Sequence)
    i, j, k = (int(number) for number in (value if len(value) == 3 else (value[0],) * 3))
    return (i, j, k)


def _through_window(before: Cells, call: _Call) -> Cells:
    """Where the outputs of a convolution or pool lie, from where its inputs lie."""
    where = _WINDOWS[call.name]
    weight = call.argument("weight", 1)
    kernel = _three(
        tuple(weight.shape[2:])
        if call.name == "conv3d" and isinstance(weight, Tensor)
        else call.argument("kernel_size", where["kernel_size"])
    )
    usual: object = 1 if call.name == "conv3d" else kernel
    step = _three(call.argument("stride", where["stride"]) or usual)
    spread = _three(call.argument("dilation", where["dilation"], 1))
    reach = [d * (k - 1) for d, k in zip(spread, kernel, strict=True)]
    padding = call.argument("padding", where["padding"], 0)
    if isinstance(padding, str):
        first = [total // 2 if padding == "same" else 0 for total in reach]
    else:
        first = list(_three(padding))
    axes = range(3)
    i, j, k = (before.offset[a] + before.stride[a] * (reach[a] / 2 - first[a]) for a in axes)
    di, dj, dk = (before.stride[a] * step[a] for a in axes)
    return Cells((di, dj, dk), (i, j, k))


def _padded(before: Cells, widths: object) -> Cells | None:
    """The same after voxels were put before the first one: widths from the last axis on, before and after."""
    if not isinstance(widths, Sequence) or len(widths) % 2 or len(widths) > 6:
        return None
    first = [0, 0, 0]
    for axis, width in enumerate(widths[::2]):
        first[2 - axis] = int(width)
    i, j, k = (before.offset[a] - before.stride[a] * first[a] for a in range(3))
    return Cells(before.stride, (i, j, k))
