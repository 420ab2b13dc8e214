"""A foreign network: 3-D, without slices, two layers behind its target, none of them linear as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.contract import Architecture, Cells, Network

MODEL = """name = "foreign"
intended_use = "Tests. Not for diagnosis."
architecture = "{name}"
{parameters}
[labels]
names = ["mass", "pleural_effusion", "cardiomegaly"]
[input]
axes = "RAS"
[[preparation]]
step = "resample"
spacing_mm = [12.0, 12.0, 14.0]
interpolation = "linear"
[[preparation]]
step = "pad_crop"
shape = [32, 32, 16]
value = -1000
[[preparation]]
step = "window"
hu = [-1000, 400]
"""


class TwoLayers(nn.Module):
    """Convolutions, then a mean over the scan's height alone, and two layers with a ReLU that overwrites."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(1, 6, 3, stride=2, padding=1), nn.BatchNorm3d(6), nn.ReLU(inplace=True),
            nn.Conv3d(6, 8, 3, stride=4, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.tail = nn.Sequential(nn.Dropout3d(0.2), nn.Conv3d(8, 8, 1), nn.ReLU(inplace=True))
        self.last = nn.Linear(8 * 4 * 4, labels)

    def forward(self, scan: Tensor) -> Tensor:
        """Logits [1, labels]."""
        found: Tensor = self.last(self.tail(self.features(scan)).mean(dim=4).flatten(1))
        return found


def cells(_layer: str, _shape: Shape3) -> Cells:
    return Cells((8.0, 8.0, 8.0), (0.0, 0.0, 0.0))


def build(_parameters: Mapping[str, object], labels: int) -> Network:
    return Network(
        TwoLayers(labels),
        inputs="ncijk",
        target_layer="features",
        activation=lambda _layer: "ncijk",
        cells=cells,
    )


ARCHITECTURE = Architecture("two-layers", "a network of the tests", build)
