"""Rows about training: a step beside a bare loop over the same network, and reading beside a step."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hirescam_cli.bench.table import Row, at_most
from hirescam_cli.bench.timing import interleaved, ratio, seconds
from hirescam_cli.bench.workload import Workload
from hirescam_cli.io import ReadOptions
from hirescam_cli.model.contract import Network
from hirescam_cli.train.allowed import Allowed
from hirescam_cli.train.augmentation import Augmentation
from hirescam_cli.train.events import Event
from hirescam_cli.train.failures import Failures
from hirescam_cli.train.learner import Learner
from hirescam_cli.train.objective import Objective
from hirescam_cli.train.optimiser import new_optimiser
from hirescam_cli.train.options import MaskOptions, TrainOptions
from hirescam_cli.train.ranks import Ranks
from hirescam_cli.train.samples import Sample, Samples
from hirescam_cli.train.scans import Scans
from hirescam_cli.train.setting import Setting
from hirescam_cli.train.signals import StopRequest
from hirescam_cli.train.steps import Steps
from hirescam_cli.train.table import Row as TableRow
from hirescam_cli.train.table import Table

_MOST_GROUPS = 4


def training_rows(workload: Workload) -> list[Row]:
    """A step of training, with and without a mask loss, beside a bare loop; reading from a cache beside a step."""
    workload.say("training, beside a bare loop")
    count = min(workload.size.groups, _MOST_GROUPS)
    voxels = workload.groups(count).reshape(-1, *workload.shape[1:])
    times = interleaved(
        {
            "bare": _bare(workload, voxels),
            "plain": _step(workload, voxels, "none"),
            "masks": _step(workload, voxels, "papers"),
        },
        workload.size.rounds + 1,
    )
    per_group = [time / count for time in times["plain"]]
    rows = [
        Row(
            key,
            f"A training step{words} over a bare loop of the same network",
            "x",
            ratio(times[name], times["bare"]),
            workload.goal(at_most(1.1)),
            f"{count} slice groups, {statistics.median(times['bare']) / count:.3f} s a group bare",
        )
        for key, name, words in (
            ("training-step", "plain", ""),
            ("training-step-masks", "masks", " with a mask loss"),
        )
    ]
    groups = workload.shape[0] // workload.slices_per_group
    return [*rows, _reading(workload, statistics.median(per_group) * groups)]


def _reading(workload: Workload, step: float) -> Row:
    """A prepared scan from the cache beside a step over all groups of a scan."""
    scans = Scans(workload.spec.preparation, ReadOptions(), workload.folder / "cache")
    scans.make_cache()
    row = TableRow("scan", workload.scan_path, "p", "train", (), 2)
    scans.load(row)
    reading = statistics.median([seconds(lambda: scans.load(row)) for _ in range(3)])
    return Row(
        "training-reading", "Reading a prepared scan from the cache over a step on it", "x", reading / step,
        workload.goal(at_most(1.0)), f"{reading:.3f} s; done ahead in other threads",
    )  # fmt: skip


def _network(workload: Workload) -> Network:
    return workload.contract(copy.deepcopy(workload.network))


def _bare(workload: Workload, voxels: np.ndarray) -> Callable[[], object]:
    """Forward, backward and step as one would write them down."""
    network, feed = _network(workload), workload.feed
    module: nn.Module = network.module.to(workload.device).train()
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-12, momentum=0.99, weight_decay=1e-7)
    truth = torch.zeros(len(workload.spec.labels), device=workload.device)

    def step() -> None:
        optimiser.zero_grad()
        values = feed.tensor(torch.from_numpy(feed.positions(voxels)).to(workload.device))
        logits = network.run(module, values).mean(dim=0)
        F.binary_cross_entropy_with_logits(logits, truth).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if workload.device.type == "cuda":
            torch.cuda.synchronize(workload.device)

    return step


def _step(workload: Workload, voxels: np.ndarray, loss: str) -> Callable[[], object]:
    """A step of the loop."""
    labels = workload.spec.labels
    row = TableRow("scan", workload.folder, "p", "train", (0.0,) * len(labels), 2)
    options = TrainOptions(lr=1e-12)
    masks = MaskOptions(masks=None if loss == "none" else workload.folder, loss=loss)  # type: ignore[arg-type]
    learner = Learner(_network(workload), workload.spec, workload.device, "fp32", with_maps=loss != "none")
    learner.module.train()
    allowed = None
    if loss != "none":
        shape = (len(voxels), *workload.shape[1:])
        cells = (len(labels), *learner.grid((shape[0], shape[1], shape[2]), "stretch").shape)
        allowed = Allowed(np.zeros(cells, dtype=np.bool_), np.zeros(len(labels), dtype=np.bool_))
    setting = Setting(
        run=workload.folder, options=options, table=Table(labels, (row,), True),
        samples=Samples(Scans(workload.spec.preparation, ReadOptions()), Augmentation("none", "IPL", 0), None),
        learner=learner, objective=Objective(masks), optimiser=new_optimiser(learner.module, options), ranks=Ranks(),
        workers=1, checkpoint_seconds=1e9, max_failures=1,
    )  # fmt: skip
    steps = Steps(setting, Failures({}, 1, _silent), StopRequest())
    return lambda: steps.on_scans([(0, Sample(row, voxels, allowed))], (row,), 0, 0)


def _silent(_event: Event) -> None:
    """Nothing to say."""
