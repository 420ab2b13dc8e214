"""Modules in the folder that a user stands in are neither imported nor executed by any process of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch.world import make_model, make_scans

HOSTILE = "import os; open({marker!r}, 'a').write(__name__); raise SystemExit(9)\n"
NAMES = ("numpy", "queue", "socket", "signal", "pickle", "nibabel", "torch", "distributed")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with modules and a package of names that a run imports, which tell that they ran."""
    folder = tmp_path / "hostile"
    (folder / "multiprocessing").mkdir(parents=True)
    text = HOSTILE.format(marker=str(tmp_path / "ran"))
    for name in NAMES:
        (folder / f"{name}.py").write_text(text)
    (folder / "multiprocessing" / "__init__.py").write_text(text)
    return folder


def run_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as its installed script does: a file in another folder."""
    script = folder.parent / "bin" / "hirescam"
    script.parent.mkdir()
    script.write_text("from hirescam_cli.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize("how", [("--jobs", "2"), ("--jobs", "0"), ("--scheduler", "local", "--jobs", "1")])
def test_a_run_imports_nothing_from_the_working_folder(
    how: tuple[str, ...], hostile: Path, tmp_path: Path
) -> None:
    if "--scheduler" in how:
        pytest.importorskip("distributed", reason="needs Dask")
    model, scans = make_model(tmp_path / "model"), make_scans(tmp_path / "scans", 2)
    done = run_in(
        hostile, "explain", str(scans), "-o", str(tmp_path / "out"), "--model", str(model),
        "--format", "nifti", "--device", "cpu", *how,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    summary = json.loads((tmp_path / "out" / "scan001" / "summary.json").read_text())
    assert summary["status"] == "ok"


def test_starting_as_a_module_does_not_search_the_working_folder(hostile: Path, tmp_path: Path) -> None:
    """What Python itself imports before hirescam starts is Python's own; none of that is called like these."""
    for name in ("signal", "pickle", "socket"):
        (hostile / f"{name}.py").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "hirescam_cli", "model", "list"],
        cwd=hostile,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
