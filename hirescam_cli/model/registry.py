"""Architectures by name. Other packages add theirs through the entry point group `hirescam.architectures`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, ClassVar

from torch import Tensor, nn

from hirescam_cli.errors import ModelError

GROUP = "hirescam.architectures"


class Network(nn.Module):
    """What the engine asks of a network: scores of slice groups that are independent until the mean.

    A network whose last two steps are `fc` (one convolution that covers the whole map of the layer before it)
    and the mean over groups is explained in closed form at that layer; at any other layer gradients come from
    automatic differentiation of the part above it.
    """

    fc: nn.Conv2d

    norms_follow: ClassVar[bool] = False
    """Each batch norm registered right after a convolution is applied right after it: it may be folded."""

    @property
    def trunk(self) -> nn.Module:
        """The part that may run in half precision."""
        raise NotImplementedError

    @property
    def last_layer(self) -> str:
        """Name of the module whose output `fc` reads: where explanations are complete."""
        raise NotImplementedError

    def scores(self, groups: Tensor) -> Tensor:
        """Slice scores [n, labels] of groups [n, slices per group, side, side]."""
        raise NotImplementedError


@dataclass(frozen=True)
class LayerGrid:
    """Where the `cells` x `cells` values of a layer lie in the plane of the network's input.

    `stride_px`: input pixels between receptive-field centres; `first_centre_px`: input pixel of the first
    centre.
    """

    cells: int
    stride_px: float
    first_centre_px: float


@dataclass(frozen=True)
class Architecture:
    """A named way to build a network.

    `build(parameters, labels)` returns a `Network` with random weights; `layer_grid(network, layer, side)`
    says where a layer's cells lie; both raise ModelError for what they do not know.
    """

    name: str
    description: str
    slices_per_group: int
    build: Callable[[Mapping[str, Any], int], Network]
    layer_grid: Callable[[nn.Module, str, int], LayerGrid]


def find_architecture(name: str) -> Architecture:
    """The architecture registered as `name`; ModelError if there is none or its package does not load."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        if name == "axialnet":
            from hirescam_cli.model.axialnet import ARCHITECTURE

            return ARCHITECTURE
        raise ModelError(
            f"There is no architecture {name!r}.",
            hint=f"Installed: {', '.join(sorted(found | {'axialnet': None}))}.",
            code="model-architecture",
        )
    try:
        architecture = found[name].load()
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"The architecture {name!r} does not load: {error}.",
            code="model-architecture",
            hint="Reinstall its package.",
        ) from error
    if not isinstance(architecture, Architecture):
        raise ModelError(
            f"The entry point {name!r} of {GROUP} is no Architecture.",
            code="model-architecture",
            hint="Reinstall its package.",
        )
    return architecture
