"""What archives have accepted of an output: a line of JSON each, on the disk before the next object is sent."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hirescam_cli.durable import output_error, sync_file
from hirescam_cli.errors import OutputCreateError

LEDGER = "pushed.jsonl"


class Accepted(msgspec.Struct, frozen=True):
    """An object that the archive at `url` took; `case` and `path`: where it lay; `at`: when, ISO 8601."""

    url: str
    case: str
    path: str
    sha256: str
    sop_instance_uid: str
    at: str


class Ledger:
    """The ledger of one output, open and locked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._known = {(entry.url, entry.sha256) for entry in _entries(descriptor)}

    def has(self, url: str, sha256: str) -> bool:
        """Whether the archive took these bytes before."""
        return (url, sha256) in self._known

    def add(self, url: str, case: str, path: str, sha256: str, sop_instance_uid: str) -> None:
        """Note an object, on the disk. Raises OutputIOError."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Accepted(url, case, path, sha256, sop_instance_uid, at)
        line = msgspec.json.encode(entry) + b"\n"
        try:
            end = os.lseek(self._descriptor, 0, os.SEEK_END)
            # A line that a killed process left unfinished is closed, and then passed over when read.
            whole = end == 0 or os.pread(self._descriptor, 1, end - 1) == b"\n"
            line = line if whole else b"\n" + line
            if os.write(self._descriptor, line) != len(line):
                raise OSError(28, "No space left on device")
            os.fsync(self._descriptor)
        except OSError as error:
            raise output_error(error, LEDGER) from error
        self._known.add((url, sha256))


@contextmanager
def open_ledger(out: Path) -> Iterator[Ledger]:
    """The ledger of the output `out`, owned inside the context.

    Raises OutputCreateError if it cannot be written, or another push is at work.
    """
    try:
        descriptor = os.open(out / LEDGER, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        sync_file(out)
    except OSError as error:
        raise output_error(error, LEDGER) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputCreateError(
                "Another push of this output is at work.", hint="Wait for its end.", code="output-locked"
            ) from error
        except OSError:
            pass  # A file system without locks: sending an object twice does no harm.
        yield Ledger(descriptor)
    finally:
        os.close(descriptor)


def _entries(descriptor: int) -> Iterator[Accepted]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        for line in file:
            try:
                yield msgspec.json.decode(line, type=Accepted)
            except ValueError:
                continue
