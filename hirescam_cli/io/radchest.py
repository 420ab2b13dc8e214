"""RAD-ChestCT volumes: `.npz` files with the key `ct`, prepared by the data set's authors.

Axes: 0 superior to inferior, 1 anterior to posterior, 2 patient right to left; 0.8 mm along each (Draelos et
al., "Machine-learning-based multiple abnormality prediction with large-scale chest computed tomography
volumes", 2021).
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from typing import IO

import numpy as np
from numpy.lib import format as npy

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import DType, Voxels
from hirescam_cli.io.fingerprint import digest_of_file
from hirescam_cli.io.gzipped import MAX_RATIO
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.io.values import check_shape, to_hu
from hirescam_cli.volume import Provenance, Volume
from hirescam_cli.warning import Warning

SPACING_MM = 0.8

_ENTRY = "ct.npy"
_STEP = 1 << 22
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,
    OSError,
    struct.error,
)


def read_radchest(scan: Scan, options: ReadOptions) -> Volume:
    """The volume under the key `ct`, oriented "IPL", its middle at the world's origin. Raises ScanError."""
    path = scan.files[0]
    try:
        with path.open("rb") as file:
            array = _read_archive(file, scan.name, options)
        digest = digest_of_file(path)
    except OSError as error:
        raise ScanError(
            f"{scan.name} cannot be read: {error.strerror}.",
            hint="Check the file and its permissions.",
            code="unreadable-file",
        ) from error
    affine = centred_affine(array.shape)
    origin = Warning(
        "origin-unknown", "RAD-ChestCT files hold no position; the middle of the volume is put at 0, 0, 0."
    )
    hu, notes = to_hu(array, scan.name)
    return Volume(hu, affine, Provenance("radchest-npz", digest, None, (origin, *notes)))


def centred_affine(shape: tuple[int, ...]) -> Affine:
    """Affine (index to RAS mm) of an "IPL" volume of 0.8 mm voxels whose middle lies at the origin."""
    linear = np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]]) * SPACING_MM
    middle = (np.array(shape, dtype=np.float64) - 1.0) / 2.0
    return affines.from_parts(linear, -linear @ middle)


def _read_archive(file: IO[bytes], name: str, options: ReadOptions) -> Voxels:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_entry(archive, name, options)
    except _BROKEN as error:
        raise _damaged(name, "the archive or the array in it is damaged") from error


def _read_entry(archive: zipfile.ZipFile, name: str, options: ReadOptions) -> Voxels:
    """The array `ct`, read to the end of its stream so that zipfile tests the checksum."""
    if _ENTRY not in archive.namelist():
        raise ScanError(
            f"{name} holds no array named ct, as RAD-ChestCT's files do.",
            hint="Give a file of the RAD-ChestCT data set, or NIfTI.",
            code="not-radchest",
        )
    info = archive.getinfo(_ENTRY)
    with archive.open(info) as stream:
        shape, fortran, dtype = _array_header(stream, name)
        check_shape(shape, name, options.max_voxels)
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise ScanError(
                f"{name}: the array is of type {dtype}, expected int16 in HU.",
                hint="Give a file of the RAD-ChestCT data set.",
                code="voxel-type",
            )
        promised = math.prod(shape) * dtype.itemsize
        if promised > min(info.file_size, max(info.compress_size, 1) * MAX_RATIO):
            raise _damaged(name, f"{promised} bytes of voxels are promised, more than the file can hold")
        raw = np.empty(promised, dtype=np.uint8)
        got = _fill(stream, memoryview(raw.data))
        if got != promised or stream.read(1):
            raise _damaged(name, f"{promised} bytes of voxels are promised, another number is there")
    return raw.view(dtype).reshape(shape, order="F" if fortran else "C")


def _array_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, DType]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise _damaged(name, f"the array is of the format version {version}, expected 1.0 or 2.0")


def _fill(stream: IO[bytes], view: memoryview) -> int:
    done = 0
    while done < len(view) and (data := stream.read(min(_STEP, len(view) - done))):
        view[done : done + len(data)] = data
        done += len(data)
    return done


def _damaged(name: str, what: str) -> ScanError:
    return ScanError(f"{name}: {what}.", hint="Get an intact copy of the file.", code="image-damaged")
