"""What the tests of run share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hirescam_cli.batch import RunOptions, plan
from hirescam_cli.batch.events import Event
from hirescam_cli.batch.run import BatchResult, run
from hirescam_cli.io import InputPath, ReadOptions, discover
from tests.batch.troubled import TROUBLED
from tests.batch.world import make_scan, tiny_settings


def make(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        make_scan(folder / f"{name}.nii.gz", number)
    return folder


def go(
    inputs: Path, out: Path, model: Path, events: list[Event] | None = None, **options: Any
) -> BatchResult:
    """A run with stages that misbehave on demand."""
    keep = [] if events is None else events
    found = discover([InputPath(inputs)], ReadOptions())
    return run(plan(found, out), tiny_settings(model), RunOptions(**options), keep.append, stages=TROUBLED)
