"""Pulling from the fake archive, and what lies there afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import Result, hirescam
from tests.pacs.world import STUDY

QUERY = f"StudyInstanceUID={STUDY}"


def pull(capsys: pytest.CaptureFixture[str], out: Path, *more: object, query: str = QUERY) -> Result:
    return hirescam(capsys, "pacs", "pull", query, "-o", out, *more)


def folders(out: Path) -> list[Path]:
    """The series folders that a reader sees."""
    return [path for path in sorted(out.glob("*/*")) if path.is_dir() and not path.name.startswith(".")]


def contents(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.glob("*.dcm"))
