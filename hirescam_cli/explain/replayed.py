"""Methods that ask what follows the target again: along a way from a blank volume, or without one channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from hirescam_cli.explain.feed import canonical, channel_axis
from hirescam_cli.explain.gradients import label_chunks, products, seeds_of, without_gradient
from hirescam_cli.explain.method import AblationMethod, PathMethod

if TYPE_CHECKING:
    from hirescam_cli.explain.parts import Parts
    from hirescam_cli.explain.replay import Replay

# From a target's activation to the answer of one chunk.
Answers: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a blank volume gives: `activation` as the network has it, for one position where positions are independent,
    and `logits` [L]."""

    activation: Tensor
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Chunk:
    """A chunk as it went through the network. `counts` [rows]: how often each row of the answer stands in the scan,
    `weight`: by what it counts in the logit."""

    values: Tensor
    activation: Tensor
    answer: Tensor
    counts: Tensor
    weight: float


class Replayed:
    """What replays of one chunk give: `maps` [L, n, y, x] of path methods, `without` [L, C]: the part of the logit that
    the chunk gives without each channel."""

    def __init__(self, parts: Parts, replay: Replay, chunk: Chunk) -> None:
        self.parts, self.replay, self.chunk = parts, replay, chunk
        self.axes = parts.engine.contract.activation(parts.engine.target_layer)
        self.maps: dict[str, Tensor] = {}
        self.without: Tensor | None = None

    def take(self) -> None:
        """Run the replays that the methods of the run need."""
        engine, chunk = self.parts.engine, self.chunk

        def again() -> Tensor:
            return engine.answer(chunk.values)

        self.replay.check(again, chunk.activation, chunk.answer, again)
        for method in self.parts.methods:
            if isinstance(method, PathMethod):
                self.maps[method.name] = self._along(method)
            elif isinstance(method, AblationMethod) and self.without is None:
                self.without = self._ablated()

    def _answer(self, activation: Tensor) -> Tensor:
        with self.replay.instead(activation):
            return self.parts.engine.answer(self.chunk.values).float()

    def _along(self, method: PathMethod) -> Tensor:
        """Maps with gradients averaged by Gauss-Legendre quadrature."""
        assert self.parts.baseline is not None
        end, start = self.chunk.activation, self.parts.baseline.activation
        way = end - start
        moved = canonical(way, self.axes).float()
        points, shares = np.polynomial.legendre.leggauss(method.steps)
        total: Tensor | None = None
        for point, share in zip((points + 1) / 2, shares / 2, strict=True):
            at = (start + float(point) * way).requires_grad_()
            with torch.enable_grad():
                answer = self._answer(at)
            found = []
            for low, high in label_chunks(answer.shape[1]):
                seeds = seeds_of(answer, self.chunk.weight, low, high)
                (gradient,) = products(answer, [at], seeds, retain=high < answer.shape[1])
                if gradient is None:
                    raise without_gradient(self.parts.engine.target_layer)
                found.append(method.maps(moved, canonical(gradient, self.axes, leading=1).float()))
            step = float(share) * torch.cat(found)
            total = step if total is None else total + step
        assert total is not None
        return total

    def _ablated(self) -> Tensor:
        axis = channel_axis(self.axes)
        activation, counts = self.chunk.activation, self.chunk.counts.to(self.chunk.answer.device)
        without = []
        for channel in range(1 if axis is None else activation.shape[axis]):
            less = activation.clone()
            (less if axis is None else less.select(axis, channel)).zero_()
            with torch.no_grad():
                answer = self._answer(less)
            without.append((answer * counts[:, None]).sum(dim=0) * self.chunk.weight)
        return torch.stack(without, dim=1)
