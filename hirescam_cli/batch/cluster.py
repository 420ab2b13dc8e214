"""The same plan on a Dask cluster."""

from __future__ import annotations

from typing import Any

from hirescam_cli.errors import UsageError


def run_on_cluster(*_arguments: Any) -> Any:
    """Not there yet."""
    raise UsageError("--scheduler is not available in this version.", code="scheduler")
