"""What is installed from a wheel works from any folder, with its models and samples inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hirescam installed from a wheel built of this checkout, dependencies aside."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode and "Could not find a version" in done.stdout + done.stderr:
        pytest.skip("the build backend cannot be downloaded here")
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def _run(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from hirescam_cli.__main__ import main; main()"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HIRESCAM_")}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, str(site), *arguments],
        cwd=cwd, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_models_and_demo_from_a_wheel(site: Path, tmp_path: Path) -> None:
    package = site / "hirescam_cli"
    assert not (package.parent / "configs").exists()
    assert (package / "evaluate" / "evaluation.schema.json").is_file()
    assert (package / "_data" / "configs" / "regions" / "totalsegmentator.toml").is_file()
    listed = _run(site, tmp_path, "model", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert {m["name"] for m in json.loads(listed.stdout)["models"]} == {
        "axialnet-80", "axialnet-83", "ctnet-83", "demo", "merlin", "merlin-five-year", "sybil",
    }  # fmt: skip
    demo = _run(site, tmp_path, "demo", "-o", "out", "--json")
    assert demo.returncode == 0, demo.stderr
    findings = {row["label"]: row for row in json.loads(demo.stdout)["findings"]}
    assert any(row["present"] and row["positive"] for row in findings.values())
    assert (tmp_path / "out" / "phantom" / "report.html").is_file()
