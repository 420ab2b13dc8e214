"""One case, from a found scan to the files of its folder, in stages that may run in different processes.

    read_case (Scan -> Prepared)  ->  explain_prepared (-> Explained)  ->  write_case (-> files and record)

Importing this imports no torch.
"""

from __future__ import annotations

from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline.records import Explained, Prepared, RunFacts, Session
from hirescam_cli.pipeline.stages import (
    check_scans,
    explain_prepared,
    now,
    read_case,
    write_case,
    write_failure,
)
from hirescam_cli.pipeline.warnings import case_warnings, drift_warnings, model_warnings
from hirescam_cli.settings import Settings

__all__ = [
    "Explained",
    "Prepared",
    "RunFacts",
    "Session",
    "case_warnings",
    "check_scans",
    "drift_warnings",
    "explain_prepared",
    "model_warnings",
    "now",
    "open_session",
    "read_case",
    "write_case",
    "write_failure",
]


def open_session(settings: Settings, spec: ModelSpec) -> Session:
    """Load the model and put it on its device. Raises ModelError, UnavailableError or UsageError."""
    from hirescam_cli.pipeline import session

    return session.open_session(settings, spec)
