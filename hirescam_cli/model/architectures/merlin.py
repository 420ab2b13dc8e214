"""Merlin's image encoder (Blankemeier et al. 2024, arXiv 2406.06512): a ResNet-152 whose kernels have a third axis.

Its input runs to the patient's right, front and head; inside, the axes are head, right, front, and the one channel is
repeated three times. After the last block come the mean over all cells and one 1 x 1 x 1 convolution. The publishers
answer with its sigmoid; here the logits come before that. Module names are those of the published files; in the one of
the model for images and reports they stand below `encode_image.i3_resnet`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.architectures.parameters import flat_only, only
from hirescam_cli.model.contract import Architecture, Cells, Network
from hirescam_cli.placement import At

_WIDTHS = (64, 128, 256, 512)
_BLOCKS = (3, 8, 36, 3)
_EXPANSION = 4
_TEXT = 512


class Bottleneck(nn.Module):
    """1 x 1 x 1, 3 x 3 x 3 with the stride, 1 x 1 x 1 to four times the width, and a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = _EXPANSION * width
        self.conv1 = nn.Conv3d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(after)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv3d(before, after, 1, stride, bias=False), nn.BatchNorm3d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, s, r, a] in and out."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        found: Tensor = self.relu(self.bn3(self.conv3(x)) + shortcut)
        return found


class Merlin(nn.Module):
    """Logits [1, labels] of a scan [1, 1, right, front, head]."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, _WIDTHS[0], (3, 7, 7), (1, 2, 2), padding=(1, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(_WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        before = _WIDTHS[0]
        for number, (width, blocks) in enumerate(zip(_WIDTHS, _BLOCKS, strict=True), 1):
            first = Bottleneck(before, width, 1 if number == 1 else 2)
            before = _EXPANSION * width
            rest = (Bottleneck(before, width, 1) for _ in range(blocks - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *rest))
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.classifier = nn.Conv3d(before, labels, 1)
        # For matching scans with reports: it has its place in the published files and no part in the logits.
        self.contrastive_head = nn.Conv3d(before, _TEXT, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [1, labels]."""
        x = x.permute(0, 1, 4, 2, 3).expand(-1, 3, -1, -1, -1)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, len(_BLOCKS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        found: Tensor = self.classifier(self.avgpool(x))
        return found.flatten(1)


def _cells(layer: str, _shape: Shape3, at: At = "input") -> Cells:
    if (layer, at) != ("avgpool", "input"):
        raise flat_only("merlin", layer, "avgpool", "input")
    # Odd kernels with padding (k - 1) / 2 throughout; the axis to the head is not halved by the first convolution.
    return Cells((32.0, 32.0, 16.0), (0.0, 0.0, 0.0))


def _build(parameters: Mapping[str, object], labels: int) -> Network:
    only("merlin", parameters)
    return Network(
        Merlin(labels),
        inputs="ncijk",
        target_layer="avgpool",
        at="input",
        activation=lambda _layer: "nckij",
        cells=_cells,
        linear_head="classifier",
        trunk=("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"),
        norms_follow=True,
        published_below=("encode_image.i3_resnet.",),
    )


ARCHITECTURE = Architecture("merlin", "ResNet-152 inflated to three axes (arXiv 2406.06512)", _build)
