"""What training minimises: cross-entropy over known labels, and a cost of evidence where no label may have any.

The mask loss is that of AxialNet's authors (arXiv 2111.12215), on HiResCAM itself, or one whose aim is no evidence
rather than evidence of minus infinity.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def classification_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy of logits [L] over the labels whose truth [L] is 0 or 1; NaN: unknown, of no effect."""
    known = ~truth.isnan()
    if not known.any():
        return logits.sum() * 0.0
    return F.binary_cross_entropy_with_logits(logits[known], truth[known])


def forbidden_cells(truth: Tensor, allowed: Tensor, marked: Tensor) -> Tensor:
    """Where a label must have no evidence [L, i, j, k].

    `truth` [L]; `allowed` [L, i, j, k]: cells that the masks of a label touch; `marked` [L]: whether it has masks.
    All cells of an absent label; those outside its masks of a present one; none of one that is present without masks,
    or unknown.
    """
    shape = (-1, 1, 1, 1)
    absent = (truth == 0).reshape(shape)
    present = ((truth == 1) & marked).reshape(shape)
    return absent | (present & ~allowed)


def mask_loss(kind: str, evidence: Tensor, forbidden: Tensor) -> Tensor:
    """Mean cost over the forbidden cells [L, i, j, k] of all labels; 0 where there are none.

    `evidence` [L, i, j, k]: the map before any ReLU in the units of a position's score (see `evidence.scaled_map`).
    "papers": softplus, whose floor is minus infinity; "two-sided": the square of its positive part, 0 at 0.
    """
    values = evidence[forbidden]
    if not values.numel():
        return evidence.sum() * 0.0
    if kind == "papers":
        return F.softplus(values).mean()
    return torch.relu(values).square().mean()
