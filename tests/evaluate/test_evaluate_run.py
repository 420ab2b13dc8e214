"""An evaluation as a whole: the order of cases, results that cannot be written, interrupts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hirescam_cli.evaluate import run
from hirescam_cli.evaluate.options import EvaluateOptions
from hirescam_cli.evaluate.run import measure_run, summarise_run
from tests.cli.command import hirescam
from tests.evaluate.world import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


def test_the_order_of_cases_changes_nothing(world: tuple[Path, Path]) -> None:
    options = EvaluateOptions(masks=world[1], bootstrap=200)
    this = measure_run(world[0], options, ())
    turned = replace(this, results=this.results[::-1])
    first, second = (summarise_run(one, None, options, (), "0" * 64) for one in (this, turned))
    assert first.results == second.results
    assert first.overall == second.overall
    assert first.differences == second.differences
    assert first.ledger == second.ledger


def test_results_that_cannot_be_written_cost_no_measuring(
    world: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(run, "run_tasks", None)
    result = hirescam(capsys, "evaluate", world[0], "--masks", world[1], "-o", tmp_path / "file" / "e")
    assert result.code == 73
    assert "Traceback" not in result.err


def test_an_interrupt_ends_all_processes_and_leaves_no_record(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    """SIGINT after the first case: 130, and the next run starts anew."""
    code = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from hirescam_cli.evaluate import run\n"
        "tasks = run.run_tasks\n"
        "run.run_tasks = lambda t, j, d, f: tasks(t, j, lambda _: os.kill(os.getpid(), signal.SIGINT), f)\n"
        "from hirescam_cli.__main__ import main; main()"
    )
    arguments = ["evaluate", world[0], "--masks", world[1], "-o", tmp_path / "e", "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, timeout=120
    )
    assert done.returncode == 130, done.stderr
    assert list((tmp_path / "e").iterdir()) == []
