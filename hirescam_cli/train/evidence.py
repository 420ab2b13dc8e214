"""HiResCAM of a pass that is trained on: the map keeps its own derivative, so that a loss may be taken of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hirescam_cli.explain.feed import canonical
from hirescam_cli.explain.head import behind_a_mean


def scaled_map(
    activation: Tensor, axes: str, logits: Tensor, head: nn.Module | None, *, scored: bool
) -> Tensor:
    """HiResCAM of every label [L, i, j, k], times the number of scores of which the logit is the mean.

    `activation`: what the target gave, with `axes` (see `Network.activation`); `logits` [L], made from it. `scored`:
    the logit is the mean of a score for each of the n positions along i, and the map is multiplied by n; else by the
    number of its cells. For AxialNet these are the authors' units, logits of a slice group.
    `head`: where it is linear, the map is one contraction of weight and activation, without a tensor of the size
    labels x activation; else it is the activation times a gradient that can itself be differentiated.
    """
    values = canonical(activation, axes)
    cells = values.shape[2] * values.shape[3]
    if head is not None:
        weight = head.get_parameter("weight")
        values = values.to(weight.dtype)
        if behind_a_mean(head):
            return torch.einsum("icjk,lc->lijk", values, weight.flatten(1)) / (cells if scored else 1)
        return torch.einsum("icjk,lcjk->lijk", values, weight)
    scale = len(values) * (1 if scored else cells)
    maps = []
    for logit in logits:
        (gradient,) = torch.autograd.grad(logit, activation, create_graph=True)
        maps.append((values * canonical(gradient, axes)).sum(dim=1))
    return torch.stack(maps) * scale


def usable_head(module: nn.Module | None, cells: tuple[int, int], *, scored: bool) -> nn.Module | None:
    """The head, if `scaled_map` may take the map from its weight; None where autograd has to be asked."""
    if module is None or behind_a_mean(module):
        return module
    covers = isinstance(module, nn.Conv2d) and module.groups == 1 and tuple(module.kernel_size) == cells
    return module if covers and scored else None
