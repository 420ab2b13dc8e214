"""Rows about the network alone: all labels beside one forward pass, and beside what others would do for them."""

from __future__ import annotations

import copy
import importlib
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hirescam_cli.bench.table import Row, at_least, at_most
from hirescam_cli.bench.timing import interleaved, ratio
from hirescam_cli.bench.workload import Workload
from hirescam_cli.explain.engine import Engine
from hirescam_cli.model.architectures.axialnet import AxialNet

BOTH = ("hirescam", "gradcam")
_SOME_GROUPS = 8
_PEER_GROUPS = 2
_PEER_LABELS = 2


def engine(workload: Workload, network: AxialNet | None = None, *, precision: str = "fp32") -> Engine:
    """The engine on the workload's device, for its own network or another of the same kind."""
    return Engine(workload.contract(network), workload.feed, device=workload.device, precision=precision)


def flops_per_group(network: AxialNet, group: Tensor) -> int:
    """Floating-point operations of the convolutions for one group [1, slices, side, side]."""
    total = 0

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += 2 * output.numel() * module.weight[0].numel()

    handles = [module.register_forward_hook(count) for module in network.modules()]
    try:
        with torch.inference_mode():
            network.scores(group)
    finally:
        for handle in handles:
            handle.remove()
    return total


def explaining(engine: Engine, hu: NDArray[np.int16], padding: int = 0) -> Callable[[], object]:
    """Explaining groups with every method, to be timed; the last `padding` of them are padding."""
    mask = np.zeros(len(hu), dtype=np.bool_)
    mask[len(hu) - padding :] = True
    return lambda: engine.explain(hu, mask, BOTH)


def network_rows(workload: Workload) -> list[Row]:
    """The forward pass beside the machine, all labels beside both, growth and padding."""
    mine, count, rounds = engine(workload), workload.size.groups, workload.size.rounds
    hu = workload.groups(count)
    explain = explaining(mine, hu)
    workload.say("the network, forward and with all labels")
    mine.forward_only(hu[: mine.chunk])
    times = interleaved({"forward": lambda: mine.forward_only(hu), "all": explain}, rounds)
    labels = len(workload.spec.labels)
    per_group = statistics.median(times["forward"]) / count
    rows = [
        Row(
            "labels-over-forward",
            f"All {labels} labels, both methods, over the forward pass alone",
            "x",
            ratio(times["all"], times["forward"]),
            workload.goal(at_most(1.02)),
            f"{count} slice groups, {per_group:.3f} s a group",
        )
    ]
    if workload.device.type == "cpu":
        rows += _roofline(workload, mine, hu)
    return [*rows, _backward(workload, mine, hu[:_SOME_GROUPS]), *_growth(workload, mine, hu)]


def _roofline(workload: Workload, mine: Engine, hu: NDArray[np.int16]) -> list[Row]:
    workload.say("the dense matrix rate of this machine")
    n = workload.size.matrix
    a, b = torch.rand(n, n), torch.rand(n, n)
    some = hu[:_SOME_GROUPS]
    candidates: dict[str, Callable[[], object]] = {
        "torch": lambda: a @ b,
        "forward": lambda: mine.forward_only(some),
        "numpy": lambda: a.numpy() @ b.numpy(),
    }
    interleaved(candidates, 1)
    times = interleaved(candidates, 2 * workload.size.rounds + 1)
    work = len(some) * flops_per_group(workload.network, torch.from_numpy(hu[:1]).float())
    faster = min("torch", "numpy", key=lambda name: statistics.median(times[name]))
    dense = [2 * n**3 / t for t in times[faster]]
    rates = [work / t for t in times["forward"]]
    return [
        Row(
            "forward-share",
            "Forward pass, share of the machine's dense matrix rate (fp32)",
            "",
            ratio(rates, dense),
            workload.goal(at_least(0.85)),
            f"{statistics.median(rates) / 1e9:.0f} of {statistics.median(dense) / 1e9:.0f} GFLOP/s",
        ),
        Row(
            "roofline",
            "Dense fp32 matrix product of this machine",
            "GFLOP/s",
            statistics.median(dense) / 1e9,
            None,
            f"{n} x {n} in {faster}, the faster of torch and numpy, same threads",
        ),
    ]


def _plain(workload: Workload) -> tuple[AxialNet, Tensor]:
    """The network as PyTorch builds it, with gradients, and a few groups as its input."""
    network = copy.deepcopy(workload.network).to(workload.device).requires_grad_(True)
    hu = torch.from_numpy(workload.groups(_PEER_GROUPS))
    return network, workload.feed.tensor(hu.to(workload.device))


def _backward(workload: Workload, mine: Engine, hu: NDArray[np.int16]) -> Row:
    """A forward and a backward pass of plain PyTorch for each label, beside all labels of `hu` at once."""
    workload.say("a forward and a backward pass for each label")
    network, values = _plain(workload)

    def one_label(label: int) -> Callable[[], object]:
        def work() -> None:
            network.zero_grad(set_to_none=True)
            network.scores(values).mean(dim=0)[label].backward()  # type: ignore[no-untyped-call]
            _wait(workload)

        return work

    candidates = {str(n): one_label(n) for n in range(_PEER_LABELS)}
    times = interleaved({**candidates, "all": explaining(mine, hu)}, workload.size.rounds)
    theirs = [
        statistics.mean(turn) / _PEER_GROUPS for turn in zip(*(times[n] for n in candidates), strict=True)
    ]
    ours = [t / len(hu) for t in times["all"]]
    labels, per_label = len(workload.spec.labels), statistics.median(theirs)
    return Row(
        "labels-over-backward",
        "All labels, over a forward and a backward pass for each label",
        "x faster",
        labels * ratio(theirs, ours),
        workload.goal(at_least(300.0)),
        f"{per_label:.3f} s a group and label, measured on {_PEER_LABELS} labels and {_PEER_GROUPS} groups, "
        f"scaled to {labels}",
    )


