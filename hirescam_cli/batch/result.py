"""What a run came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hirescam_cli.batch.events import Failure
from hirescam_cli.case.record import Case


@dataclass(frozen=True)
class BatchResult:
    """What a run came to. `left`: cases that were not begun or dropped; `stopped`: why it ended early, if it
    did.

    `cases`: those that are there now, done or skipped, in the plan's order. `failures`: (case, why) of each
    failed case. `document`: that of batch.json, None if it could not be written. `records`: of the first cases that
    were done in this process.
    """

    exit_code: int
    done: int
    skipped: int
    failed: int
    left: int
    seconds: float
    stopped: str | None
    cases: tuple[str, ...]
    failures: tuple[tuple[str, Failure], ...]
    document: Mapping[str, object] | None
    records: Mapping[str, Case]
