"""Grad-CAM: each channel's gradient is averaged over all cells before it multiplies the activation.

Selvaraju et al., "Grad-CAM" (arXiv 1610.02391), without its final ReLU: maps are signed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hirescam_cli.explain.head import one_for_all_cells
from hirescam_cli.explain.method import ChannelMethod


def weighted_sum(activations: Tensor, alpha: Tensor) -> Tensor:
    """Maps [L, n, y, x], the sum over c of alpha * A, from alpha [L, C]."""
    return torch.einsum("scyx,lc->lsyx", activations, alpha)


def share(_activations: Tensor, gradients: Tensor, counts: Tensor, total: int) -> Tensor:
    """What positions add to the mean of G over all cells."""
    return torch.einsum("lncyx,n->lc", gradients, counts) / total


def linear(activations: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The maps where G[l, s] = weight[l] / groups.

    The mean is taken in float64, since positive and negative weights nearly cancel in it.
    """
    if one_for_all_cells(weight):
        return weighted_sum(activations, weight[:, :, 0, 0] / groups)
    return weighted_sum(activations, (weight.double().mean(dim=(2, 3)) / groups).to(weight.dtype))


METHOD = ChannelMethod(
    name="gradcam",
    title="Grad-CAM",
    formula="sum over channels of the mean gradient times activation",
    share=share,
    weights=lambda mean: mean,
    linear=linear,
)
