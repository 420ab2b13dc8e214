"""What can be found out about a network before any scan is read: whether it runs and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hirescam_cli.errors import ModelError, first_line
from hirescam_cli.explain.drift import sample
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.feed import canonical
from hirescam_cli.explain.head import linear_head
from hirescam_cli.explain.own_copy import copied
from hirescam_cli.explain.parts import only
from hirescam_cli.explain.passes import captured, deterministic
from hirescam_cli.explain.replay import Replay
from hirescam_cli.explain.shortage import is_out_of_memory
from hirescam_cli.explain.state import as_it_was
from hirescam_cli.explain.straight import Straightness, straightness
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.prepare.preparation import Preparation

# What a network is tried on where the preparation does not fix the size of the input.
USUAL_SHAPE = (96, 192, 192)
_GROUPS = 2
# Of the standard deviation of all values.
_NOISE = 0.05
# What code raises for an input that it does not fit.
_UNFIT = (RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError)
# By how much of a logit the engine's copy may differ from the network itself: by rounding; and where it is refused.
_ROUNDING, _REFUSED = 1e-4, 1e-3


class Found(NamedTuple):
    """Shapes of the answer and of the target's tensor, as the network has them."""

    answer: tuple[int, ...]
    target: tuple[int, ...]


def shape_of(preparation: Preparation) -> Shape3:
    """The size of input that a network is tried on: what the preparation fixes of it, and the usual elsewhere."""
    return preparation.likely_shape(USUAL_SHAPE)


def _groups(engine: Engine, shape: Shape3) -> int:
    groups = shape[0] // engine.feed.slab
    return min(_GROUPS, groups) if engine.contract.by_slices else groups


def made_up(engine: Engine, shape: Shape3) -> Voxels:
    """Positions of a made-up body of `shape`; a few of them where positions are independent."""
    i, j, k = shape
    hu = sample(_groups(engine, (i, j, k)), engine.feed.slab, (j, k))
    return engine.feed.positions(engine.feed.from_hu(hu.reshape(-1, j, k)))


def without_ties(values: Tensor) -> Tensor:
    """Network values, uneven where they were of one value: behind a maximum over equal values there is no derivative.

    By as much as noise is in a scan; in air too, and where a window cuts values off.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(values.shape, generator=generator).to(values.device)
    return values + _NOISE * values.std() * noise


def dry_run(engine: Engine, shape: Shape3, labels: int) -> Found | None:
    """Run a network on tensors without values, which costs nothing. Raises ModelError for what does not fit.

    None for a network that needs values to run. What runs is a copy of the network as it was given, and thrown away.
    """
    i, j, k = shape
    groups = _groups(engine, (i, j, k))
    positions = np.zeros((groups, engine.feed.slab, j, k), dtype=np.int16)
    values = engine.feed.tensor(torch.from_numpy(positions)).to("meta")
    network = _without_values(engine.contract.module)
    layer = network.get_submodule(engine.target_layer)
    with captured(layer, engine.at, leaf=False) as kept:
        try:
            answer = engine.contract.run(network, values)
        except NotImplementedError:
            return None
        except Exception as error:
            if "meta" in str(error).lower() or not isinstance(error, _UNFIT):
                return None
            raise _does_not_run(tuple(values.shape), error) from error
    return _checked(engine, answer, kept, labels)


def _without_values(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that holds nothing but shapes."""
    tensors = [*module.parameters(), *module.buffers()]
    empty = [torch.empty_like(tensor, device="meta", requires_grad=False) for tensor in tensors]
    parameters = [
        nn.Parameter(blank, requires_grad=False) if isinstance(tensor, nn.Parameter) else blank
        for tensor, blank in zip(tensors, empty, strict=True)
    ]
    return copied(module, dict(zip(tensors, parameters, strict=True))).eval()


