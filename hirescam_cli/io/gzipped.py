"""Reading gzip streams to their very end, so that damage anywhere in them is noticed.

The usual readers stop once they have the bytes that they want and never come to the checksum. `GzipReader`
inflates with ISA-L and checks each member's CRC-32 and length itself (RFC 1952); memory is bounded by what
the caller asks for.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, BinaryIO

from isal import isal_zlib

MAX_RATIO = 1032
"""No deflate stream expands by more than this."""

_CHUNK = 1 << 20
_STEP = 1 << 22
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0


class GzipError(Exception):
    """A gzip stream that is damaged; the text completes the sentence "the stream ..."."""


class GzipReader:
    """The decompressed bytes of a gzip file of one member or several; hashes the file's bytes as it goes.

    Raises GzipError where the stream is truncated, does not inflate, fails a checksum or is followed by
    foreign bytes.
    """

    def __init__(self, file: BinaryIO, chunk: int = _CHUNK) -> None:
        self._file = file
        self._chunk = chunk
        self._hash = hashlib.sha256()
        self._pending = b""
        self._inflate: Any = None if self._at_end() else self._open_member()
        if self._inflate is None:
            raise GzipError("is empty")

    def read_into(self, view: memoryview) -> int:
        """Fill `view` from the stream; returns how many bytes there were (fewer only at the end)."""
        done = 0
        while done < len(view):
            piece = self._step(min(len(view) - done, _STEP))
            if not piece:
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def read(self, count: int) -> bytes:
        """Up to `count` bytes."""
        buffer = bytearray(count)
        return bytes(buffer[: self.read_into(memoryview(buffer))])

    def drain(self) -> int:
        """Read to the end, keeping nothing; returns how many bytes were left."""
        total = 0
        while piece := self._step(_STEP):
            total += len(piece)
        return total

    def sha256(self) -> str:
        """SHA-256 of the file's bytes read so far: of the whole file after `drain`."""
        return self._hash.hexdigest()

    def _more(self) -> bool:
        data = self._file.read(self._chunk)
        self._hash.update(data)
        self._pending += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        while len(self._pending) < count:
            if not self._more():
                raise GzipError("ends too early")
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _at_end(self) -> bool:
        """Whether nothing but zero padding is left (as written by tapes and block devices)."""
        while not self._pending.lstrip(b"\0"):
            self._pending = b""
            if not self._more():
                return True
        return False

    def _open_member(self) -> Any:
        header = self._take(10)
        magic, method, flags = header[:2], header[2], header[3]
        if magic != b"\x1f\x8b" or method != 8 or flags & _RESERVED:
            raise GzipError("holds bytes that are no gzip member")
        if flags & _FEXTRA:
            length = self._take(2)
            header += length + self._take(struct.unpack("<H", length)[0])
        for flag in (_FNAME, _FCOMMENT):
            while flags & flag:
                header += self._take(1)
                if header[-1] == 0:
                    break
        if flags & _FHCRC and struct.unpack("<H", self._take(2))[0] != isal_zlib.crc32(header) & 0xFFFF:
            raise GzipError("fails the checksum of its header")
        self._crc, self._length = 0, 0
        return isal_zlib.decompressobj(wbits=-15)

    def _close_member(self) -> None:
        crc, length = struct.unpack("<II", self._take(8))
        if crc != self._crc or length != self._length & 0xFFFFFFFF:
            raise GzipError("fails its checksum")
        self._inflate = None if self._at_end() else self._open_member()

    def _step(self, limit: int) -> bytes:
        """The next bytes, at most `limit`; empty only at the end of the last member."""
        while self._inflate is not None:
            if not self._pending and not self._more():
                raise GzipError("ends too early")
            piece = self._run(self._inflate, limit)
            self._crc = isal_zlib.crc32(piece, self._crc)
            self._length += len(piece)
            if self._inflate.eof:
                self._close_member()
            if piece:
                return piece
        return b""

    def _run(self, inflate: Any, limit: int) -> bytes:
        try:
            piece: bytes = inflate.decompress(self._pending, limit)
        except isal_zlib.error as error:  # type: ignore[misc]
            raise GzipError("cannot be inflated") from error
        at_end = inflate.eof
        self._pending = inflate.unused_data if at_end else inflate.unconsumed_tail
        return piece
