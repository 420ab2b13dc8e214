"""Whether gradients are what they should be: along a direction they are compared with finite differences.

A network whose code takes a detour around autograd (`.data`, `detach`, a kernel of its own) gives gradients that lack a
part; every map made from them would be wrong in silence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hirescam_cli.errors import ModelError
from hirescam_cli.explain.gradients import label_chunks, products, seeds_of
from hirescam_cli.explain.replayed import Answers

_STEPS = (2e-3, 1e-3)
# By how much of the largest derivative two steps may differ for the finite difference to be trusted, and by how much
# autograd may differ from it.
_STEADY, _CUT = 0.02, 0.1
# Kinks of both kinds hide part of each other, so they explain more than is seen of them.
_SIDES = 2.0


@dataclass(frozen=True)
class Straightness:
    """`error`: largest difference between autograd and the finite difference, as a share of the largest derivative;
    `steady`: whether the finite difference itself can be trusted; `unexplained`: what of the error is left where both
    sides of a kink have their own derivative, between which autograd may choose."""

    error: float
    steady: bool
    unexplained: float

    @property
    def cut(self) -> bool:
        """Whether autograd lacks a part."""
        return self.steady and self.unexplained > _CUT

    @property
    def sound(self) -> bool:
        """Whether it surely does not."""
        return self.steady and self.error <= _CUT


def straightness(answers: Answers, activation: Tensor) -> Straightness:
    """Compare both derivatives of a few logits along a random multiple of the activation."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(activation.shape, generator=generator).to(activation.device) * 2 - 1
    direction = activation.detach() * factors
    leaf = activation.detach().clone().requires_grad_()
    with torch.enable_grad():
        answer = answers(leaf)
    low, high = next(label_chunks(answer.shape[1]))
    seeds = seeds_of(answer, 1.0 / len(answer), low, high)
    (gradient,) = products(answer, [leaf], seeds, retain=False)
    if gradient is None:
        by_autograd = torch.zeros(high - low, dtype=torch.float64, device=leaf.device)
    else:
        by_autograd = (gradient.double() * direction.double()).flatten(1).sum(dim=1)
    middle = answer.detach().double().mean(dim=0)
    (coarse, _), (fine, bend) = (
        _difference(answers, leaf.detach(), middle, direction, step, slice(low, high)) for step in _STEPS
    )
    largest = float(torch.maximum(fine.abs().max(), by_autograd.abs().max()))
    if largest == 0.0:
        return Straightness(0.0, True, 0.0)
    return Straightness(
        float((by_autograd - fine).abs().max()) / largest,
        float((coarse - fine).abs().max()) <= _STEADY * largest,
        float(((by_autograd - fine).abs() - _SIDES * bend).max()) / largest,
    )


def _difference(
    answers: Answers, at: Tensor, middle: Tensor, direction: Tensor, step: float, some: slice
) -> tuple[Tensor, Tensor]:
    """The derivative of `some` logits along a direction, and by how much it differs from either side's.

    `middle`: the logits themselves. At a kink, such as a maximum over equal values, both sides have their own.
    """
    with torch.no_grad():
        above, below = (answers(at + sign * step * direction).double().mean(dim=0) for sign in (1.0, -1.0))
    derivative, bend = (above - below) / (2 * step), (above + below - 2 * middle).abs() / (2 * step)
    return derivative[some], bend[some]


def refuse_cut(found: Straightness, layer: str) -> None:
    """Raise ModelError where the gradients of `layer` lack a part."""
    if found.cut:
        raise ModelError(
            f"The gradients of the logits with respect to {layer!r} lack a part: along one direction they are off by "
            f"{found.error:.0%} of what a finite difference gives.",
            hint="Some code above the layer leaves autograd (`.data` or `detach()`, such as a ResNet's shortcut of "
            "type A). Choose a layer above it (--target-layer), or build the network without it (shortcut_type B).",
            code="gradient-cut",
        )
