"""The loss of one scan, and of positions of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hirescam_cli.train.learner import Pass
from hirescam_cli.train.lesions import Lesions
from hirescam_cli.train.losses import (
    LESION_POSITIONS,
    classification_loss,
    forbidden_cells,
    lesion_loss,
    mask_loss,
)
from hirescam_cli.train.options import MaskOptions
from hirescam_cli.train.records import Losses
from hirescam_cli.train.samples import Position, Sample


@dataclass(frozen=True)
class Objective:
    """Cross-entropy plus `masks.weight` times the mask loss."""

    masks: MaskOptions

    def of(self, sample: Sample, found: Pass) -> tuple[Tensor, Losses]:
        """The loss to differentiate, and its parts as numbers."""
        device = found.logits.device
        truth = sample.truth.to(device)
        classification = classification_loss(found.logits, truth)
        outside = torch.zeros((), device=device)
        if sample.lesions is not None:
            outside = _lesions(sample.lesions, found, LESION_POSITIONS / found.scale)
        elif sample.allowed is not None and found.evidence is not None:
            allowed, marked = (
                _tensor(part, device) for part in (sample.allowed.cells, sample.allowed.marked)
            )
            forbidden = forbidden_cells(truth, allowed, marked)
            outside = mask_loss(self.masks.loss, found.evidence, forbidden)
        total = classification + self.masks.weight * outside
        parts = torch.stack([part.detach() for part in (total, classification, outside)]).tolist()
        return total, Losses(scans=1, total=parts[0], classification=parts[1], mask=parts[2])

    def of_positions(self, samples: Sequence[Position], found: Pass, in_a_scan: int) -> tuple[Tensor, Losses]:
        """The sum of the losses of positions that were a batch; `in_a_scan`: how many positions a scan has.

        Only the mask loss, and each position counts as a scan in the sums.
        """
        lesions = Lesions.joined([sample.lesions for sample in samples])
        total = _lesions(lesions, found, LESION_POSITIONS / in_a_scan) * len(samples)
        value = float(total.detach())
        return total, Losses(scans=len(samples), total=value, classification=0.0, mask=value)


def _lesions(lesions: Lesions, found: Pass, unit: float) -> Tensor:
    """`unit`: what a cell's evidence is multiplied by to be worth what `lesion_loss` expects."""
    assert found.evidence is not None
    device = found.logits.device
    cells, weight, known = (_tensor(part, device) for part in (lesions.cells, lesions.weight, lesions.known))
    return lesion_loss(found.evidence * unit, found.rest, cells, weight, known)


def _tensor(array: NDArray[np.generic], device: torch.device) -> Tensor:
    # A copy: what was mirrored has negative strides, which torch does not take.
    return torch.from_numpy(array.copy()).to(device)
