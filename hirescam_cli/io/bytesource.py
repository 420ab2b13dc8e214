"""Files read once, front to back, plain or gzipped, with their SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from hirescam_cli.errors import ScanError
from hirescam_cli.io.gzipped import MAX_RATIO, GzipReader

GZIP_MAGIC = b"\x1f\x8b"

_CHUNK = 1 << 20
_STEP = 1 << 22


class Readable(Protocol):
    """Bytes in order."""

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""


class ByteSource(Readable, Protocol):
    """Bytes in order. `sha256` is that of the whole file once `drain` has been called."""

    def read_into(self, view: memoryview) -> int:
        """Fill `view`; returns how many bytes there were."""

    def drain(self) -> int:
        """Read to the end and return how many bytes were left."""

    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file's bytes read so far."""


class PlainReader:
    """The bytes of a file as they are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        data = self._file.read(count)
        self._hash.update(data)
        return data

    def read_into(self, view: memoryview) -> int:
        """Fill `view`; returns how many bytes there were."""
        done = 0
        while done < len(view):
            piece = view[done : done + _STEP]
            count = self._file.readinto(piece)  # type: ignore[attr-defined]
            if not count:
                break
            self._hash.update(piece[:count])
            done += count
        return done

    def drain(self) -> int:
        """Read to the end and return how many bytes were left."""
        total = 0
        while data := self.read(_STEP):
            total += len(data)
        return total

    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file's bytes read so far."""
        return self._hash.hexdigest()


@contextmanager
def opened(
    path: Path, name: str, *, chunk: int = _CHUNK, limit: int | None = None
) -> Iterator[tuple[ByteSource, int]]:
    """Open a file, gzipped or not by its first bytes, with the most bytes that it can possibly hold.

    `chunk` and `limit` are those of a `GzipReader`. A file that cannot be opened or read is a ScanError; a
    damaged stream raises GzipError.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            magic = file.read(2)
            file.seek(0)
            if magic == GZIP_MAGIC:
                yield GzipReader(file, chunk, limit), size * MAX_RATIO
            else:
                yield PlainReader(file), size
    except OSError as error:
        raise ScanError(
            f"{name} cannot be read: {error.strerror}.",
            hint="Check the file and its permissions.",
            code="unreadable-file",
        ) from error


def skip(source: ByteSource, count: int) -> int:
    """Read and forget `count` bytes; returns how many there were."""
    done = 0
    while done < count:
        data = source.read(min(_STEP, count - done))
        if not data:
            break
        done += len(data)
    return done
