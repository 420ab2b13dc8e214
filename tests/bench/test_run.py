"""`hirescam bench --quick` measures every row; sections and options are checked before anything runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hirescam_cli.bench.gpu import scans_a_second
from hirescam_cli.bench.network import PEERS
from hirescam_cli.bench.run import SECTIONS, chosen_sections, run_bench
from hirescam_cli.bench.workload import QUICK, Workload
from hirescam_cli.cli.app import app
from hirescam_cli.errors import UnavailableError, UsageError
from hirescam_cli.threads import limited

ELSEWHERE = {
    "bf16",
    "bf16-logits",
    "gpu",
    "gpu-logits",
    "gpu-residual",
    "gpu-scans",
    "grad-cam-hirescam",
    "captum-gradcam",
    "captum-gradxact",
    *(f"{name}-{peer}" for name in ("merlin", "sybil") for peer in PEERS),
}
KEYS = ELSEWHERE | {
    "labels-over-forward", "forward-share", "roofline", "labels-over-backward", "growth-slices", "growth-labels",
    "padding", "preparation", "preparation-difference", "overlay", "scan-few", "scan-many",
    "scan-few-dense", "scan-many-dense", "memory", "dicom", "dicom-memory", "series", "headers",
    "start-help", "start-model-list",
    "training-step", "training-step-masks", "training-reading",
    "merlin-labels", "evaluate", "sybil-labels",
}  # fmt: skip


def test_quick_measures_every_row() -> None:
    said: list[str] = []
    machine, rows = run_bench(quick=True, device="cpu", threads=1, say=said.append)
    assert {row.key for row in rows} == KEYS
    assert len(rows) == len(KEYS)
    for row in rows:
        if row.key in ELSEWHERE:
            assert row.measured is None or row.measured > 0
            assert row.detail
        elif row.key == "preparation-difference":
            assert row.measured is not None
            assert row.met
        else:
            assert row.measured is not None, row.key
            assert row.measured > 0, row.key
    assert {"cpu", "threads", "torch", "date", "device"} <= set(machine)
    assert machine["threads"] == 1
    assert said


def test_json_is_all_that_stdout_holds() -> None:
    result = CliRunner().invoke(app, ["bench", "--quick", "--only", "gpu", "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [row["key"] for row in document["rows"]] == ["gpu", "gpu-logits", "gpu-residual", "gpu-scans"]
    assert document["machine"]["model"] == "bench-small"
    assert str(Path.home()) not in result.stdout


def test_markdown_and_table_show_the_same_rows() -> None:
    arguments = ["bench", "--quick", "--only", "gpu", "--device", "cpu"]
    for extra in ([], ["--markdown"]):
        result = CliRunner().invoke(app, arguments + extra)
        assert result.exit_code == 0, result.output
        assert result.stdout.count("not measured") == 4


def test_sections_keep_the_order_of_the_table() -> None:
    assert chosen_sections(["start", "network"]) == ["network", "start"]
    assert chosen_sections([]) == list(SECTIONS)
    with pytest.raises(UsageError, match="nonsense"):
        chosen_sections(["nonsense"])


def test_scans_a_second_counts_the_scans_of_a_run(tmp_path: Path) -> None:
    with limited(1):
        workload = Workload(QUICK, tmp_path, "cpu", 1, lambda _text: None)
        begin = time.perf_counter()
        rate = scans_a_second(workload, workload.settings, 3, 1)
        spent = time.perf_counter() - begin
    assert rate > 2 / spent
    assert len(list((tmp_path / "many-cases").glob("scan-00*/summary.json"))) == 3


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnavailableError):
        run_bench(quick=True, device="cuda:99", only=["gpu"])
