"""API.md: its code, from the first block to the last, runs on the embedded phantom."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from hirescam_cli.resources import sample_path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "API.md").read_text(encoding="utf-8")


def test_every_block_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert {language for language, _ in blocks} == {"python"}
    assert len(blocks) >= 8
    shutil.copy(sample_path("phantom.nii.gz"), tmp_path)
    shutil.copytree(sample_path("phantom.masks"), tmp_path / "masks" / "phantom")
    (tmp_path / "page.py").write_text("\n".join(code for _, code in blocks))
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "0 1 0 ('phantom',)"
    assert "patient-7 done 0" in lines
    assert (tmp_path / "results-named" / "patient-7" / "summary.json").is_file()