def rewriting_holds(engine: Engine, plain: Callable[[], Engine], shape: Shape3) -> bool:
    """Whether `engine`, in fp32, answers what the network itself does; False where `plain()`, without rewriting, does.

    Raises ModelError where neither does, and for a network that does not run.
    """
    positions = made_up(engine, shape)
    expected = _itself(engine, positions)
    if not isinstance(expected, Tensor):
        return True
    rewritten = _apart(engine, positions, expected)
    if rewritten.by <= _ROUNDING:
        return True
    bare = _apart(plain(), positions, expected)
    least = min(rewritten.by, bare.by)
    if least > _REFUSED and not _is_random(engine, positions, expected):
        raise _answers_otherwise(bare)
    return rewritten.by <= bare.by and rewritten.by < inf


def trunk_follows(engine: Engine, shape: Shape3) -> bool:
    """Whether a module of the trunk is run after the target has been reached."""
    positions = made_up(engine, shape)
    reached, follows = [], []

    def at_target(*_: object) -> None:
        reached.append(True)

    def in_trunk(*_: object) -> None:
        follows.extend(reached)

    at_input = engine.at == "input"
    watch = engine.layer.register_forward_pre_hook if at_input else engine.layer.register_forward_hook
    trunk = [engine.network.get_submodule(name) for name in engine.contract.trunk]
    handles = [watch(at_target), *(part.register_forward_pre_hook(in_trunk) for part in trunk)]
    try:
        with torch.no_grad(), deterministic():
            engine.answer(engine.values(positions, np.arange(len(positions))))
    finally:
        for handle in handles:
            handle.remove()
    return bool(follows)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers that begin at `seed`; those of others go on as they would have."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


class _Apart(NamedTuple):
    """By how much an answer differs, as a share of the largest logit and 1; or what came instead of one."""

    by: float
    error: Exception | None = None


def _itself(engine: Engine, positions: Voxels, seed: int = 0) -> object:
    """What the borrowed network answers on the engine's device, as it was given. Raises ModelError if it does not."""
    module = engine.contract.module
    if engine.device.type != "cpu":
        module = copied(module).to(engine.device)
    values = engine.feed.tensor(torch.from_numpy(np.ascontiguousarray(positions)).to(engine.device))
    try:
        with as_it_was(module), deterministic(), _seeded(seed):
            return engine.contract.run(module, values)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _does_not_run(tuple(values.shape), error) from error


def _apart(engine: Engine, positions: Voxels, expected: Tensor) -> _Apart:
    values = engine.values(positions, np.arange(len(positions)))
    try:
        with torch.no_grad(), deterministic(), _seeded(0):
            found = engine.answer(values)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return _Apart(inf, error)
    return _Apart(_difference(found, expected))


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return inf
    if not expected.isfinite().all():
        # Said of each scan by itself.
        return 0.0
    apart = float((found.double() - expected.double()).abs().max()) / (1.0 + float(expected.abs().max()))
    return apart if apart < inf else inf


def _is_random(engine: Engine, positions: Voxels, expected: Tensor) -> bool:
    """Whether the network itself answers otherwise with other random numbers: the doctor says so."""
    other = _itself(engine, positions, seed=1)
    return isinstance(other, Tensor) and _difference(other, expected) > _ROUNDING


def _answers_otherwise(found: _Apart) -> ModelError:
    what = "does not run" if found.error else f"answers otherwise (by {found.by:.1e} of the largest logit)"
    why = f": {first_line(found.error)}" if found.error else ""
    return ModelError(
        f"The copy of the network that hirescam works on {what}{why}.",
        hint="Something in it does not survive copy.deepcopy, requires_grad_(False) or ReLUs that are not in place, "
        "such as a function or hook that refers to the network it was made for.",
        code="model-copy",
    )


def run(
    engine: Engine, shape: Shape3, labels: int, *, replays: bool = True
) -> tuple[Found, Straightness | None]:
    """Run a network on a made-up body, and where maps need gradients compare those with finite differences.

    `replays`: whether what follows the target must be able to run again by itself. Raises ModelError for what does not
    fit.
    """
    positions = made_up(engine, shape)
    values = without_ties(engine.values(positions, np.arange(len(positions))))
    replay = Replay(engine.network, engine.target_layer, engine.at)
    with deterministic(), captured(engine.layer, engine.at, leaf=False) as kept, replay.recording():
        try:
            answer = engine.answer(values)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _does_not_run(tuple(values.shape), error) from error
    found = _checked(engine, answer, kept, labels)
    if engine.closed_form:
        return found, None
    activation = kept[0]

    def again() -> Tensor:
        return engine.answer(values)

    def answers(at: Tensor) -> Tensor:
        with replay.instead(at):
            return again().float()

    def whole_passes(at: Tensor) -> Tensor:
        with _instead(engine, at):
            return again().float()

    with deterministic():
        try:
            replay.check(again, activation, answer.float().clone(), again)
        except ModelError:
            if replays:
                raise
            return found, straightness(whole_passes, activation)
        return found, straightness(answers, activation)


