"""HiResCAM: gradient times activation, summed over channels.

Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations" (arXiv 2011.08891).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hirescam_cli.explain.head import one_for_all_cells
from hirescam_cli.explain.method import CellMethod


def maps(activations: Tensor, gradients: Tensor) -> Tensor:
    """Sum over c of G * A."""
    return torch.einsum("scyx,lscyx->lsyx", activations, gradients)


def linear(activations: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The same where G[l, s] = weight[l] / groups: one product for each cell of a position, or one for all."""
    if one_for_all_cells(weight):
        return torch.einsum("scyx,lc->lsyx", activations, weight[:, :, 0, 0] / groups)
    labels, channels, height, width = weight.shape
    by_cell = activations.permute(2, 3, 0, 1).reshape(height * width, -1, channels)
    weights = weight.permute(2, 3, 1, 0).reshape(height * width, channels, labels)
    found = torch.bmm(by_cell, weights / groups)
    return found.reshape(height, width, -1, labels).permute(3, 2, 0, 1).contiguous()


METHOD = CellMethod(
    name="hirescam",
    title="HiResCAM",
    formula="sum over channels of gradient times activation",
    maps=maps,
    linear=linear,
)
