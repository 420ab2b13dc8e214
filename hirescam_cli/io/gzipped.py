"""Reading gzip streams to their very end, so that damage anywhere in them is noticed.

The usual readers stop once they have the bytes that they want and never come to the checksum. `GzipReader`
inflates with ISA-L's reader, which checks the header, CRC-32 and length of every member (RFC 1952), over a
stream that hashes the file's bytes; memory is bounded by what the caller asks for.
"""

from __future__ import annotations

import hashlib
import io
from gzip import BadGzipFile
from typing import BinaryIO

from isal import igzip, isal_zlib

MAX_RATIO = 1032
"""No deflate stream expands by more than this."""

_CHUNK = 1 << 20
_STEP = 1 << 22
_RESERVED_FLAGS = 0xE0
_WITH_GZIP_HEADER = 31


class GzipError(Exception):
    """A gzip stream that is damaged; the text completes the sentence "the stream ..."."""


class _Hashed(io.RawIOBase):
    """A file's bytes, hashed as they are read, at most `chunk` at a time; after `limit` bytes it ends."""

    def __init__(self, file: BinaryIO, chunk: int, limit: int | None) -> None:
        self._file = file
        self._chunk = chunk
        self._left = limit
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._chunk)
        if self._left is not None:
            wanted = min(wanted, self._left)
        data = self._file.read(wanted)
        if self._left is not None:
            self._left -= len(data)
        self.sha256.update(data)
        buffer[: len(data)] = data
        return len(data)


class GzipReader:
    """The decompressed bytes of a gzip file of one member or several; hashes the file's bytes as it goes.

    Raises GzipError where the stream is truncated, does not inflate, fails a checksum, has a header of more
    than 512 KiB or is followed by foreign bytes (zeros, as written by tapes, may follow). The file is read in
    pieces of at most `chunk` bytes; with `limit` it counts as truncated after that many.
    """

    def __init__(self, file: BinaryIO, chunk: int = _CHUNK, limit: int | None = None) -> None:
        start = file.read(4)
        file.seek(-len(start), io.SEEK_CUR)
        if not start:
            raise GzipError("is empty")
        if len(start) == 4 and start[3] & _RESERVED_FLAGS:
            raise GzipError("holds bytes that are not a gzip member")
        self._file = _Hashed(file, chunk, limit)
        self._stream = igzip.IGzipFile(fileobj=self._file, mode="rb")

    def read_into(self, view: memoryview) -> int:
        """Fill `view` from the stream; returns how many bytes there were (fewer only at the end)."""
        done = 0
        while done < len(view) and (piece := self.read(min(len(view) - done, _STEP))):
            view[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        try:
            data: bytes = self._stream.read(count)
        except BadGzipFile as error:
            raise GzipError(_said(error)) from error
        except EOFError as error:
            raise GzipError("ends too early") from error
        except OverflowError as error:
            raise GzipError("has a header that is too long") from error
        except isal_zlib.error as error:  # type: ignore[misc]
            raise GzipError("cannot be inflated") from error
        return data

    def drain(self) -> int:
        """Read to the end, keeping nothing; returns how many bytes were left."""
        total = 0
        while piece := self.read(_STEP):
            total += len(piece)
        return total

    def sha256(self) -> str:
        """SHA-256 of the file's bytes read so far: of the whole file after `drain`."""
        return self._file.sha256.hexdigest()


def _said(error: BadGzipFile) -> str:
    """What ISA-L's reader found, in our words: its own may hold bytes of the file."""
    text = str(error)
    if "header" in text:
        return "fails the checksum of its header"
    if "CRC" in text or "length" in text:
        return "fails its checksum"
    return "holds bytes that are not a gzip member"


def inflated_start(data: bytes, count: int) -> bytes:
    """Up to `count` of the bytes with which a gzip file that begins with `data` begins, for telling what it is.

    Nothing but `data` is read, so the end of a stream may be missing; a damaged member gives what came before it.
    """
    found = b""
    while len(found) < count and data:
        inflate = isal_zlib.decompressobj(wbits=_WITH_GZIP_HEADER)
        try:
            found += inflate.decompress(data, count - len(found))
        except isal_zlib.error:  # type: ignore[misc]
            break
        if not inflate.eof:
            break
        data = inflate.unused_data.lstrip(b"\0")
    return found
