"""Rows about a CPU in bfloat16: how much faster it explains, and what that changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hirescam_cli.bench.network import BOTH, engine, explaining
from hirescam_cli.bench.table import Row, at_least
from hirescam_cli.bench.timing import interleaved, ratio
from hirescam_cli.bench.workload import Workload


def bf16_rows(workload: Workload) -> list[Row]:
    """All labels with the trunk in bf16 beside fp32, and what that does to the logits."""
    what = (
        "Explaining in bf16 on the CPU, over fp32",
        "Largest difference of a logit, bf16 trunk against fp32",
    )
    missing = None
    if workload.device.type != "cpu":
        missing = "not on the CPU in this run"
    elif not _cpu_has_bf16():
        missing = "this CPU has no instructions for bf16"
    if missing is not None:
        return [
            Row("bf16", what[0], "x faster", None, detail=missing),
            Row("bf16-logits", what[1], "", None, detail=missing),
        ]
    workload.say("bf16 on the CPU")
    hu = workload.groups(workload.size.groups)
    half, full = engine(workload, precision="bf16"), engine(workload)
    none = np.zeros(len(hu), dtype=np.bool_)
    away = np.abs(half.explain(hu, none, BOTH).logits - full.explain(hu, none, BOTH).logits).max()
    times = interleaved({"half": explaining(half, hu), "full": explaining(full, hu)}, workload.size.rounds)
    return [
        Row("bf16", what[0], "x faster", ratio(times["full"], times["half"]), workload.goal(at_least(1.7)),
            f"{len(hu)} slice groups, both methods"),
        Row("bf16-logits", what[1], "", float(away), None, "random weights"),
    ]  # fmt: skip


def _cpu_has_bf16() -> bool:
    """Whether products of bfloat16 are instructions of the processor (AVX-512 BF16, AMX), as far as it says."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
