"""The peak of a stretch of work forgets what was needed before it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hirescam_cli import memory
from hirescam_cli.memory import PeakMemory

MIB = 1 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets the peak of a process on request")
def test_the_peak_belongs_to_the_stretch_of_work() -> None:
    large = PeakMemory()
    np.ones(300 * MIB, dtype=np.uint8)
    high = large.mib()
    small = PeakMemory()
    np.ones(MIB, dtype=np.uint8)
    low = small.mib()
    assert high is not None
    assert low is not None
    assert 200 < high - low < 400


def test_an_unknown_peak_is_not_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    assert PeakMemory().mib() is None
