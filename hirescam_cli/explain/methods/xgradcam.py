"""XGrad-CAM: each channel's weight is its gradient averaged by activation, so that the map's sum is HiResCAM's.

Fu et al., "Axiom-based Grad-CAM" (arXiv 2008.02312); the same as Respond-CAM, made for 3-D (arXiv 1806.00102).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hirescam_cli.explain.method import ChannelMethod


def share(activations: Tensor, gradients: Tensor, counts: Tensor, _total: int) -> Tensor:
    """What positions add to the sums of G * A and of A over all cells [2, L, C]."""
    products = torch.einsum("lncyx,ncyx,n->lc", gradients, activations, counts)
    sums = torch.einsum("ncyx,n->c", activations, counts)
    return torch.stack([products, sums.expand_as(products)])


def weights(sums: Tensor) -> Tensor:
    """The ratio of the two; 0 for a channel whose activations add up to nothing."""
    products, totals = sums
    return torch.where(totals == 0, torch.zeros_like(products), products / totals)


METHOD = ChannelMethod(
    name="xgradcam",
    title="XGrad-CAM",
    formula="sum over channels of the gradient averaged by activation, times activation",
    share=share,
    weights=weights,
)
