"""Ablation-CAM: each channel's weight is the share of the logit that is lost without it.

Desai and Ramaswamy, "Ablation-CAM" (WACV 2020), without its final ReLU: maps are signed. Like the paper's, its weights
are relative to the logit, so that for a logit below 0 evidence against a finding is positive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hirescam_cli.explain.method import AblationMethod


def weights(logits: Tensor, without: Tensor) -> Tensor:
    """(y - y without a channel) / y [L, C]; 0 where the logit is 0."""
    lost = logits[:, None] - without
    return torch.where(logits[:, None] == 0, torch.zeros_like(lost), lost / logits[:, None])


METHOD = AblationMethod(
    name="ablation-cam",
    title="Ablation-CAM",
    formula="sum over channels of the share of the logit lost without the channel, times activation",
    unit="activation",
    weights=weights,
)
