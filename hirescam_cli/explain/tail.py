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
    """Every bias parameter of a module and those in it, once each; they are made to require gradients.

    A batch norm in evaluation mode adds bias - mean * weight / sqrt(variance + eps); one without parameters is given
    a weight of 1 and a bias of 0, so that what it subtracts is accounted for too.
    """
    terms: list[BiasTerm] = []
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            terms += _of_batch_norm(part)
            continue
        for name, parameter in part.named_parameters(recurse=False):
            known = any(parameter is term.parameter for term in terms)
            if (name == "bias" or name.endswith("_bias")) and not known:
                parameter.requires_grad_(True)
                terms.append(BiasTerm(parameter, parameter.detach()))
    return terms


def _of_batch_norm(norm: _BatchNorm) -> list[BiasTerm]:
    bias: Tensor | None = norm.bias
    mean, variance = norm.running_mean, norm.running_var
    if not norm.track_running_stats or mean is None or variance is None:
        return [] if bias is None else [BiasTerm(bias.requires_grad_(True), bias.detach())]
    if bias is None:
        norm.weight = nn.Parameter(torch.ones_like(variance), requires_grad=False)
        norm.bias = bias = nn.Parameter(torch.zeros_like(mean))
    scale = norm.weight.detach() * torch.rsqrt(variance + norm.eps)
    return [BiasTerm(bias.requires_grad_(True), bias.detach() - mean * scale)]


def bias_part(terms: list[BiasTerm], gradients: tuple[Tensor | None, ...], labels: int) -> Tensor:
    """Their sum [labels], float64, from the gradients [labels, ...] of as many logits to each parameter."""
    total = torch.zeros(labels, dtype=torch.float64)
    for term, gradient in zip(terms, gradients, strict=True):
        if gradient is not None:
            products = (gradient.double() * term.shift.double()).reshape(labels, -1)
            total += products.sum(dim=1).cpu()
    return total
