"""AxialNet: ResNet-18 on triplets of axial slices, a small convolutional head, the mean over the scan.

Draelos and Carin, "Explainable multiple abnormality classification of chest CT volumes" (arXiv 2111.12215).
Module and parameter names are those of the authors' checkpoints (`features.*`, `conv2d.*`, `fc.*`).
`trunk_width` scales every layer of the trunk: 64 is ResNet-18, smaller numbers give narrow networks of the
same topology.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from hirescam_cli.errors import ModelError
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.contract import Architecture, Cells, Network
from hirescam_cli.placement import At

SLICES_PER_GROUP = 3
_POOL = 6


class BasicBlock(nn.Module):
    """Residual block of ResNet-18 (He et al. 2015): two 3x3 convolutions and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, channels, ceil(h / stride), ceil(w / stride)]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        result: Tensor = self.relu(self.bn2(self.conv2(x)) + shortcut)
        return result


def trunk(width: int) -> nn.Sequential:
    """ResNet-18 without its pooling and last layer: [n, 3, side, side] to [n, 8 width, side / 32, side / 32]."""

    def stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(BasicBlock(in_channels, channels, stride), BasicBlock(channels, channels, 1))

    return nn.Sequential(
        nn.Conv2d(SLICES_PER_GROUP, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        stage(width, width, 1),
        stage(width, 2 * width, 2),
        stage(2 * width, 4 * width, 2),
        stage(4 * width, 8 * width, 2),
    )


class AxialNet(nn.Module):
    """The network. Groups of slices are independent of each other until the mean over their scores."""

    def __init__(
        self, labels: int, trunk_width: int = 64, head_channels: tuple[int, ...] = (64, 32, 16, 16)
    ) -> None:
        super().__init__()
        self.features = trunk(trunk_width)
        head: list[nn.Module] = []
        for before, after in zip((8 * trunk_width, *head_channels[:-1]), head_channels, strict=True):
            head += [nn.Conv2d(before, after, 3), nn.ReLU(inplace=True)]
        self.conv2d = nn.Sequential(*head)
        self.fc = nn.Conv2d(head_channels[-1], labels, _POOL, stride=_POOL)

    @property
    def last_layer(self) -> str:
        """The last ReLU of `conv2d` ("conv2d.7" in the papers' network)."""
        return f"conv2d.{len(self.conv2d) - 1}"

    def scores(self, groups: Tensor) -> Tensor:
        """Slice scores [n, labels] of groups [n, 3, side, side]; each group on its own."""
        scores: Tensor = self.fc(self.conv2d(self.features(groups)))
        return scores.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [1, labels] of a scan [1, S, 3, side, side]: the mean of its groups' scores."""
        return self.scores(x.squeeze(0)).mean(dim=0, keepdim=True)


def _scores(module: nn.Module, groups: Tensor) -> Tensor:
    assert isinstance(module, AxialNet)
    return module.scores(groups)


def described(module: AxialNet) -> Network:
    """What has to be known of it to explain it."""

    def cells(layer: str, shape: Shape3, at: At = "output") -> Cells:
        _, height, width = shape
        last = [layer_plane(module, module.last_layer, side).cells for side in (height, width)]
        if tuple(last) != module.fc.kernel_size:
            raise ModelError(
                f"An input of {height} x {width} pixels gives {last[0]} x {last[1]} cells at {module.last_layer}, the "
                f"last layer of AxialNet reads {' x '.join(map(str, module.fc.kernel_size))}.",
                hint="Correct the shape in [[preparation]] or the architecture's parameters.",
                code="model-parameters",
            )
        rows, columns = (layer_plane(module, layer, side, at) for side in (height, width))
        group = float(SLICES_PER_GROUP)
        return Cells(
            stride=(group, rows.stride_px, columns.stride_px),
            offset=((group - 1) / 2, rows.first_centre_px, columns.first_centre_px),
        )

    return Network(
        module,
        inputs="icjk",
        target_layer=module.last_layer,
        activation=lambda _layer: "icjk",
        cells=cells,
        answer="slice_scores",
        run=_scores,
        linear_head="fc",
        trunk=("features",),
        norms_follow=True,
    )


@dataclass(frozen=True)
class LayerPlane:
    """Where the `cells` values of a layer lie along one axis of the input's plane.

    `stride_px`: input pixels between receptive-field centres; `first_centre_px`: input pixel of the first centre.
    """

    cells: int
    stride_px: float
    first_centre_px: float


def layer_plane(network: AxialNet, layer: str, side: int, at: At = "output") -> LayerPlane:
    """Stride and first centre, in input pixels, of the cells of what `layer` gives, or of what it reads.

    `layer` is a module inside `features` or `conv2d`; `fc` reads what the last of them gives. Padded convolutions
    of the trunk keep the first centre at pixel 0; each unpadded one of the head moves it by one cell of the trunk's
    grid.
    """
    if (layer, at) == ("fc", "input"):
        layer, at = network.last_layer, "output"
    part, _, index = layer.partition(".")
    top = index.partition(".")[0]
    if part not in ("features", "conv2d") or not top.isdigit():
        raise ModelError(
            f"AxialNet has no spatial layer {layer!r}.",
            hint="Name a module of features or conv2d, such as conv2d.7 or features.7.",
            code="target-layer",
        )
    if layer.endswith(".relu"):
        raise ModelError(
            f"The layer {layer!r} is applied twice in its block, so it has no one activation to explain.",
            hint=f"Name the block, {layer.removesuffix('.relu')}, or one of its convolutions.",
            code="target-layer",
        )
    size, stride, first = side, 1.0, 0.0
    sections = [("features", _children(network, "features"))]
    if part == "conv2d":
        sections.append(("conv2d", _children(network, "conv2d")))
    for section, modules in sections:
        for position, module in enumerate(modules):
            last = (section, position) == (part, int(top))
            for conv in _downsampling_path(module, index.split(".")[1:] if last else None, at):
                size = (size + 2 * conv[2] - conv[0]) // conv[1] + 1
                first += stride * ((conv[0] - 1) / 2 - conv[2])
                stride *= conv[1]
            if last:
                return LayerPlane(cells=size, stride_px=stride, first_centre_px=first)
    raise ModelError(
        f"AxialNet has no layer {layer!r}.", code="target-layer", hint="See `hirescam model show`."
    )


def _children(network: nn.Module, name: str) -> list[nn.Module]:
    child = getattr(network, name)
    return list(child.children())


def _downsampling_path(module: nn.Module, inner: list[str] | None, at: At) -> list[tuple[int, int, int]]:
    """(kernel, stride, padding) of the convolutions and pools on the main path through `module`.

    `inner` names a position inside `module` at which the path ends (an empty list: `module` itself; None: it passes
    through): behind what stands there, or before it where `at` is its input.
    """
    if inner == [] and at == "input":
        return []
    if isinstance(module, nn.Conv2d | nn.MaxPool2d):
        values = [getattr(module, key) for key in ("kernel_size", "stride", "padding")]
        kernel, stride, padding = (int(v[0]) if isinstance(v, tuple) else int(v) for v in values)
        return [(kernel, stride, padding)]
    path: list[tuple[int, int, int]] = []
    for name, child in module.named_children():
        if inner and inner[0] == "downsample" and name != "downsample":
            continue
        if name == "downsample" and not (inner and inner[0] == "downsample"):
            continue
        here = bool(inner) and inner[0] == name if inner else False
        path += _downsampling_path(child, inner[1:] if here and inner else None, at)
        if here:
            break
    return path


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _build(parameters: Mapping[str, object], labels: int) -> Network:
    known = {"trunk_width", "head_channels"}
    if unknown := sorted(set(parameters) - known):
        raise ModelError(
            f"The architecture axialnet has no parameter {unknown[0]!r}.",
            hint=f"It has {', '.join(sorted(known))}.",
            code="model-parameters",
        )
    width = parameters.get("trunk_width", 64)
    channels = parameters.get("head_channels", [64, 32, 16, 16])
    if not isinstance(width, int) or isinstance(width, bool) or not 0 < width <= 1024:
        raise ModelError(f"trunk_width is {width!r}, expected 1 to 1024.", code="model-parameters")
    if not isinstance(channels, list) or not channels or not all(_is_count(c) for c in channels):
        raise ModelError(
            f"head_channels is {channels!r}, expected a list of numbers.", code="model-parameters"
        )
    return described(AxialNet(labels, width, tuple(channels)))


ARCHITECTURE = Architecture(
    name="axialnet",
    description="ResNet-18 on triplets of axial slices, small head, mean over the scan (arXiv 2111.12215)",
    build=_build,
    placement="stretch",
)
