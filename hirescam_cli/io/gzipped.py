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
_MEMBER = b"\x1f\x8b"
_FOREIGN = "holds bytes that are not a gzip member"
_FOLLOWED = "is followed by bytes that are not a gzip member"
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
        self._start = file.tell()
        self._plain = file
        self._limited = limit is not None
        start = file.read(4)
        self._begins = start.startswith(_MEMBER)
        file.seek(self._start)
        if not start:
            raise GzipError("is empty")
        if len(start) == 4 and start[3] & _RESERVED_FLAGS:
            raise GzipError(_FOREIGN)
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
            said = _said(error)
            raise GzipError(_FOLLOWED if self._begins and said == _FOREIGN else said) from error
        except EOFError as error:
            # A member that is too short for a header is nothing else to the reader.
            foreign = not self._limited and self._is_followed_by_foreign_bytes()
            raise GzipError(_FOLLOWED if foreign else "ends too early") from error
        except OverflowError as error:
            raise GzipError("has a header that is too long") from error
        except isal_zlib.error as error:  # type: ignore[misc]
            raise GzipError("cannot be inflated") from error
        return data

    def _is_followed_by_foreign_bytes(self) -> bool:
        """Whether whole members, and zeros, are followed by what is no beginning of another."""
        self._plain.seek(self._start)
        try:
            rest = _after_members(self._plain)
        except isal_zlib.error:  # type: ignore[misc]
            return False
        return not _MEMBER.startswith(rest[: len(_MEMBER)])

    def drain(self) -> int:
        """Read to the end, keeping nothing; returns how many bytes were left."""
        total = 0
        while piece := self.read(_STEP):
            total += len(piece)
        return total

    def sha256(self) -> str:
        """SHA-256 of the file's bytes read so far: of the whole file after `drain`."""
        return self._file.sha256.hexdigest()


def _after_members(file: BinaryIO) -> bytes:
    """The first bytes behind the last whole member of a gzip file and the zeros after it; none if it has no end."""
    rest = _without_zeros(b"", file)
    while rest.startswith(_MEMBER):
        inflate = isal_zlib.decompressobj(wbits=_WITH_GZIP_HEADER)
        while not inflate.eof:
            if not rest:
                return b""
            inflate.decompress(rest, _STEP)
            rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail or file.read(_CHUNK)
        rest = _without_zeros(rest, file)
    return rest


def _without_zeros(rest: bytes, file: BinaryIO) -> bytes:
    """`rest` and what follows it in a file, without zeros at its beginning: a few bytes, unless the file ends."""
    while len(rest := rest.lstrip(b"\0")) < len(_MEMBER) and (more := file.read(_CHUNK)):
        rest += more
    return rest


def _said(error: BadGzipFile) -> str:
    """What ISA-L's reader found, in our words: its own may hold bytes of the file."""
    text = str(error)
    if "header" in text:
        return "fails the checksum of its header"
    if "CRC" in text or "length" in text:
        return "fails its checksum"
    return _FOREIGN


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
