"""How a run goes about its cases, as opposed to what is computed for each (`pipeline.Settings`)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hirescam_cli.errors import UsageError
from hirescam_cli.options import Existing, check_choice


@dataclass(frozen=True)
class RunOptions:
    """Options of a run; none of them changes what a case folder holds.

    `existing`: what to do with a case that is already there. `verify`: read its outputs back before trusting
    it. `jobs`: reader processes, and scans that may be read ahead; None chooses, 0 reads in this process.
    `timeout`: seconds a scan may take to be read and prepared. `max_failures`: end the run at that many
    failed scans. `scheduler`: "local" or the address of a Dask scheduler. `handle_signals`: end cleanly on
    SIGINT and SIGTERM (main thread only).
    """

    existing: Existing = "skip"
    verify: bool = False
    jobs: int | None = None
    timeout: float | None = None
    max_failures: int | None = None
    scheduler: str | None = None
    handle_signals: bool = False

    def __post_init__(self) -> None:
        check_choice("existing", self.existing)
        if self.jobs is not None and self.jobs < 0:
            raise _refused("--jobs", self.jobs, "0 or more")
        if self.timeout is not None and not self.timeout > 0:
            raise _refused("--timeout", self.timeout, "a positive number of seconds")
        if self.max_failures is not None and self.max_failures < 1:
            raise _refused("--max-failures", self.max_failures, "1 or more")

    @property
    def readers(self) -> int:
        """Reader processes to use; half of the processors, at most 8, unless told."""
        return max(1, min(8, processors() // 2)) if self.jobs is None else self.jobs


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _refused(option: str, value: object, expected: str) -> UsageError:
    return UsageError(
        f"{option} is {value}, expected {expected}.", code="option-value", hint="Correct the option."
    )
