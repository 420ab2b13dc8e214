"""Files that are on the disk or are not there: written beside their name, synced, renamed, read back.

An error of the operating system becomes one of hirescam's, with what to do about it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hirescam_cli.errors import HirescamError, OutputCreateError, OutputIOError

_STEM_BYTES = 120
_CHUNK = 1 << 20
_CANNOT_CREATE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL,
}  # fmt: skip
# No room, over a quota or a limit, a failing or read-only medium: true of every scan that follows, too.
STORAGE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


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


def wait_for_disk(path: Path) -> Written:
    """Wait until the disk holds a file, read it back, and let the system forget it.

    Overlays of a run are read by nobody soon; kept in memory they would push out the scans that come next.
    """
    sync_file(path)
    written = read_back(path)
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return written


def read_back(path: Path) -> Written:
    """Hash and size of a file as the system now holds it. Raises OSError."""
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
    temporary = path.with_name(temporary_name(path.name, "tmp"))
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


def stem_of(name: str) -> str:
    """The part of a temporary name that says whose it is, short enough for any file system."""
    raw = os.fsencode(name)
    if len(raw) <= _STEM_BYTES:
        return name
    start = raw[: _STEM_BYTES - 17].decode("utf-8", "ignore")
    return f"{start}~{hashlib.sha256(raw).hexdigest()[:16]}"


def temporary_name(name: str, kind: str) -> str:
    """A hidden name beside `name` that no other process takes; `kind`: "tmp" or "old"."""
    return f".{stem_of(name)}.hirescam-{os.getpid()}-{secrets.token_hex(4)}.{kind}"
