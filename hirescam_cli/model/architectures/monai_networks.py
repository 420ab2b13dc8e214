"""Classifiers of the package MONAI (extra `monai`), as it builds them: ResNets, DenseNets, squeeze-and-excitation nets.

[parameters] go on to MONAI by its own names, after they were checked; the number of labels, the three axes and weights
are not among them. The number of input channels is 1 unless given. All of these networks end in the mean over all cells
and a linear layer. Shortcuts of type "A" let no gradient through: then layers before the last one cannot be explained.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from torch import nn

from hirescam_cli.errors import ModelError
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.architectures.parameters import only
from hirescam_cli.model.cells import follow
from hirescam_cli.model.contract import Architecture, Cells, Network
from hirescam_cli.placement import At

_NOT_GIVEN = frozenset(
    ("self", "kwargs", "pretrained", "progress", "spatial_dims", "block", "layers", "groups")
)


@dataclass(frozen=True)
class _Family:
    """Networks of one kind. `signature`: the class that says what parameters they have, `fixed`: those that they fix.

    `channels`, `outputs`: what MONAI calls the numbers of input channels and of labels.
    `target`, `head`, `trunk`: names of modules.
    """

    title: str
    signature: str
    channels: str
    outputs: str
    target: str
    head: str
    trunk: tuple[str, ...]
    fixed: frozenset[str] = frozenset()


_RESNET = _Family(
    "ResNet",
    "ResNet",
    "n_input_channels",
    "num_classes",
    "layer4",
    "fc",
    ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"),
    fixed=frozenset(("block_inplanes", "feed_forward")),
)
_DENSENET = _Family(
    "DenseNet",
    "DenseNet",
    "in_channels",
    "out_channels",
    "class_layers.relu",
    "class_layers.out",
    trunk=("features",),
    fixed=frozenset(("block_config",)),
)
_SENET = _Family(
    "squeeze-and-excitation network",
    "SENet",
    "in_channels",
    "num_classes",
    "layer4",
    "last_linear",
    ("layer0", "layer1", "layer2", "layer3", "layer4"),
)


def _named(name: str) -> Callable[..., object]:
    """Something of MONAI. Raises ModelError without it."""
    try:
        found: Callable[..., object] = getattr(import_module("monai.networks.nets"), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"The networks called monai.* need the package MONAI, which is not installed or too old ({error}).",
            hint='Install it: pip install "hirescam-cli[monai]".',
            code="model-architecture",
        ) from error
    return found


def _architecture(name: str, made_by: str, family: _Family) -> Architecture:
    full = f"monai.{name}"

    def build(parameters: Mapping[str, object], labels: int) -> Network:
        known = set(inspect.signature(_named(family.signature)).parameters)
        only(full, parameters, known - _NOT_GIVEN - family.fixed - {family.outputs})
        channels = parameters.get(family.channels, 1)
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise ModelError(
                f"{family.channels} is {channels!r}, expected a whole number from 1 on.",
                hint="Give as many as [input] channels makes.",
                code="model-parameters",
            )
        given = {**parameters, family.channels: channels, family.outputs: labels, "spatial_dims": 3}
        return _described(_made(full, made_by, given), family, channels)

    return Architecture(full, f"MONAI's {family.title} {name} in 3-D (extra monai)", build)


def _made(full: str, made_by: str, given: Mapping[str, object]) -> nn.Module:
    make = _named(made_by)
    try:
        module = make(**given)
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError, AssertionError) as error:
        raise ModelError(
            f"MONAI does not build {full} with these parameters: {error!r}.",
            hint="Correct [parameters]; they have the names and values of MONAI.",
            code="model-parameters",
        ) from error
    assert isinstance(module, nn.Module)
    return module


def _described(module: nn.Module, family: _Family, channels: int) -> Network:
    @cache
    def cells(layer: str, shape: Shape3, at: At = "output") -> Cells:
        return follow(module, channels, layer, shape, at)

    return Network(
        module,
        inputs="ncijk",
        target_layer=family.target,
        activation=lambda _layer: "ncijk",
        cells=cells,
        linear_head=family.head,
        trunk=family.trunk,
        norms_follow=True,
    )


RESNET10, RESNET18, RESNET34, RESNET50, RESNET101, RESNET152, RESNET200 = (
    _architecture(f"resnet{depth}", f"resnet{depth}", _RESNET) for depth in (10, 18, 34, 50, 101, 152, 200)
)
DENSENET121, DENSENET169, DENSENET201, DENSENET264 = (
    _architecture(f"densenet{depth}", f"DenseNet{depth}", _DENSENET) for depth in (121, 169, 201, 264)
)
SENET154 = _architecture("senet154", "SENet154", _SENET)
SERESNET50, SERESNET101, SERESNET152 = (
    _architecture(f"seresnet{depth}", f"SEResNet{depth}", _SENET) for depth in (50, 101, 152)
)
SERESNEXT50, SERESNEXT101 = (
    _architecture(f"seresnext{depth}", f"SEResNext{depth}", _SENET) for depth in (50, 101)
)
