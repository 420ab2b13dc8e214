"""CT-Net (Draelos et al. 2021, Medical Image Analysis 67:101857): ResNet-18 on slabs, 3-D convolutions, three layers.

Groups of three slices are the channels of one picture each, and pictures ride in the batch. Behind the features the 134
pictures become channels and the features an axis of their own: only up to there does a cell lie somewhere in the scan.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hirescam_cli.errors import ModelError
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.architectures.axialnet import SLICES_PER_GROUP, trunk
from hirescam_cli.model.architectures.parameters import flat_only, only
from hirescam_cli.model.contract import Architecture, Cells, Network
from hirescam_cli.placement import At

_GROUPS = 134
_SIDE = 420
_WIDTH = 64
_PIECE = 8


class Features(nn.Sequential):
    """ResNet-18 up to its last block; a few pictures at a time where nothing is learnt from them together."""

    def forward(self, x: Tensor) -> Tensor:
        """[groups, 3, side, side] to [groups, 512, side / 32, side / 32]."""
        together = self.training or torch.is_grad_enabled()
        return torch.cat([self._through(piece) for piece in torch.split(x, len(x) if together else _PIECE)])

    def _through(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x


class CtNet(nn.Module):
    """Logits [1, labels] of a scan as 134 pictures [1, 134, 3, 420, 420]."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.features = Features(*trunk(_WIDTH))
        self.reducingconvs = nn.Sequential(
            nn.Conv3d(_GROUPS, 64, 3, stride=(3, 1, 1)),
            nn.ReLU(),
            nn.Conv3d(64, 32, 3, stride=(3, 1, 1)),
            nn.ReLU(),
            nn.Conv3d(32, 16, (3, 2, 2), stride=(3, 2, 2)),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 18 * 5 * 5, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, 96),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(96, labels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits [1, labels]."""
        found: Tensor = self.classifier(
            self.reducingconvs(self.features(x.squeeze(0)).unsqueeze(0)).flatten(1)
        )
        return found


def _cells(layer: str, shape: Shape3, at: At = "output") -> Cells:
    if layer != "features":
        raise flat_only("ctnet", layer, "features")
    if shape != (SLICES_PER_GROUP * _GROUPS, _SIDE, _SIDE):
        raise ModelError(
            f"CT-Net reads {SLICES_PER_GROUP * _GROUPS} x {_SIDE} x {_SIDE} voxels, not {' x '.join(map(str, shape))}.",
            hint="Correct the shape in [[preparation]].",
            code="model-parameters",
        )
    # A picture is its three slices, so its centre is the middle one; the trunk's kernels are odd.
    side = 32.0 if at == "output" else 1.0
    return Cells((3.0, side, side), (1.0, 0.0, 0.0))


def _build(parameters: Mapping[str, object], labels: int) -> Network:
    only("ctnet", parameters)
    return Network(
        CtNet(labels),
        inputs="nicjk",
        target_layer="features",
        activation=lambda _layer: "icjk",
        cells=_cells,
        trunk=("features",),
        norms_follow=True,
    )


ARCHITECTURE = Architecture(
    "ctnet", "ResNet-18 on triplets of slices, 3-D convolutions over all of them (arXiv 2002.04752)", _build
)
