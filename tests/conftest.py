"""Shared fixtures. Real scans lie beside the checkout; tests that need them skip, saying so, where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real scans."""
    if not REAL_DATA.is_dir():
        pytest.skip("the folder of real scans (../shared/data) is not here")
    return REAL_DATA
