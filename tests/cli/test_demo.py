"""`hirescam demo`: it ends as its run ended, and takes its one scan wherever it is called."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch.world import ROOT
from tests.cli.command import hirescam

COMMAND = [sys.executable, "-m", "hirescam_cli", "demo", "-o"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def test_inside_a_job_array_it_explains_its_one_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ID", "1"), ("COUNT", "4"), ("MIN", "0")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    done = hirescam(capsys, "demo", "-o", tmp_path / "out", "--json", "-q")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert told["case"] == str(tmp_path / "out" / "phantom")
    present = {finding["label"]: finding["distance_mm"] for finding in told["findings"] if finding["present"]}
    assert {"nodule", "mass"} < set(present)
    assert present["mass"]["hirescam"] < 20
    assert (tmp_path / "out" / "phantom" / "report.html").is_file()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_the_code_of_the_signal(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    child = subprocess.Popen(
        [*COMMAND, "out"], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    assert child.stderr is not None
    while "1 scan to explain" not in (line := child.stderr.readline()):
        assert line
    child.send_signal(number)
    out, said = child.communicate(timeout=60)
    assert (child.returncode, out, "Traceback" in said) == (code, "", False)
    assert "0 done, 0 already there, 0 failed, 1 left" in said
    assert not (tmp_path / "out" / "phantom").exists()


def test_a_full_disk_is_a_write_error(tmp_path: Path) -> None:
    limited = ["bash", "-c", 'ulimit -f 100; exec "$@"', "-", *COMMAND, "out", "--json"]
    done = subprocess.run(
        limited, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (74, "", False)
    assert "ulimit -f" in done.stderr
