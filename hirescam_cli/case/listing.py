"""Finding and reading the cases of a run: every folder below OUT whose summary.json is one of ours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.case.document import load, version_of
from hirescam_cli.case.publish import SUMMARY, is_temporary
from hirescam_cli.case.record import SCHEMA_VERSION, AnyCase, CaseError, FailedCase

_HINT = "Explain the scan again with --existing overwrite."


@dataclass(frozen=True)
class Listed:
    """A case of a run; `folder`: where it lies, as a POSIX path relative to the output."""

    folder: str
    case: AnyCase


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


def iter_cases(out: Path) -> Iterator[Listed]:
    """Each case, in their order: the one list that every table and page is made from.

    A summary.json that cannot be read, or is of another version, counts as a failed case with the code
    "summary-unreadable" or "summary-version"; one that is not hirescam's is passed over.
    """
    for folder in case_folders(out):
        case = read_case(out / folder, folder)
        if case is not None:
            yield Listed(folder, case)


def read_case(folder: Path, name: str) -> AnyCase | None:
    """The record in a case folder; None if there is none or it is another program's.

    One that cannot be understood is a failed case called `name`.
    """
    try:
        data = (folder / SUMMARY).read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return _unusable(name, "summary-unreadable", f"{SUMMARY} of this case cannot be read.")
    try:
        return load(data)
    except (ValueError, RecursionError):
        version = version_of(data)
    if version is not None and version != SCHEMA_VERSION:
        text = f"{SUMMARY} of this case is of schema version {version}, this hirescam reads {SCHEMA_VERSION}."
        return _unusable(name, "summary-version", text)
    if version is None and _is_other_json(data):
        return None
    return _unusable(name, "summary-unreadable", f"{SUMMARY} of this case cannot be read.")


def root_of(folder: Path, case: str) -> Path:
    """The output folder in which `folder` is the case `case`; the folder around it if it was moved."""
    parts = Path(case).parts
    return folder.parents[len(parts) - 1] if folder.parts[-len(parts) :] == parts else folder.parent


def _is_other_json(data: bytes) -> bool:
    """Whether this is a JSON document that has nothing of a case."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _unusable(name: str, code: str, message: str) -> FailedCase:
    error = CaseError(code=code, stage="report", message=message, hint=_HINT)
    return FailedCase(schema_version=2, case=name, started=None, error=error)
