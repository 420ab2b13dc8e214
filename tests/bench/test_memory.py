"""Memory stays within its bounds, however long a scan is and however many scans come (slow)."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hirescam_cli.bench import scan
from hirescam_cli.bench.workload import FULL, QUICK, Workload
from hirescam_cli.pipeline import open_session

pytestmark = pytest.mark.slow

SCANS = 200
WARM = 40


def test_no_growth_over_many_scans(tmp_path: Path) -> None:
    workload = Workload(QUICK, tmp_path, "cpu", 1, lambda _text: None)
    session = open_session(workload.settings, workload.spec)
    found = scan._found(workload.scan_path, workload)
    process, resident = psutil.Process(os.getpid()), []
    for _ in range(SCANS):
        scan._one_scan(workload, session, found, workload.settings)
        gc.collect()
        resident.append(process.memory_info().rss / 1e6)
    # One scan of this size takes 15 MB of maps, voxels and network input: a leak of any of them would show.
    early, late = max(resident[WARM - 20 : WARM]), max(resident[-20:])
    assert late - early < 15.0, [round(r) for r in resident[::20]]


@pytest.mark.timeout(1800)
def test_a_long_scan_with_every_label_stays_within_its_goal(tmp_path: Path) -> None:
    workload = Workload(FULL, tmp_path, "cpu", os.cpu_count() or 1, lambda _text: None)
    (row,) = scan.memory_rows(workload)
    assert row.measured is not None
    assert row.measured > 500.0
    assert row.met, row


@pytest.mark.timeout(1800)
def test_a_scan_of_the_network_size_with_every_label_stays_below_3_gb(tmp_path: Path) -> None:
    size = replace(FULL, shape=(420, 420, 402), spacing_mm=(0.8, 0.8, 0.8), long=402)
    (row,) = scan.memory_rows(Workload(size, tmp_path, "cpu", os.cpu_count() or 1, lambda _text: None))
    assert row.measured is not None
    assert 500.0 < row.measured < 3000.0
