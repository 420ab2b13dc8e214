"""Rows about a CUDA GPU in half precision: the network part, what half precision changes, scans a second."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import replace

import numpy as np

from hirescam_cli.api import explain
from hirescam_cli.batch.events import CaseFinished, Event
from hirescam_cli.batch.options import RunOptions, processors
from hirescam_cli.bench.network import engine, explaining
from hirescam_cli.bench.table import Goal, Row, at_most
from hirescam_cli.bench.timing import interleaved
from hirescam_cli.bench.workload import Workload
from hirescam_cli.case.evidence import COMPLETE_RESIDUAL, certificate
from hirescam_cli.settings import Settings

_MILLISECONDS = 15.0
_SCANS = 24
_WHAT: dict[str, tuple[str, str, Goal | None]] = {
    "gpu": ("Network part of a scan on the GPU, trunk in fp16", "ms", at_most(_MILLISECONDS)),
    "gpu-logits": ("Largest difference of a logit, fp16 trunk against fp32", "", at_most(0.01)),
    "gpu-residual": (
        "Largest residual of a HiResCAM certificate, trunk in fp16",
        "",
        at_most(COMPLETE_RESIDUAL),
    ),
    "gpu-scans": ("Scans a second from file to published case, trunk in fp16", "a second", None),
}


def gpu_rows(workload: Workload) -> list[Row]:
    """The network part of a whole scan in half precision, and a run over many scans, where there is a GPU."""
    if workload.device.type != "cuda":
        return [_row(key, None, "no CUDA device in this run") for key in _WHAT]
    workload.say("the GPU")
    groups = workload.groups(workload.shape[0] // workload.slices_per_group)
    half, full = engine(workload, precision="fp16"), engine(workload)
    none = np.zeros(len(groups), dtype=np.bool_)
    exact = full.explain(groups, none, ("hirescam",))
    fast = half.explain(groups, none, ("hirescam",))
    residuals = [
        certificate(cam, bias, logit).residual
        for cam, bias, logit in zip(fast.cams["hirescam"], fast.biases, fast.logits, strict=True)
    ]
    times = interleaved({"half": explaining(half, groups)}, 4 * workload.size.rounds)["half"]
    settings = replace(workload.settings, precision="fp16")
    workload.say(f"{_SCANS} scans on the GPU")
    jobs = max(1, processors() - 2)
    rate = scans_a_second(workload, settings, _SCANS, jobs)
    return [
        _row("gpu", 1e3 * statistics.median(times), f"{len(groups)} groups, both methods, with transfers"),
        _row("gpu-logits", float(np.abs(fast.logits - exact.logits).max()), "random weights"),
        _row("gpu-residual", max(residuals), f"{len(residuals)} labels"),
        _row(
            "gpu-scans", rate, f"{_SCANS} scans, {workload.size.few} overlays each, {jobs} reader processes"
        ),
    ]


def _row(key: str, measured: float | None, detail: str) -> Row:
    what, unit, goal = _WHAT[key]
    return Row(key, what, unit, measured, goal, detail)


def scans_a_second(workload: Workload, settings: Settings, count: int, jobs: int) -> float:
    """Rate of a run over `count` copies of the scan, from its first finished case to its last."""
    folder = workload.folder / "many-scans"
    folder.mkdir()
    for n in range(count):
        os.link(workload.scan_path, folder / f"scan-{n:03d}.nii.gz")
    finished: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, CaseFinished) and event.status == "done":
            finished.append(time.perf_counter())

    explain(
        folder,
        workload.folder / "many-cases",
        settings=settings,
        options=RunOptions(jobs=jobs),
        on_progress=note,
    )
    return (len(finished) - 1) / (finished[-1] - finished[0])
