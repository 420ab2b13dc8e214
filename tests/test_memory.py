"""The peak of a stretch of work forgets what was needed before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hirescam_cli import memory
from hirescam_cli.memory import PeakMemory

PROGRAM = """
import numpy as np
from hirescam_cli.memory import PeakMemory
large = PeakMemory()
np.ones(300 << 20, dtype=np.uint8)
high = large.mib()
small = PeakMemory()
np.ones(1 << 20, dtype=np.uint8)
print(high, small.mib())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets the peak of a process on request")
def test_the_peak_belongs_to_the_stretch_of_work() -> None:
    """In a process of its own, whose memory nobody else has used before."""
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    high, low = map(float, told.split())
    assert 200 < high - low < 400


def test_an_unknown_peak_is_not_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    assert PeakMemory().mib() is None
