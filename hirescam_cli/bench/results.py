"""Rows about results as DICOM: what they add to a run, in seconds and memory."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from hirescam_cli.bench.scan import peak_megabytes
from hirescam_cli.bench.start import write_series
from hirescam_cli.bench.table import Row, at_most
from hirescam_cli.bench.workload import Workload
from hirescam_cli.case.listing import read_case
from hirescam_cli.case.record import Case
from hirescam_cli.errors import HirescamError

_LABELS = 5
_DICOM = "dicom-pm,dicom-sr,dicom-sc,dicom-seg"


def dicom_rows(workload: Workload) -> list[Row]:
    """All four kinds of objects of five labels beside a run that writes overlays only, each in a process of its own."""
    size = workload.size
    what = f"{_LABELS} labels as {_DICOM}, {size.plane} x {size.plane} x {size.series} voxels"
    if find_spec("highdicom") is None:
        missing = "needs highdicom: pip install 'hirescam-cli[dicom]'"
        return [
            Row("dicom", what, "s", None, detail=missing),
            Row("dicom-memory", what, "MB", None, detail=missing),
        ]
    workload.say("a run with DICOM results, and one without")
    folder = workload.folder / "results-series"
    write_series(folder, size.series, (size.plane, size.plane))
    alone, peak_alone = _run(workload, folder, "nifti")
    with_them, peak = _run(workload, folder, f"nifti,{_DICOM}")
    shutil.rmtree(folder)
    return [
        Row(
            "dicom",
            f"{what}: time added to a run",
            "s",
            with_them - alone,
            workload.goal(at_most(20.0)),
            f"writing takes {with_them:.1f} s, and {alone:.1f} s without; demo model",
        ),
        Row(
            "dicom-memory",
            f"{what}: peak memory added to a run",
            "MB",
            peak - peak_alone,
            workload.goal(at_most(2000.0)),
            f"{peak:.0f} MB, and {peak_alone:.0f} MB without; ru_maxrss",
        ),
    ]


def _run(workload: Workload, folder: Path, formats: str) -> tuple[float, float]:
    """Seconds of writing and peak memory in MB of a run with these formats."""
    out = workload.folder / "results"
    command = [
        sys.executable, "-m", "hirescam_cli", "explain", str(folder), "--output", str(out), "--labels",
        f"top:{_LABELS}", "--format", formats, "--device", str(workload.device), "--jobs", "0", "--quiet",
    ]  # fmt: skip
    peak = peak_megabytes(command)
    case = read_case(out / folder.name, folder.name)
    if not isinstance(case, Case) or case.run.seconds.write is None:
        raise HirescamError("The run that was to be measured left no case.", code="bench-child")
    shutil.rmtree(out)
    return case.run.seconds.write, peak
