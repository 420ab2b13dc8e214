"""Publishing a case folder whole or not at all.

A case is written into a hidden folder beside its final name (so on the same file system), synced and renamed.
An existing case is exchanged with the new one in a single step where the system can do that; elsewhere the
old one is set aside under a name from which `sweep` puts it back, so that a crash never leaves neither.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

from hirescam_cli.errors import HirescamError, OutputCreateError, OutputIOError
from hirescam_cli.threads import in_threads

SUMMARY = "summary.json"
_TEMPORARY = re.compile(r"^\.(?P<stem>.+)\.hirescam-\d+-[0-9a-f]{8}\.(?P<kind>tmp|old)$")
_STEM_BYTES = 120
_CHUNK = 1 << 20
_CANNOT_CREATE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL,
}  # fmt: skip
# No room, over a quota or a limit, a failing or read-only medium: true of every scan that follows, too.
STORAGE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_UNSUPPORTED_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def output_error(error: OSError, name: str) -> HirescamError:
    """What an operating-system error while writing `name` (a path relative to the output) means for the run.

    A path that cannot be created is an `OutputCreateError` (73); a full disk, a quota or a failing medium an
    `OutputIOError` (74).
    """
    reason = error.strerror or type(error).__name__
    if error.errno in _CANNOT_CREATE:
        return OutputCreateError(
            f"{name} cannot be created in the output folder: {reason}.",
            hint="Choose an output folder that exists or can be made, and that you may write to.",
        )
    return OutputIOError(
        f"Writing {name} failed: {reason}.",
        hint=(
            "Raise the limit (ulimit -f), then run the same command again: finished cases are kept."
            if error.errno == errno.EFBIG
            else "Make room or repair the medium, then run the same command again: finished cases are kept."
        ),
    )


@dataclass(frozen=True)
class Written:
    """A file that was read back: hex SHA-256 and size in bytes."""

    sha256: str
    size: int


def settled(path: Path) -> Written:
    """Wait until the disk holds a file, read it back, and let the system forget it.

    Overlays of a run are read by nobody soon; kept in memory they would push out the scans that come next.
    """
    sync_file(path)
    written = _read_back(path)
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return written


def hash_outputs(folder: Path, known: Mapping[Path, Written] | None = None) -> list[dict[str, Any]]:
    """Every file below `folder` but the summary: [{path (relative), sha256, bytes}], by path.

    Each is read back here, except those in `known`, which were before.
    """
    known = known or {}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / SUMMARY]
    fresh = [path for path in paths if path not in known]
    written = dict(known) | dict(zip(fresh, in_threads(_read_back, fresh), strict=True))
    return [
        {
            "path": path.relative_to(folder).as_posix(),
            "sha256": written[path].sha256,
            "bytes": written[path].size,
        }
        for path in paths
    ]


def _read_back(path: Path) -> Written:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Written(digest.hexdigest(), size)


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file `path`, synced and in one step, when the context is left
    without error.

    Raises OutputCreateError or OutputIOError.
    """
    temporary = path.with_name(_temporary_name(path.name, "tmp"))
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        sync_file(path.parent)
    except OSError as error:
        raise output_error(error, path.name) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Replace the file `path` by `data` in one step, synced. Raises OutputCreateError or OutputIOError."""
    with replaced(path) as file:
        file.write(data)


def refuse_foreign(final: Path, case: str) -> None:
    """A folder of the user, or a file, under the name of a case is not ours to replace: OutputCreateError."""
    if os.path.lexists(final) and not (final / SUMMARY).is_file():
        raise OutputCreateError(
            f"The output already holds something named {case} that is no case of hirescam.",
            hint="Move it away or choose another output folder.",
            code="output-foreign",
        )


class CaseFolder:
    """Context that gives an empty folder to write a case into and publishes it as `out / case` when left
    without error.

    On an error the folder is removed; an OSError becomes an OutputCreateError or an OutputIOError. A case
    that is already there is replaced. Something there that is no case is never touched (OutputCreateError).
    """

    def __init__(self, out: Path, case: str) -> None:
        self.final = out.joinpath(*PurePosixPath(case).parts)
        self.case = case
        self.folder = self.final.with_name(_temporary_name(self.final.name, "tmp"))
        self._lock: int | None = None

    def __enter__(self) -> Path:
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            refuse_foreign(self.final, self.case)
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
        refuse_foreign(self.final, self.case)
        if not self.final.exists():
            os.rename(self.folder, self.final)
        elif not _exchange(self.folder, self.final):
            _swap(self.folder, self.final)
        sync_file(self.final.parent)


def sync_tree(folder: Path) -> None:
    """Force every file and folder below and including `folder` to the disk."""
    for root, _folders, files in os.walk(folder, topdown=False):
        for name in files:
            sync_file(Path(root) / name)
        sync_file(Path(root))


def sync_file(path: Path) -> None:
    """Wait until the disk holds a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    aside = old.with_name(_temporary_name(old.name, "old"))
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
        names.setdefault(final.parent, {})[_stem(final.name)] = final.name
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


def _stem(name: str) -> str:
    """The part of a temporary name that says whose it is, short enough for any file system."""
    raw = os.fsencode(name)
    if len(raw) <= _STEM_BYTES:
        return name
    start = raw[: _STEM_BYTES - 17].decode("utf-8", "ignore")
    return f"{start}~{hashlib.sha256(raw).hexdigest()[:16]}"


def _temporary_name(name: str, kind: str) -> str:
    return f".{_stem(name)}.hirescam-{os.getpid()}-{secrets.token_hex(4)}.{kind}"


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
