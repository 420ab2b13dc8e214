"""LayerCAM: activation times the positive part of its own gradient, summed over channels.

Jiang et al., "LayerCAM: Exploring hierarchical class activation maps for localization" (IEEE TIP 2021), without its
final ReLU: maps are signed where activations are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hirescam_cli.explain.method import CellMethod


def maps(activations: Tensor, gradients: Tensor) -> Tensor:
    """Sum over c of ReLU(G) * A."""
    return torch.einsum("scyx,lscyx->lsyx", activations, gradients.clamp(min=0.0))


METHOD = CellMethod(
    name="layercam",
    title="LayerCAM",
    formula="sum over channels of the positive part of the gradient times activation",
    maps=maps,
)
