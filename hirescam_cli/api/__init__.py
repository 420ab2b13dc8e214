"""hirescam from Python: scans in, case folders and typed results out, with arrays that carry their affines.

Importing this imports no torch; `load_model` does, and a run of `explain`.
"""

from __future__ import annotations

from hirescam_cli.api.evaluating import Evaluated, evaluate
from hirescam_cli.api.explaining import explain
from hirescam_cli.api.models import Model, load_model
from hirescam_cli.api.rendering import render
from hirescam_cli.api.results import Heatmap, Result, Results
from hirescam_cli.api.scans import ScanImage, read_scan

__all__ = [
    "Evaluated",
    "Heatmap",
    "Model",
    "Result",
    "Results",
    "ScanImage",
    "evaluate",
    "explain",
    "load_model",
    "read_scan",
    "render",
]
