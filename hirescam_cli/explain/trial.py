"""What can be found out about a network before any scan is read: whether it runs and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hirescam_cli.errors import ModelError
from hirescam_cli.explain.drift import sample
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.feed import canonical
from hirescam_cli.explain.parts import only
from hirescam_cli.explain.passes import captured, deterministic
from hirescam_cli.explain.replay import Replay
from hirescam_cli.explain.straight import Straightness, straightness
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.prepare.preparation import Preparation

# What a network is tried on where the preparation does not fix the size of the input.
USUAL_SHAPE = (96, 192, 192)
_GROUPS = 2
# Of the standard deviation of all values.
_NOISE = 0.05


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


class _Asked(nn.Module):
    """A network as the engine asks it, so that it can be run with other parameters."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.inner, self._run = engine.network, engine.contract.run

    def forward(self, values: Tensor) -> Tensor:
        """The answer."""
        return self._run(self.inner, values)


def dry_run(engine: Engine, shape: Shape3, labels: int) -> Found | None:
    """Run a network on tensors without values, which costs nothing. Raises ModelError for what does not fit.

    None for a network that needs values to run.
    """
    i, j, k = shape
    groups = _groups(engine, (i, j, k))
    positions = np.zeros((groups, engine.feed.slab, j, k), dtype=np.int16)
    asked = _Asked(engine)
    tensors = {**dict(asked.named_parameters()), **dict(asked.named_buffers())}
    empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    values = engine.values(positions, np.arange(groups)).to("meta")
    with captured(engine.layer, engine.at, leaf=False) as kept:
        try:
            answer = torch.func.functional_call(asked, empty, (values,))
        except NotImplementedError:
            return None
        except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError) as error:
            if "meta" in str(error).lower():
                return None
            raise _does_not_run(tuple(values.shape), error) from error
    return _checked(engine, answer, kept, labels)


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
        except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError) as error:
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
    canonical(target, axes)
    return Found(tuple(answer.shape), tuple(target.shape))


def _does_not_run(shape: tuple[int, ...], error: Exception) -> ModelError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ModelError(
        f"The network does not take an input of shape {list(shape)}: {lines[0][:300]}",
        hint="Correct the shape in [[preparation]], [input] channels, or the architecture's [parameters].",
        code="model-input",
    )
