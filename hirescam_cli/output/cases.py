"""Finding the cases of a run: every folder below OUT whose summary.json is one of ours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hirescam_cli.output.publish import SUMMARY, is_temporary

_OURS = ("schema_version", "case", "status")


def case_folders(out: Path) -> list[str]:
    """The folders below `out` that hold a summary.json, as POSIX paths relative to it, sorted.

    Cases that are being written do not count, and the inside of a case is not searched.
    """
    found = []
    for directory, folders, files in os.walk(out):
        if SUMMARY in files and Path(directory) != out:
            folders.clear()
            found.append(Path(directory).relative_to(out).as_posix())
        else:
            folders[:] = [name for name in folders if not is_temporary(name)]
    return sorted(found)


def iter_cases(out: Path) -> Iterator[dict[str, Any]]:
    """Each case's summary with its "folder", in their order: the one list that every table and page is made from.

    A summary.json that cannot be read counts as a failed case with the code "summary-unreadable"; one that
    is not hirescam's is passed over.
    """
    for folder in case_folders(out):
        summary = _read(out / folder / SUMMARY)
        if summary is None:
            yield _unreadable(folder)
        elif all(key in summary for key in _OURS):
            yield {**summary, "folder": folder}


def root_of(folder: Path, case: str) -> Path:
    """The output folder in which `folder` is the case `case`; the folder around it if it was moved."""
    parts = Path(case).parts
    return folder.parents[len(parts) - 1] if folder.parts[-len(parts) :] == parts else folder.parent


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, {} if it is some other JSON, None if it is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else {}


def _unreadable(folder: str) -> dict[str, Any]:
    return {
        "schema_version": None,
        "case": folder,
        "status": "failed",
        "warnings": [],
        "labels": [],
        "error": {
            "code": "summary-unreadable",
            "stage": "report",
            "message": f"{SUMMARY} of this case cannot be read.",
            "hint": "Explain the scan again with --existing overwrite.",
        },
        "folder": folder,
    }
