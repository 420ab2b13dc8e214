"""Running the benchmark: sections of rows, one after the other, on one workload."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hirescam_cli.bench.bf16 import bf16_rows
from hirescam_cli.bench.evaluation import evaluation_rows
from hirescam_cli.bench.gpu import gpu_rows
from hirescam_cli.bench.network import network_rows, peer_rows
from hirescam_cli.bench.others import other_rows
from hirescam_cli.bench.results import dicom_rows
from hirescam_cli.bench.scan import memory_rows, overlay_rows, preparation_rows, scan_rows
from hirescam_cli.bench.start import reading_rows, start_rows
from hirescam_cli.bench.table import Row
from hirescam_cli.bench.training import training_rows
from hirescam_cli.bench.workload import FULL, QUICK, Workload, machine
from hirescam_cli.errors import UsageError
from hirescam_cli.threads import available, limited

SECTIONS: dict[str, Callable[[Workload], list[Row]]] = {
    "network": network_rows,
    "peers": peer_rows,
    "others": other_rows,
    "bf16": bf16_rows,
    "gpu": gpu_rows,
    "preparation": preparation_rows,
    "overlay": overlay_rows,
    "scan": scan_rows,
    "memory": memory_rows,
    "dicom": dicom_rows,
    "reading": reading_rows,
    "evaluate": evaluation_rows,
    "training": training_rows,
    "start": start_rows,
}


def chosen_sections(names: Sequence[str]) -> list[str]:
    """The sections `names`, or all, in the table's order. Raises UsageError for one that does not exist."""
    for name in names:
        if name not in SECTIONS:
            raise UsageError(f"--only {name!r} is unknown.", hint=f"Choose from: {', '.join(SECTIONS)}.")
    return [name for name in SECTIONS if not names or name in names]


def run_bench(
    *,
    quick: bool = False,
    device: str = "auto",
    threads: int | None = None,
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda _text: None,
) -> tuple[dict[str, object], list[Row]]:
    """Measure; returns what it was measured on, and the rows.

    `quick`: a small network and scan, to see that everything runs; without the goals that depend on size.
    `say` is told what comes next. Files are written to a temporary folder and removed.
    Raises UsageError or UnavailableError before anything is measured.
    """
    sections = chosen_sections(only)
    count = threads or available()
    with limited(count), tempfile.TemporaryDirectory(prefix="hirescam-bench-") as folder:
        workload = Workload(QUICK if quick else FULL, Path(folder), device, count, say)
        rows = [row for section in sections for row in SECTIONS[section](workload)]
        return machine(workload), rows
