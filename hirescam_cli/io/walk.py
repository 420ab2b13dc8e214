"""Walking a folder for files that may be scans: in a stable order, safe from loops of links."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hirescam_cli.io.names import relative_name
from hirescam_cli.io.scan import Ignored

_LONGEST_SUMMARY = 64 << 20
# Locks of runs and manifests of pulled series, which lie among scans and are nobody's.
_OWN_NOTES = ".hirescam"
_MARKS_OF_AN_OUTPUT = (".hirescam.lock", "batch.json")


@dataclass
class Walk:
    """The files found below a folder, and what was left out with its reason."""

    root: Path
    files: list[Path] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)

    def leave_out(self, path: Path, code: str, reason: str) -> None:
        """Note that `path` is left out; the sentence is its name and `reason`."""
        name = relative_name(path, self.root)
        self.ignored.append(Ignored(name, code, f"{name} {reason}.", path))


def walk(root: Path, output: Path | None = None) -> Walk:
    """All files below `root`, in order of their names; symlinks are followed, each folder entered once.

    `output`: the output folder of a run, which is left out below `root` if it holds results.
    """
    found = Walk(root)
    _enter(root, found, _results_in(output))
    return found


def _results_in(output: Path | None) -> tuple[int, int] | None:
    """Which folder an output with results is; None where there is none, or none of hirescam's yet."""
    if output is None or not any((output / mark).is_file() for mark in _MARKS_OF_AN_OUTPUT):
        return None
    status = output.stat()
    return status.st_dev, status.st_ino


def _enter(folder: Path, found: Walk, results: tuple[int, int] | None) -> None:
    seen: set[tuple[int, int]] = set()
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                found.leave_out(current, "seen-before", "was reached before, by another link")
                continue
            seen.add((status.st_dev, status.st_ino))
            if (status.st_dev, status.st_ino) == results and current != folder:
                found.leave_out(current, "hirescam-output", "is the output folder of this run")
                continue
            with os.scandir(current) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            found.leave_out(current, "unreadable-folder", f"cannot be read: {error.strerror}")
            continue
        own = _is_case_folder(current)
        if own:
            found.leave_out(current, "hirescam-output", "is a case folder that hirescam wrote")
        folders = [child for entry in entries if (child := _sort_in(entry, own, found)) is not None]
        pending.extend(reversed(folders))


def _sort_in(entry: os.DirEntry[str], own: bool, found: Walk) -> Path | None:
    """Note a file, or return a folder to enter."""
    path = Path(entry.path)
    if entry.name.startswith(_OWN_NOTES):
        return None
    if entry.name.startswith("._") or entry.name == "__MACOSX":
        found.leave_out(path, "apple-double", "holds attributes that macOS keeps of another file")
    elif entry.name.startswith("."):
        found.leave_out(path, "hidden", "is hidden, and hidden files are not read")
    elif (kind := _kind(entry)) == "folder":
        return path
    elif kind == "unreachable":
        found.leave_out(path, "special-file", "is a link that leads to itself, or that cannot be followed")
    elif own:
        return None
    elif entry.name.endswith(".cams.nii.gz"):
        found.leave_out(path, "hirescam-output", "holds maps that hirescam wrote")
    elif kind == "file":
        found.files.append(path)
    else:
        found.leave_out(path, "special-file", "is not a regular file, or a link to nowhere")
    return None


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "special", "unreachable"]:
    """What an entry is once links are followed."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() else "special"
    except OSError:
        return "unreachable"


def _is_case_folder(folder: Path) -> bool:
    summary = folder / "summary.json"
    try:
        if not summary.is_file() or summary.stat().st_size > _LONGEST_SUMMARY:
            return False
        document = json.loads(summary.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and {"schema_version", "status", "case"} <= document.keys()
