"""Publishing a case folder whole or not at all.

A case is written into a hidden folder beside its final name (so on the same file system), synced and renamed.
An existing case is exchanged with the new one in a single step where the system can do that; elsewhere the
old one is set aside under a name from which `sweep` puts it back, so that a crash never leaves neither.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import TracebackType

from hirescam_cli.durable import (
    output_error,
    stem_of,
    sync_file,
    sync_tree,
    temporary_name,
)
from hirescam_cli.errors import OutputCreateError

SUMMARY = "summary.json"
_OF_EVERY_VERSION = {"schema_version", "status", "case"}
_TEMPORARY = re.compile(r"^\.(?P<stem>.+)\.hirescam-\d+-[0-9a-f]{8}\.(?P<kind>tmp|old)$")
_UNSUPPORTED_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def refuse_foreign(out: Path, case: str) -> None:
    """OutputCreateError for a case that would lie inside another, or replace what is not a case of hirescam."""
    refuse_nested(out, case)
    final = out.joinpath(*PurePosixPath(case).parts)
    if os.path.lexists(final) and not is_case(final):
        raise OutputCreateError(
            f"The output already holds something named {case} that is not a case of hirescam.",
            hint="Move it away or choose another output folder.",
            code="output-foreign",
        )


def refuse_nested(out: Path, case: str) -> None:
    """OutputCreateError for a case that would lie inside another."""
    parts = PurePosixPath(case).parts
    for length in range(1, len(parts)):
        outer = out.joinpath(*parts[:length])
        if is_case(outer):
            raise OutputCreateError(
                f"The case {case} would lie inside the case {'/'.join(parts[:length])} that the output holds.",
                hint="Move that one away or choose another output folder.",
                code="output-foreign",
            )


def is_case(folder: Path) -> bool:
    """Whether a folder holds a summary.json that is a case's, of any version, or cannot be read."""
    summary = folder / SUMMARY
    if not summary.is_file():
        return False
    try:
        document = json.loads(summary.read_bytes())
    except (OSError, ValueError, RecursionError):
        return True
    return isinstance(document, dict) and document.keys() >= _OF_EVERY_VERSION


class CaseFolder:
    """Context that gives an empty folder to write a case into and publishes it as `out / case` when left
    without error.

    On an error the folder is removed; an OSError becomes an OutputCreateError or an OutputIOError. A case
    that is already there is replaced. Something there that is not a case is never touched (OutputCreateError).
    """

    def __init__(self, out: Path, case: str) -> None:
        self.final = out.joinpath(*PurePosixPath(case).parts)
        self.out, self.case = out, case
        self.folder = self.final.with_name(temporary_name(self.final.name, "tmp"))
        self._lock: int | None = None

    def __enter__(self) -> Path:
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            refuse_foreign(self.out, self.case)
            self.folder.mkdir()
            self._lock = _hold(self.folder)
        except OSError as error:
            raise output_error(error, self.case) from error
        return self.folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._publish()
        except OSError as failure:
            raise output_error(failure, self.case) from failure
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            if self._lock is not None:
                os.close(self._lock)
        if isinstance(error, OSError):
            raise output_error(error, self.case) from error

    def _publish(self) -> None:
        if not (self.folder / SUMMARY).is_file():
            raise RuntimeError(f"the case {self.case} was left without a summary")
        sync_tree(self.folder)
        refuse_foreign(self.out, self.case)
        if not self.final.exists():
            os.rename(self.folder, self.final)
        elif not _exchange(self.folder, self.final):
            _swap(self.folder, self.final)
        sync_file(self.final.parent)


def _exchange(new: Path, old: Path) -> bool:
    """Exchange two names in one step (Linux renameat2); False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number))


def _swap(new: Path, old: Path) -> None:
    """Exchange two names in two steps, of which `sweep` can undo the first."""
    aside = old.with_name(temporary_name(old.name, "old"))
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def is_temporary(name: str) -> bool:
    """Whether a name is one that only something being written, or left by a killed process, has."""
    return _TEMPORARY.match(name) is not None


def sweep(out: Path, cases: Iterable[str]) -> int:
    """Remove what ended processes left of `cases` below `out`; returns how many folders and files were
    removed.

    To be called under the run's lock, with the cases that the run owns. A folder whose writer still lives
    holds a lock of the operating system and is left alone. An old case that was set aside is put back if its
    name is free. Raises OutputCreateError or OutputIOError.
    """
    names: dict[Path, dict[str, str]] = {}
    for case in cases:
        final = out.joinpath(*PurePosixPath(case).parts)
        names.setdefault(final.parent, {})[stem_of(final.name)] = final.name
    removed = 0
    for parent, stems in names.items():
        try:
            removed += _sweep_folder(parent, stems)
        except OSError as error:
            raise output_error(error, parent.name) from error
    return removed


def _sweep_folder(parent: Path, names: dict[str, str]) -> int:
    removed = 0
    for entry in sorted(os.listdir(parent)) if parent.is_dir() else []:
        match = _TEMPORARY.match(entry)
        if match is None or match["stem"] not in names:
            continue
        path, final = parent / entry, parent / names[match["stem"]]
        if match["kind"] == "old" and not os.path.lexists(final):
            os.rename(path, final)
            sync_file(parent)
        elif not _held(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            removed += 1
    return removed


def _hold(folder: Path) -> int | None:
    """Mark `folder` as in use while this process lives; None where the file system knows no such locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _held(folder: Path) -> bool:
    """Whether a living process marked `folder` as in use."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
