"""The loss of one scan."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hirescam_cli.train.learner import Pass
from hirescam_cli.train.losses import classification_loss, forbidden_cells, mask_loss
from hirescam_cli.train.options import MaskOptions
from hirescam_cli.train.records import Losses
from hirescam_cli.train.samples import Sample


@dataclass(frozen=True)
class Objective:
    """Cross-entropy plus `masks.weight` times the mask loss."""

    masks: MaskOptions

    def of(self, sample: Sample, found: Pass) -> tuple[Tensor, Losses]:
        """The loss to differentiate, and its parts as numbers."""
        device = found.logits.device
        truth = sample.truth.to(device)
        total = classification = classification_loss(found.logits, truth)
        outside = torch.zeros(())
        if sample.allowed is not None and found.evidence is not None:
            allowed, marked = (
                torch.from_numpy(part.copy()).to(device)
                for part in (sample.allowed.cells, sample.allowed.marked)
            )
            forbidden = forbidden_cells(truth, allowed, marked)
            outside = mask_loss(self.masks.loss, found.evidence, forbidden)
            total = classification + self.masks.weight * outside
        parts = torch.stack(
            [part.detach().reshape(()).to(device) for part in (total, classification, outside)]
        )
        whole, known, elsewhere = (float(part) for part in parts.tolist())
        losses = Losses(scans=1, total=whole, classification=known, mask=elsewhere)
        return total, losses
