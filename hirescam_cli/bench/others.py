"""Rows about other people's networks, with random weights: all their labels, beside one forward pass and the peers."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hirescam_cli.bench.network import PEERS
from hirescam_cli.bench.table import Goal, Row, at_most
from hirescam_cli.bench.timing import interleaved, ratio, seconds
from hirescam_cli.bench.workload import Workload
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.feed import Feed
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.contract import Network
from hirescam_cli.registries import ARCHITECTURES

_ROUNDS = 3


@dataclass(frozen=True)
class _Case:
    """What is measured of a network: its input of `channels` times `shape`, and a small one for a quick look."""

    key: str
    name: str
    architecture: str
    labels: int
    channels: str
    shape: Shape3
    small: Shape3
    methods: tuple[str, ...]
    goal: Goal


_CASES = (
    _Case(
        "merlin",
        "Merlin",
        "merlin",
        1692,
        "one",
        (224, 224, 160),
        (64, 64, 32),
        ("hirescam", "gradcam"),
        at_most(1.02),
    ),
    _Case(
        "sybil", "Sybil", "sybil", 6, "repeat:3", (200, 256, 256), (16, 48, 48), ("hirescam",), at_most(1.15)
    ),
)


def other_rows(workload: Workload) -> list[Row]:
    """For each network all labels over a forward pass, and over what the peers take for each label."""
    rows = []
    for case in _CASES:
        workload.say(f"{case.name}, forward and with all labels")
        rows += _rows(workload, case)
        gc.collect()
    return rows


def _rows(workload: Workload, case: _Case) -> list[Row]:
    quick = workload.size.quick
    shape = case.small if quick else case.shape
    network = ARCHITECTURES.find(case.architecture).build({}, case.labels)
    network.module.eval()
    feed = Feed((), case.channels, 1, network.inputs)
    engine = Engine(network, feed, device=workload.device)
    voxels = feed.positions(np.random.default_rng(0).random(shape, dtype=np.float32))
    padding = np.zeros(len(voxels), dtype=np.bool_)

    def explain() -> object:
        return engine.explain(voxels, padding, case.methods)

    if quick:
        explain()
    times = interleaved(
        {"forward": lambda: engine.forward_only(voxels), "all": explain}, 1 if quick else _ROUNDS
    )
    size = " x ".join(map(str, shape))
    rows = [
        Row(
            f"{case.key}-labels",
            f"{case.name}: {case.labels} labels, {' and '.join(case.methods)}, over the forward pass alone",
            "x",
            ratio(times["all"], times["forward"]),
            None if quick else case.goal,
            f"{size} voxels, {statistics.median(times['forward']):.3g} s a forward pass, random weights",
        )
    ]
    values = feed.tensor(torch.from_numpy(voxels).to(workload.device))
    return [*rows, *_peers(workload, case, network, values, times["all"])]


class _Cells(nn.Module):
    """A network in which the cells to be explained are the output of one layer, as the peers want it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.cells = network.module, nn.Identity()
        layer = network.module.get_submodule(network.target_layer)
        if network.at == "input":
            self.handle = layer.register_forward_pre_hook(lambda _m, inputs: (self.cells(inputs[0]),))
        else:
            self.handle = layer.register_forward_hook(lambda _m, _i, output: self.cells(output))

    def forward(self, values: Tensor) -> Tensor:
        """Logits [1, labels]."""
        found: Tensor = self.network(values)
        return found


def _peers(
    workload: Workload, case: _Case, network: Network, values: Tensor, mine: Sequence[float]
) -> list[Row]:
    rows = []
    module = _Cells(network).to(workload.device)
    for key, (name, load) in PEERS.items():
        what = f"{case.name}: all {case.labels} labels, over {name} for each label"
        try:
            work = load()
        except ImportError:
            rows.append(Row(f"{case.key}-{key}", what, "x faster", None, None, "not installed"))
            continue
        workload.say(f"{case.name}, {name}")
        took = seconds(_one(work, module, values))
        detail = f"{took:.3g} s a label, measured on one label, scaled to {case.labels}"
        faster = case.labels * took / statistics.median(mine)
        rows.append(Row(f"{case.key}-{key}", what, "x faster", faster, None, detail))
    module.handle.remove()
    return rows


def _one(
    work: Callable[[nn.Module, nn.Module, Tensor, int], object], module: _Cells, values: Tensor
) -> Callable[[], object]:
    return lambda: work(module, module.cells, values, 0)
