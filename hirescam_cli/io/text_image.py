"""Images with a text header, NRRD and MetaImage: the voxels of a header that was checked, read to their end.

SimpleITK does not read them, because it gives zeros or noise in silence for voxels that are missing or do not
inflate, so that each of its answers would have to be checked by the very parser that it would replace.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from isal import isal_zlib

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.io.bytesource import GZIP_MAGIC, PlainReader, Readable
from hirescam_cli.io.fingerprint import fingerprint
from hirescam_cli.io.gzipped import MAX_RATIO, GzipError, GzipReader
from hirescam_cli.io.labelmaps import COMPRESSED_BYTES, FIRST_BYTES, StoredValues, pieces
from hirescam_cli.io.scan import Scan
from hirescam_cli.io.stored import Stored, trailing
from hirescam_cli.io.text_header import TextHeader, unreadable
from hirescam_cli.io.values import to_hu
from hirescam_cli.volume import Provenance, Volume

_INTACT = "Get an intact copy of the file."
_STEP = 1 << 20


class ZlibReader:
    """The decompressed bytes of a zlib stream; GzipError where it is damaged, also by its checksum.

    With `limit` the stream counts as truncated after that many compressed bytes.
    """

    def __init__(self, file: BinaryIO, limit: int | None = None) -> None:
        self._file = file
        self._left = limit
        self._inflate = isal_zlib.decompressobj(wbits=15)
        self._pending = b""

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        data = self._step(count)
        while 0 < len(data) < count and (more := self._step(count - len(data))):
            data += more
        return data

    def _step(self, limit: int) -> bytes:
        """Some bytes, at most `limit`; none only at the end."""
        while not self._inflate.eof:
            if not self._pending:
                self._pending = self._file.read(_STEP if self._left is None else min(_STEP, self._left))
                if self._left is not None:
                    self._left -= len(self._pending)
                if not self._pending:
                    raise GzipError("ends too early")
            try:
                data: bytes = self._inflate.decompress(self._pending, limit)
            except isal_zlib.error as error:  # type: ignore[misc]
                raise GzipError("cannot be inflated") from error
            self._pending = self._inflate.unconsumed_tail
            if data:
                return data
        return b""


def read_text_image(header: TextHeader, scan: Scan) -> Volume:
    """The volume in HU that a header promises. Raises ScanError."""
    stored = read_stored(header, scan.name)
    hu, notes = to_hu(stored.values, scan.name)
    provenance = Provenance(scan.kind, stored.sha256, None, (*stored.warnings, *notes))
    return Volume(hu, header.affine_ras, provenance)


def read_stored(header: TextHeader, name: str) -> Stored:
    """The numbers that a header promises, whatever they mean. Raises ScanError."""
    try:
        array, extra = _voxels(header, name)
        digest = fingerprint(header.files)
    except GzipError as error:
        raise _damaged(name, f"the stream of compressed voxels {error}") from error
    except OSError as error:
        raise unreadable(name, error) from error
    return Stored(array, header.affine_ras, header.warnings + trailing(extra), digest)


def stored_values(header: TextHeader) -> StoredValues:
    """The voxels as stored, piece by piece. Raises GzipError or OSError where they end too early."""
    with _voxel_stream(header, chunk=FIRST_BYTES, limit=COMPRESSED_BYTES) as source:
        yield from pieces(source, b"", header.data_bytes, header.dtype)


@contextmanager
def _voxel_stream(header: TextHeader, chunk: int = _STEP, limit: int | None = None) -> Iterator[Readable]:
    """The decompressed voxels of a file, in order; `chunk` and `limit` are those of a `GzipReader`."""
    with _stream(header, chunk, limit) as stream:
        left = header.skip
        while left and (passed := stream.read(min(left, _STEP))):
            left -= len(passed)
        yield stream


@contextmanager
def _stream(header: TextHeader, chunk: int, limit: int | None) -> Iterator[Readable]:
    """What is in a file from the header's offset on, decompressed."""
    with header.files[-1].open("rb") as file:
        file.seek(header.offset)
        if header.encoding == "raw":
            yield PlainReader(file)
        elif header.encoding == "gzip":
            yield GzipReader(file, chunk, limit)
        elif file.read(2) == GZIP_MAGIC:
            file.seek(header.offset)
            yield GzipReader(file, chunk, limit)
        else:
            file.seek(header.offset)
            yield ZlibReader(file, limit)


def _voxels(header: TextHeader, name: str) -> tuple[Voxels, int]:
    """The voxels [i, j, k], and how many bytes follow them. Raises ScanError or GzipError."""
    available = max(0, header.files[-1].stat().st_size - header.offset)
    capacity = max(0, available * (1 if header.encoding == "raw" else MAX_RATIO) - header.skip)
    if header.data_bytes > capacity:
        raise _damaged(
            name, f"{header.data_bytes} bytes of voxels are promised, {capacity} at most are there"
        )
    raw = np.empty(header.data_bytes, dtype=np.uint8)
    total = 0
    with _voxel_stream(header) as stream:
        while data := stream.read(_STEP):
            wanted = data[: max(0, raw.size - total)]
            raw[total : total + len(wanted)] = np.frombuffer(wanted, dtype=np.uint8)
            total += len(data)
    if total < raw.size:
        raise _damaged(name, f"{raw.size} bytes of voxels are promised, {total} are there")
    voxels = raw.view(header.dtype).reshape(header.shape, order="F")
    native = header.dtype.newbyteorder("=")
    return voxels.astype(native, copy=False), total - raw.size


def _damaged(name: str, what: str) -> ScanError:
    return ScanError(f"{name}: {what}.", hint=_INTACT, code="image-damaged")
