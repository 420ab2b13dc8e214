"""`hirescam explain` from Python: the same plan, run and folders, with a callback for progress.

from hirescam_cli.api import explain

result = explain(["scans"], "output", on_progress=print)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from hirescam_cli.batch.events import Callback
from hirescam_cli.batch.options import RunOptions
from hirescam_cli.batch.plan import plan
from hirescam_cli.batch.result import BatchResult
from hirescam_cli.batch.run import run
from hirescam_cli.batch.signals import Interruption
from hirescam_cli.io import InputPath, discover
from hirescam_cli.settings import Settings

PathName = str | PathLike[str]


def explain(
    inputs: PathName | Sequence[PathName] | Mapping[str, PathName],
    output: PathName,
    *,
    settings: Settings | None = None,
    options: RunOptions | None = None,
    num_parts: int | None = None,
    part_id: int | None = None,
    on_progress: Callback | None = None,
    interruption: Interruption | None = None,
) -> BatchResult:
    """Explain scans into case folders below `output`.

    `inputs`: files and folders, or a mapping of case names to them. `on_progress` gets the events of
    `batch.events`, from several threads but one at a time. `interruption.request()`, from any thread, ends
    the run after the case under way. Failed scans are in the result; HirescamError is raised for what is
    refused before any scan is read.
    """
    settings = settings or Settings()
    discovery = discover(_given(inputs), settings.read, settings.identifiers, Path(output))
    cases = plan(discovery, Path(output), num_parts=num_parts, part_id=part_id)
    return run(cases, settings, options, on_progress, interruption=interruption)


def _given(inputs: PathName | Sequence[PathName] | Mapping[str, PathName]) -> list[InputPath]:
    if isinstance(inputs, Mapping):
        return [InputPath(Path(path), case) for case, path in inputs.items()]
    if isinstance(inputs, str | PathLike):
        return [InputPath(Path(inputs))]
    return [InputPath(Path(path)) for path in inputs]