@contextmanager
def _instead(engine: Engine, activation: Tensor) -> Iterator[None]:
    """While this lasts, the target has `activation`, whatever comes before it."""
    if engine.at == "output":
        handle = engine.layer.register_forward_hook(lambda *_: activation.clone())
    else:
        handle = engine.layer.register_forward_pre_hook(lambda _, inputs: (activation.clone(), *inputs[1:]))
    try:
        yield
    finally:
        handle.remove()


def _checked(engine: Engine, answer: object, kept: list[Tensor], labels: int) -> Found:
    if not isinstance(answer, Tensor):
        raise ModelError(
            f"The network answers with a {type(answer).__name__}, not with a tensor of logits.",
            hint="Let the architecture's `run` take the logits from what the module gives.",
            code="model-output",
        )
    target = only(kept, engine.target_layer)
    if answer.ndim != 2 or answer.shape[1] != labels:
        raise ModelError(
            f"The network answers with a tensor of shape {list(answer.shape)}, and the model lists {labels} labels.",
            hint="[labels] of the model file must have one name for each logit, in the network's order.",
            code="model-output",
        )
    if engine.contract.answer == "logits" and len(answer) != 1:
        raise ModelError(
            f"The network answers with {len(answer)} rows of logits for one scan.",
            hint="If they are scores of slices whose mean is the logit, its architecture must say so.",
            code="model-output",
        )
    axes = engine.contract.activation(engine.target_layer)
    if not isinstance(target, Tensor) or target.ndim != len(axes):
        shape = list(target.shape) if isinstance(target, Tensor) else type(target).__name__
        raise ModelError(
            f"The layer {engine.target_layer!r} gives {shape}, which are not the axes {axes!r} of its architecture.",
            hint="Name a layer whose output is a map (--target-layer); `hirescam model show --layers` lists them.",
            code="target-layer",
        )
    batch = [size for axis, size in zip(axes, target.shape, strict=True) if axis == "n"]
    if batch not in ([], [1]):
        raise ModelError(
            f"The layer {engine.target_layer!r} gives {list(target.shape)}, of axes {axes!r}: a batch of {batch[0]} "
            "for one scan.",
            hint="Views of a scan that ride in the batch (test-time augmentation) cannot share one map: explain the "
            "network without them.",
            code="target-layer",
        )
    if engine.closed_form:
        _check_head(engine, canonical(target, axes))
    return Found(tuple(answer.shape), tuple(target.shape))


def _check_head(engine: Engine, activations: Tensor) -> None:
    """Raise ModelError for a linear head that does not fit what it is said to stand on."""
    name = engine.contract.linear_head
    assert name is not None
    channels, cells = activations.shape[1], (activations.shape[2], activations.shape[3])
    if linear_head(engine.contract.module.get_submodule(name), channels, cells) is None:
        raise ModelError(
            f"{name} is not linear in the {channels} channels and {cells[0]} x {cells[1]} cells of "
            f"{engine.target_layer}.",
            hint="Correct `linear_head` of the architecture (it may be left out), or the preparation's shape.",
            code="model-parameters",
        )


def _does_not_run(shape: tuple[int, ...], error: Exception) -> ModelError:
    lines = str(error).strip().splitlines()
    why = lines[0][:300] if lines and isinstance(error, _UNFIT) else first_line(error)
    return ModelError(
        f"The network does not take an input of shape {list(shape)}: {why}",
        hint="Correct the shape in [[preparation]], [input] channels, or the architecture's [parameters].",
        code="model-input",
    )
