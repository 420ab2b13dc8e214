"""Where training starts: random weights of a seed, a ResNet-18 of ImageNet, or a checkpoint of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hirescam_cli.errors import ModelError
from hirescam_cli.model.checkpoint import read_weights
from hirescam_cli.model.contract import Network
from hirescam_cli.model.load import built
from hirescam_cli.model.spec import ModelSpec

_COUNTER = "num_batches_tracked"
# The modules of torchvision's ResNet-18 as they are numbered in AxialNet's `features`.
_RESNET18 = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


@dataclass(frozen=True)
class Start:
    """`sha256`: of the file (None: random). `unused`: its entries that the network lacks; `random`: the converse."""

    sha256: str | None = None
    unused: tuple[str, ...] = ()
    random: tuple[str, ...] = ()


def new_network(spec: ModelSpec, seed: int) -> Network:
    """A network with random weights of the seed; the state of torch's generator stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = built(spec)
    if spec.preparation.shape is not None:
        network.place(spec.target_layer or network.target_layer, spec.preparation.shape, spec.at)
    return network


def load_start(network: Network, init: str) -> Start:
    """Load start weights ("none": leave the random ones).

    The last layer stays random where the file has none that fits, and nothing else does: ModelError.
    """
    if init == "none":
        return Start(random=tuple(_wanted(network)))
    path = Path(init)
    tensors, sha256 = read_weights(path)
    renamed = as_axialnet(tensors, network)
    given = {k: v for k, v in renamed.items() if not k.endswith(_COUNTER)}
    wanted = _wanted(network)
    head = None if network.linear_head is None else network.linear_head + "."
    fitting = {k: v for k, v in given.items() if k in wanted and v.shape == wanted[k].shape}
    lacking = tuple(k for k in wanted if k not in fitting)
    wrong = [k for k in lacking if not _may_be_random(k, network, head, from_resnet=renamed is not tensors)]
    if wrong:
        state = "is missing" if wrong[0] not in given else f"has shape {list(given[wrong[0]].shape)}"
        raise ModelError(
            f"{path.name} does not fit the network: {wrong[0]} {state}, expected {list(wanted[wrong[0]].shape)}.",
            hint="Give a checkpoint of this network, or a ResNet-18 for an AxialNet of trunk_width 64.",
            code="weights-mismatch",
        )
    if bad := [k for k, v in fitting.items() if not torch.isfinite(v.float()).all()]:
        raise ModelError(f"{path.name}: {bad[0]} holds weights that are not finite.", code="weights-nan")
    network.module.load_state_dict({k: v.float() for k, v in fitting.items()}, strict=False)
    return Start(sha256, tuple(k for k in given if k not in fitting), lacking)


def as_axialnet(tensors: Mapping[str, Tensor], network: Network) -> Mapping[str, Tensor]:
    """The entries of a torchvision ResNet-18 under AxialNet's names; anything else as it is."""
    if network.trunk != ("features",) or not {"conv1.weight", "layer4.1.bn2.weight"} <= tensors.keys():
        return tensors
    found = {}
    for name, value in tensors.items():
        first, _, rest = name.partition(".")
        found[f"features.{_RESNET18[first]}.{rest}" if first in _RESNET18 else name] = value
    return found


def _wanted(network: Network) -> dict[str, Tensor]:
    return {k: v for k, v in network.module.state_dict().items() if not k.endswith(_COUNTER)}


def _may_be_random(name: str, network: Network, head: str | None, *, from_resnet: bool) -> bool:
    if from_resnet:
        return not name.startswith(tuple(f"{part}." for part in network.trunk))
    return head is not None and name.startswith(head)
