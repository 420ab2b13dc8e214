"""The formulas: HiResCAM and Grad-CAM from activations and gradients, and their closed forms at the last
layer.

A: activations [S, C, h, w] of the target layer; G: gradient of one label's logit (before the sigmoid) with
respect to A. All results are signed and in logit units.
Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations" (arXiv 2011.08891); Selvaraju
et al., "Grad-CAM" (arXiv 1610.02391).
"""

from __future__ import annotations

import torch
from torch import Tensor


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM maps [L, S, h, w] = sum over c of G * A, from A [S, C, h, w] and G [L, S, C, h, w]."""
    return torch.einsum("scyx,lscyx->lsyx", activations, gradients)


def gradcam(activations: Tensor, alpha: Tensor) -> Tensor:
    """Grad-CAM maps [L, S, h, w] = sum over c of alpha * A, from A [S, C, h, w] and alpha [L, C]."""
    return torch.einsum("scyx,lc->lsyx", activations, alpha)


def hirescam_last_layer(activations: Tensor, weight: Tensor, groups: int) -> Tensor:
    """HiResCAM maps [L, S, h, w] where one fully connected layer [L, C, h, w] and the mean over `groups`
    follow.

    There G[l, s] = weight[l] / groups, so no backward pass is needed.
    """
    labels, channels, height, width = weight.shape
    by_cell = activations.permute(2, 3, 0, 1).reshape(height * width, -1, channels)
    weights = weight.permute(2, 3, 1, 0).reshape(height * width, channels, labels)
    maps = torch.bmm(by_cell, weights / groups)
    return maps.reshape(height, width, -1, labels).permute(3, 2, 0, 1).contiguous()


def gradcam_weights_last_layer(weight: Tensor, groups: int) -> Tensor:
    """Grad-CAM's alpha [L, C] in the situation of `hirescam_last_layer`.

    Summed in float64, since positive and negative weights nearly cancel in the mean.
    """
    return (weight.double().mean(dim=(2, 3)) / groups).to(weight.dtype)
