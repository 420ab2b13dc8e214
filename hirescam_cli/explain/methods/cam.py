"""CAM: the weights of the linear layer behind global average pooling, times activation.

Zhou et al., "Learning deep features for discriminative localization" (arXiv 1512.04150). It exists only for such heads;
there it is the number of cells times HiResCAM.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hirescam_cli.explain.method import HeadMethod


def linear(activations: Tensor, weight: Tensor, _groups: int) -> Tensor:
    """Sum over c of w * A, from the head's weights spread over the cells [L, C, y, x]."""
    return torch.einsum("scyx,lc->lsyx", activations, weight.sum(dim=(2, 3)))


METHOD = HeadMethod(
    name="cam",
    title="CAM",
    formula="sum over channels of the linear layer's weight times activation",
    unit="weight times activation",
    linear=linear,
)
