"""What training minimises: cross-entropy over known labels, and a cost of evidence where no label may have any.

The mask loss is that of AxialNet's authors (arXiv 2111.12215), on HiResCAM itself, or one whose aim is no evidence
rather than evidence of minus infinity, or one for masks of the lesions themselves, which asks for evidence inside too.
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


LESION_POSITIONS = 4
_MARGIN, _INSIDE, _SCORE, _BELOW = 3.0, 3.0, 2.0, 0.5
_LEAST_WEIGHT = 0.1


def lesion_loss(worth: Tensor, rest: Tensor, cells: Tensor, weight: Tensor, known: Tensor) -> Tensor:
    """Mean cost over labels and positions that are known [L, n]; 0 where none is.

    `worth` [L, n, j, k]: LESION_POSITIONS times what each cell adds to the logit, so what a lesion would add that fills
    so many positions alike; `rest` [L]: the logit without any evidence. `cells`, `weight`, `known`: see `Lesions`.
    Outside the lesions evidence is held below a margin of 3 logits in each cell; inside, all cells of a position
    together above it, the more so the more of the lesion is there; their sum with the rest is held to whether the
    lesion is there (not asked where a tenth or less of it is). A position shall not speak against a label: a sum below
    0 costs its square, for all positions of a scan together would.
    """
    pairs = known.sum()
    if not pairs:
        return worth.sum() * 0.0
    valid = known[:, :, None, None]
    outside = F.softplus(worth - _MARGIN) * (valid & ~cells)
    inside = weight * F.softplus(_MARGIN - (worth * cells).sum(dim=(2, 3))) * known
    present = cells.any(dim=3).any(dim=2)
    asked = known & (~present | (weight > _LEAST_WEIGHT))
    score = worth.sum(dim=(2, 3)) + rest[:, None]
    error = F.binary_cross_entropy_with_logits(score, present.to(score.dtype), reduction="none") * asked
    below = torch.relu(-worth.sum(dim=(2, 3))).square() * known
    total = outside.sum() + _INSIDE * inside.sum() + _SCORE * error.sum() + _BELOW * below.sum()
    return total / pairs
