"""Limits of the system: a file that may not grow is an error of writing, for the whole run, and nothing is lost."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch.world import assert_whole, leftovers, make_scan


@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize("limit", [3_000, 100_000])
def test_a_limit_on_the_size_of_files_is_told_as_one(
    tmp_path: Path, model: Path, jobs: int, limit: int
) -> None:
    """The first limit strikes when a case is written; the second too, or when a reader hands a volume over."""
    for number in range(2):
        make_scan(tmp_path / "in" / f"scan{number}.nii.gz", number, (60, 50, 40))
    command = [
        sys.executable, "-m", "hirescam_cli", "explain", str(tmp_path / "in"), "-o", str(tmp_path / "out"),
        "--model", str(model), "--jobs", str(jobs), "--device", "cpu", "--log-format", "json",
    ]  # fmt: skip

    def run(size: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)),
        )

    struck = run(limit)
    assert struck.returncode == 74, struck.stderr[-2000:]
    assert "Traceback" not in struck.stderr
    assert "File too large" in struck.stderr
    assert "ulimit -f" in struck.stderr
    assert leftovers(tmp_path / "out") == []
    again = run(resource.RLIM_INFINITY)
    assert again.returncode == 0, again.stderr[-2000:]
    assert json.loads((tmp_path / "out" / "batch.json").read_text())["counts"] == {"ok": 2, "failed": 0}
    assert_whole(tmp_path / "out")
