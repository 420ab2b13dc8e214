"""The layers of a network that can be explained: their type, the shape they give, where their cells lie."""

from __future__ import annotations

from dataclasses import dataclass

from hirescam_cli.errors import ModelError
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.contract import Cells, Network


@dataclass(frozen=True)
class Layer:
    """A module that `--target-layer` can name."""

    name: str
    kind: str
    stride: tuple[float, float, float]
    offset: tuple[float, float, float]


def layers_of(network: Network, shape: Shape3) -> tuple[Layer, ...]:
    """Every module of a network whose cells have a known place on an input of `shape`, in their order."""
    found = []
    for name, module in network.module.named_modules():
        place = None if not name or name == network.linear_head else _place(network, name, shape)
        if place is not None:
            found.append(Layer(name, type(module).__name__, place.stride, place.offset))
    return tuple(found)


def _place(network: Network, name: str, shape: Shape3) -> Cells | None:
    try:
        return network.place(name, shape, network.at if name == network.target_layer else "output")
    except ModelError:
        return None
