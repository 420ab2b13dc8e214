"""NRRD and MetaImage volumes, their streams checked to the end and their geometry confirmed by SimpleITK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io.bytesource import GZIP_MAGIC, PlainReader, Readable
from hirescam_cli.io.fingerprint import fingerprint
from hirescam_cli.io.gzipped import MAX_RATIO, GzipError, GzipReader
from hirescam_cli.io.itk_header import ItkHeader, parse
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.io.values import check_geometry, to_hu
from hirescam_cli.volume import Provenance, Volume

_INTACT = "Get an intact copy of the file."
_STEP = 1 << 20
_AFFINE_MM = 1e-3


class ZlibReader:
    """The decompressed bytes of a zlib stream; GzipError where it is damaged, also by its checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
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
                self._pending = self._file.read(_STEP)
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


def read_itk(scan: Scan, options: ReadOptions) -> Volume:
    """The scan's volume in HU with its directions, LPS turned to RAS. Raises ScanError."""
    header = parse(scan.files[0], scan.kind, scan.name, options)
    warnings = header.warnings + check_geometry(header.affine_ras, header.shape, scan.name)
    _check_geometry_with_simpleitk(header, scan.name)
    try:
        array, extra = _voxels(header, scan.name)
        digest = fingerprint(header.files)
    except GzipError as error:
        raise _damaged(scan.name, f"the compressed voxels {error}") from error
    except OSError as error:
        raise ScanError(
            f"{scan.name} cannot be read: {error.strerror}.",
            hint="Check the file and its permissions.",
            code="unreadable-file",
        ) from error
    if extra:
        warnings += (f"trailing-bytes: {extra} bytes after the last voxel were not used.",)
    hu, doubts = to_hu(array, scan.name)
    return Volume(hu, header.affine_ras, Provenance(scan.kind, digest, None, warnings + doubts))


@contextmanager
def voxel_stream(header: ItkHeader) -> Iterator[Readable]:
    """The decompressed voxels of a file, in order."""
    with header.files[-1].open("rb") as file:
        file.seek(header.offset)
        if header.encoding == "raw":
            yield PlainReader(file)
        elif header.encoding == "gzip":
            yield GzipReader(file)
        elif file.read(2) == GZIP_MAGIC:
            file.seek(header.offset)
            yield GzipReader(file)
        else:
            file.seek(header.offset)
            yield ZlibReader(file)


def _voxels(header: ItkHeader, name: str) -> tuple[NDArray[Any], int]:
    """The voxels [i, j, k], and how many bytes follow them. Raises ScanError or GzipError."""
    available = max(0, header.files[-1].stat().st_size - header.offset)
    capacity = available * (1 if header.encoding == "raw" else MAX_RATIO)
    if header.data_bytes > capacity:
        raise _damaged(
            name, f"{header.data_bytes} bytes of voxels are promised, {capacity} at most are there"
        )
    raw = np.empty(header.data_bytes, dtype=np.uint8)
    total = 0
    with voxel_stream(header) as stream:
        while data := stream.read(_STEP):
            wanted = data[: max(0, raw.size - total)]
            raw[total : total + len(wanted)] = np.frombuffer(wanted, dtype=np.uint8)
            total += len(data)
    if total < raw.size:
        raise _damaged(name, f"{raw.size} bytes of voxels are promised, {total} are there")
    voxels = raw.view(header.dtype).reshape(header.shape, order="F")
    native = header.dtype.newbyteorder("=")
    return voxels.astype(native, copy=False), total - raw.size


def _check_geometry_with_simpleitk(header: ItkHeader, name: str) -> None:
    """Refuse a file that SimpleITK would put elsewhere than the header was understood to say.

    Only the geometry is SimpleITK's to judge: it returns zeros or noise for compressed voxels that it cannot
    inflate (a MetaImage without CompressedDataSize, say), without an error.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(header.files[0]))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _damaged(name, "SimpleITK cannot read its header") from error
    if tuple(reader.GetSize()) != header.shape or reader.GetNumberOfComponents() != 1:
        raise _damaged(name, "SimpleITK reads another size than the header gives")
    linear = np.array(reader.GetDirection()).reshape(3, 3) * np.array(reader.GetSpacing())
    affine = affines.LPS_TO_RAS @ affines.from_parts(linear, reader.GetOrigin())
    ends = [[0.0, 0.0, 0.0], [n - 1.0 for n in header.shape]]
    moved = affines.apply(affine, ends) - affines.apply(header.affine_ras, ends)
    if not np.abs(moved).max() <= _AFFINE_MM:
        raise _damaged(name, "SimpleITK places it elsewhere than the header says")


def _damaged(name: str, what: str) -> ScanError:
    return ScanError(f"{name}: {what}.", hint=_INTACT, code="image-damaged")
