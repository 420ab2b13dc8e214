"""The video ResNets with 18 layers: r3d_18, mc3_18, r2plus1d_18 (Tran et al. 2018, arXiv 1711.11248).

Their three axes are time, height and width, of which a CT takes the first for its slices. Module and parameter names
are those of torchvision's files. After the last block come global average pooling and one linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from hirescam_cli.errors import ModelError
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.contract import Architecture, Cells, Network
from hirescam_cli.placement import At

_WIDTHS = (64, 128, 256, 512)


def _spatial_and_temporal(before: int, after: int, _middle: int, stride: int) -> nn.Module:
    """One 3 x 3 x 3 convolution."""
    return nn.Conv3d(before, after, 3, stride, padding=1, bias=False)


def _spatial(before: int, after: int, _middle: int, stride: int) -> nn.Module:
    """One 1 x 3 x 3 convolution: slices stay apart."""
    return nn.Conv3d(before, after, (1, 3, 3), (1, stride, stride), padding=(0, 1, 1), bias=False)


def _spatial_then_temporal(before: int, after: int, middle: int, stride: int) -> nn.Module:
    """A 1 x 3 x 3 convolution to `middle` channels, then a 3 x 1 x 1 one."""
    return nn.Sequential(
        nn.Conv3d(before, middle, (1, 3, 3), (1, stride, stride), padding=(0, 1, 1), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, after, (3, 1, 1), (stride, 1, 1), padding=(1, 0, 0), bias=False),
    )


Convolution = Callable[[int, int, int, int], nn.Module]


class Block(nn.Module):
    """A residual block of two convolutions and a shortcut."""

    def __init__(self, before: int, after: int, stride: int, convolution: Convolution) -> None:
        super().__init__()
        middle = (before * after * 27) // (before * 9 + 3 * after)
        self.conv1 = nn.Sequential(
            convolution(before, after, middle, stride), nn.BatchNorm3d(after), nn.ReLU(inplace=True)
        )
        self.conv2 = nn.Sequential(convolution(after, after, middle, 1), nn.BatchNorm3d(after))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            strides = (1, stride, stride) if convolution is _spatial else (stride, stride, stride)
            self.downsample = nn.Sequential(
                nn.Conv3d(before, after, 1, strides, bias=False), nn.BatchNorm3d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, t, h, w] in and out."""
        shortcut = x if self.downsample is None else self.downsample(x)
        found: Tensor = self.relu(self.conv2(self.conv1(x)) + shortcut)
        return found


def _layer(number: int, convolution: Convolution) -> nn.Sequential:
    """The layer of that number, from 1: two blocks, the first of which halves the grid from layer 2 on."""
    before, after = _WIDTHS[max(number - 2, 0)], _WIDTHS[number - 1]
    stride = 1 if number == 1 else 2
    return nn.Sequential(Block(before, after, stride, convolution), Block(after, after, 1, convolution))


class VideoResNet(nn.Module):
    """Logits [n, labels] of [n, 3, t, h, w]; `convolutions`: of the four layers."""

    def __init__(self, labels: int, convolutions: tuple[Convolution, ...], *, split_stem: bool) -> None:
        super().__init__()
        self.stem = _split_stem() if split_stem else _stem()
        for number, convolution in enumerate(convolutions, 1):
            self.add_module(f"layer{number}", _layer(number, convolution))
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(_WIDTHS[-1], labels)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, labels]."""
        for name in ("stem", "layer1", "layer2", "layer3", "layer4", "avgpool"):
            x = self.get_submodule(name)(x)
        found: Tensor = self.fc(x.flatten(1))
        return found


def _stem() -> nn.Sequential:
    first = nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), padding=(1, 3, 3), bias=False)
    return nn.Sequential(first, nn.BatchNorm3d(64), nn.ReLU(inplace=True))


def encoder() -> nn.Sequential:
    """The features of r3d_18 in a row: stem and four layers, [n, 3, t, h, w] to [n, 512, t / 8, h / 16, w / 16]."""
    layers = (_layer(number, _spatial_and_temporal) for number in range(1, 5))
    return nn.Sequential(_stem(), *layers)


def _split_stem() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(45),
        nn.ReLU(inplace=True),
        nn.Conv3d(45, 64, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(64),
        nn.ReLU(inplace=True),
    )


@dataclass(frozen=True)
class _Kind:
    """`convolutions` of the four layers; `slices`: by how many input slices the cells of each layer step."""

    title: str
    convolutions: tuple[Convolution, ...]
    slices: tuple[float, ...]
    split_stem: bool = False


_KINDS = {
    "r3d_18": _Kind("3-D convolutions throughout", (_spatial_and_temporal,) * 4, (1.0, 2.0, 4.0, 8.0)),
    "mc3_18": _Kind(
        "3-D convolutions in the first layer, then 2-D ones",
        (_spatial_and_temporal, *(_spatial,) * 3),
        (1.0,) * 4,
    ),
    "r2plus1d_18": _Kind(
        "each 3-D convolution as a 2-D and a 1-D one",
        (_spatial_then_temporal,) * 4,
        (1.0, 2.0, 4.0, 8.0),
        True,
    ),
}
_IN_PLANE = (2.0, 4.0, 8.0, 16.0)
_STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")


def _architecture(name: str) -> Architecture:
    kind = _KINDS[name]

    def cells(layer: str, _shape: Shape3, at: At = "output") -> Cells:
        if layer not in _STAGES:
            raise ModelError(
                f"video.{name} has no layer {layer!r} whose cells have a known place.",
                hint="Name layer4, layer3, layer2, layer1 or stem.",
                code="target-layer",
            )
        # Odd kernels with padding (k - 1) / 2 throughout: the first cell is centred on the first voxel.
        grids = [(1.0, 1.0), (1.0, 2.0), *zip(kind.slices, _IN_PLANE, strict=True)]
        # What a layer reads is what the one before it gives; the stem reads the voxels.
        slices, side = grids[_STAGES.index(layer) + (at == "output")]
        return Cells((slices, side, side), (0.0, 0.0, 0.0))

    def build(parameters: Mapping[str, object], labels: int) -> Network:
        for unknown in parameters:
            raise ModelError(
                f"The architecture video.{name} has no parameter {unknown!r}.",
                hint="Leave [parameters] out.",
                code="model-parameters",
            )
        return Network(
            VideoResNet(labels, kind.convolutions, split_stem=kind.split_stem),
            inputs="ncijk",
            target_layer="layer4",
            activation=lambda _layer: "ncijk",
            cells=cells,
            linear_head="fc",
            trunk=("stem", "layer1", "layer2", "layer3", "layer4"),
            norms_follow=True,
        )

    return Architecture(f"video.{name}", f"ResNet-18 for video, {kind.title} (arXiv 1711.11248)", build)


R3D_18, MC3_18, R2PLUS1D_18 = (_architecture(name) for name in _KINDS)