def _wait(workload: Workload) -> None:
    if workload.device.type == "cuda":
        torch.cuda.synchronize(workload.device)


def _growth(workload: Workload, mine: Engine, hu: NDArray[np.int16]) -> list[Row]:
    workload.say("growth with slices, labels and padding")
    count, rounds = len(hu), workload.size.rounds
    quarter = hu[: max(1, count // 4)]
    by_slices = interleaved({"few": explaining(mine, quarter), "many": explaining(mine, hu)}, rounds)
    one = engine(workload, _one_label(workload.network))
    by_labels = interleaved({"one": explaining(one, quarter), "all": explaining(mine, quarter)}, rounds)
    padded = np.concatenate([quarter, np.broadcast_to(hu[:1], (3 * count, *hu.shape[1:]))])
    single = np.concatenate([quarter, hu[:1]])
    by_padding = interleaved(
        {"one": explaining(mine, single, 1), "many": explaining(mine, padded, 3 * count)}, rounds
    )
    labels, factor = len(workload.spec.labels), count / len(quarter)
    return [
        Row(
            "growth-slices",
            "Growth with slices: time a group of a long scan over that of a short one",
            "x",
            ratio(by_slices["many"], by_slices["few"]) / factor,
            workload.goal(at_most(1.1)),
            f"{count} groups over {len(quarter)}; 1 is linear",
        ),
        Row(
            "growth-labels",
            f"Growth with labels: {labels} labels over 1",
            "x",
            ratio(by_labels["all"], by_labels["one"]),
            workload.goal(at_most(1.05)),
            "the network part, both methods; 1 is flat",
        ),
        Row(
            "padding",
            "Groups that are padding",
            "x",
            ratio(by_padding["many"], by_padding["one"]),
            workload.goal(at_most(1.05)),
            f"{len(quarter)} groups with {3 * count} of padding over the same with 1",
        ),
    ]


def _one_label(network: AxialNet) -> AxialNet:
    one = copy.deepcopy(network)
    old = one.fc
    one.fc = nn.Conv2d(old.in_channels, 1, old.kernel_size, old.stride)  # type: ignore[arg-type]
    with torch.no_grad():
        one.fc.weight.copy_(old.weight[:1])
        if one.fc.bias is not None and old.bias is not None:
            one.fc.bias.copy_(old.bias[:1])
    return one.eval()


class _Scores(nn.Module):
    """A network whose call answers with slice scores, as the peers want it."""

    def __init__(self, network: AxialNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, groups: Tensor) -> Tensor:
        """Slice scores [n, labels]."""
        return self.network.scores(groups)


def _captum(name: str) -> Callable[[nn.Module, nn.Module, Tensor, int], object]:
    kind = getattr(importlib.import_module("captum.attr"), name)
    return lambda scores, layer, values, label: kind(scores, layer).attribute(values, target=label)


def _grad_cam() -> Callable[[nn.Module, nn.Module, Tensor, int], object]:
    package = importlib.import_module("pytorch_grad_cam")
    target = importlib.import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget

    def work(scores: nn.Module, layer: nn.Module, values: Tensor, label: int) -> object:
        with package.HiResCAM(model=scores, target_layers=[layer]) as cam:
            return cam(input_tensor=values, targets=[target(label)] * len(values))

    return work


PEERS: dict[str, tuple[str, Callable[[], Callable[[nn.Module, nn.Module, Tensor, int], object]]]] = {
    "captum-gradcam": ("captum LayerGradCam", lambda: _captum("LayerGradCam")),
    "captum-gradxact": ("captum LayerGradientXActivation", lambda: _captum("LayerGradientXActivation")),
    "grad-cam-hirescam": ("pytorch-grad-cam HiResCAM", _grad_cam),
}


def peer_rows(workload: Workload) -> list[Row]:
    """Libraries that explain one label at a time, where they are installed."""
    mine, hu = engine(workload), workload.groups(_PEER_GROUPS)
    explain = explaining(mine, hu)
    explain()
    rows = []
    for key, (name, load) in PEERS.items():
        what = f"All labels, over {name} for each label"
        try:
            work = load()
        except ImportError:
            rows.append(Row(key, what, "x faster", None, None, "not installed"))
            continue
        workload.say(name)
        network, values = _plain(workload)
        scores = _Scores(network)
        layer = network.get_submodule(network.last_layer)

        def labels(
            work: Any = work, scores: nn.Module = scores, layer: nn.Module = layer, values: Tensor = values
        ) -> None:
            for label in range(_PEER_LABELS):
                work(scores, layer, values, label)

        times = interleaved({"peer": labels, "mine": explain}, workload.size.rounds)
        scale = len(workload.spec.labels) / _PEER_LABELS
        detail = f"measured on {_PEER_LABELS} labels and {_PEER_GROUPS} groups, scaled; plain PyTorch network"
        rows.append(Row(key, what, "x faster", ratio(times["peer"], times["mine"]) * scale, None, detail))
    return rows
