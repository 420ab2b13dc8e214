"""How a run goes about its cases, as opposed to what is computed for each (`pipeline.Settings`)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hirescam_cli.choices import Existing
from hirescam_cli.errors import UsageError
from hirescam_cli.options import check, stated


@dataclass(frozen=True)
class RunOptions:
    """Options of a run; none of them changes what a case folder holds.

    `existing`: what to do with a case that is already there. `verify`: read its outputs back before trusting
    it. `jobs`: reader processes, and scans that may be read ahead; None chooses, 0 reads in this process.
    `timeout`: seconds a scan may take to be read and prepared, which only reader processes can be held to.
    `max_failures`: end the run at that many failed scans. `scheduler`: "local" or the address of a Dask scheduler.
    `handle_signals`: end cleanly on SIGINT and SIGTERM (main thread only). Raises UsageError.
    """

    existing: Existing = stated("existing")
    verify: bool = stated("verify")
    jobs: int | None = stated("jobs")
    timeout: float | None = stated("timeout")
    max_failures: int | None = stated("max-failures")
    scheduler: str | None = stated("scheduler")
    handle_signals: bool = False

    def __post_init__(self) -> None:
        check(self)
        if self.timeout is not None and self.jobs == 0 and self.scheduler is None:
            raise UsageError(
                "--timeout needs a reader process, and --jobs is 0: nothing could end the reading of a scan.",
                hint="Give --jobs 1 or more, or leave --timeout out.",
            )

    @property
    def readers(self) -> int:
        """Reader processes to use; half of the processors, at most 8, unless told."""
        return max(1, min(8, processors() // 2)) if self.jobs is None else self.jobs


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
