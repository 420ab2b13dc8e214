"""What the part above the target adds to a logit by itself: its biases times the logit's derivative to them.

With normalisers in evaluation mode and piecewise linear activations, logit = sum of gradient times activation over the
target's cells + this bias part (`Explanation.biases`); for a linear head it is the head's bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True, eq=False)
class BiasTerm:
    """A parameter that is added somewhere, and what in effect is added there."""

    parameter: Tensor
    shift: Tensor


def bias_terms(module: nn.Module) -> list[BiasTerm]:
    """Every additive parameter of a module and those in it; they are made to require gradients.

    A batch norm in evaluation mode adds bias - mean * weight / sqrt(variance + eps).
    """
    terms = []
    for part in module.modules():
        bias = getattr(part, "bias", None)
        if not isinstance(bias, nn.Parameter):
            continue
        shift = bias.detach()
        if isinstance(part, _BatchNorm) and part.running_mean is not None and part.running_var is not None:
            scale = torch.rsqrt(part.running_var + part.eps)
            weight = part.weight if part.weight is not None else torch.ones_like(scale)
            shift = shift - part.running_mean * weight.detach() * scale
        bias.requires_grad_(True)
        terms.append(BiasTerm(bias, shift))
    return terms


def bias_part(terms: list[BiasTerm], gradients: tuple[Tensor | None, ...], labels: int) -> Tensor:
    """Their sum [labels], float64, from the gradients [labels, ...] of as many logits to each parameter."""
    total = torch.zeros(labels, dtype=torch.float64)
    for term, gradient in zip(terms, gradients, strict=True):
        if gradient is not None:
            products = (gradient.double() * term.shift.double()).reshape(labels, -1)
            total += products.sum(dim=1).cpu()
    return total
