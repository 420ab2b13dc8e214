"""Makes NIfTI and ANALYZE files field by field, without the code under test and without nibabel's writer.

    path = make_nifti(tmp_path / "scan.nii.gz", chest_hu(), affine(), sform_code=1)

Any header field can be set to any value by its name in the standard.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import header_dtype as nifti1_dtype
from nibabel.nifti2 import header_dtype as nifti2_dtype
from nibabel.quaternions import mat2quat
from numpy.typing import NDArray

CODES = {
    "u1": 2,
    "i2": 4,
    "i4": 8,
    "f4": 16,
    "f8": 64,
    "i1": 256,
    "u2": 512,
    "u4": 768,
    "i8": 1024,
    "u8": 1280,
}
MM, METRE, MICRON = 2, 1, 3


def chest_hu(shape: tuple[int, int, int] = (12, 11, 10), seed: int = 0) -> NDArray[np.int16]:
    """Made-up HU [i, j, k] with air in a corner, noisy so that any mix-up of axes shows."""
    array = np.random.default_rng(seed).integers(-900, 1200, size=shape).astype(np.int16)
    array[: shape[0] // 3, : shape[1] // 3] = -1000
    return array


def affine(
    spacing: tuple[float, float, float] = (0.75, 0.5, 2.5),
    axes: tuple[int, int, int] = (-1, -2, 3),
    origin: tuple[float, float, float] = (10.0, -20.0, 30.0),
) -> NDArray[np.float64]:
    """Affine to RAS mm; axis a runs along world axis |axes[a]| (from 1), backwards where negative."""
    result = np.eye(4)
    result[:3, :3] = 0.0
    for index, (axis, step) in enumerate(zip(axes, spacing, strict=True)):
        result[abs(axis) - 1, index] = np.sign(axis) * step
    result[:3, 3] = origin
    return result


def rotation(degrees: float, axis: int = 0) -> NDArray[np.float64]:
    """4x4 rotation about world axis `axis`."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    result = np.eye(4)
    result[first, first] = result[second, second] = cosine
    result[first, second], result[second, first] = -sine, sine
    return result


def qform_fields(matrix: NDArray[np.float64]) -> dict[str, Any]:
    """Header fields of an orthogonal affine as a qform: quaternion, offsets, spacings and handedness."""
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    rotation_part = matrix[:3, :3] / spacing
    handedness = 1.0
    if np.linalg.det(rotation_part) < 0:
        rotation_part = rotation_part * np.array([1.0, 1.0, -1.0])
        handedness = -1.0
    quaternion = mat2quat(rotation_part)
    offsets = {f"qoffset_{axis}": matrix[n, 3] for n, axis in enumerate("xyz")}
    parts = {f"quatern_{name}": quaternion[n + 1] for n, name in enumerate("bcd")}
    return {**offsets, **parts, "pixdim": [handedness, *spacing, 1, 1, 1, 1]}


def header_bytes(
    array: NDArray[Any], matrix: NDArray[np.float64], *, version: int = 1, endian: str = "<",
    pair: bool = False, sform_code: int = 1, qform_code: int = 0, units: int = MM,
    qform: NDArray[np.float64] | None = None, **fields: Any,
) -> bytes:  # fmt: skip
    """A header for `array` as stored; `qform`, where a `qform_code` is given, defaults to `matrix`."""
    dtype = nifti1_dtype if version == 1 else nifti2_dtype
    header = np.zeros((), dtype=dtype.newbyteorder(endian))
    values: dict[str, Any] = {
        "sizeof_hdr": 348 if version == 1 else 540,
        "dim": ([array.ndim, *array.shape] + [1] * 8)[:8],
        "datatype": CODES.get(array.dtype.str[1:], 0),
        "bitpix": array.dtype.itemsize * 8,
        "pixdim": [1, *np.linalg.norm(matrix[:3, :3], axis=0), 1, 1, 1, 1],
        "vox_offset": 0 if pair else (352 if version == 1 else 544),
        "xyzt_units": units,
        "sform_code": sform_code,
        "qform_code": qform_code,
        "srow_x": matrix[0],
        "srow_y": matrix[1],
        "srow_z": matrix[2],
        "magic": b"ni1" if pair else b"n+1",
    }
    if qform_code or qform is not None:
        values |= qform_fields(matrix if qform is None else qform)
    values |= fields
    for name, value in values.items():
        header[name] = value
    block = header.tobytes()
    if version == 2 and "magic" not in fields:
        magic = (b"ni2" if pair else b"n+2") + b"\0\r\n\x1a\n"
        block = block[:4] + magic + block[12:]
    return block


def nifti_bytes(
    array: NDArray[Any], matrix: NDArray[np.float64] | None = None, *, endian: str = "<",
    extension: bytes = b"", trailing: bytes = b"", **fields: Any,
) -> bytes:  # fmt: skip
    """A single-file NIfTI: header, extensions, voxels in Fortran order."""
    size = 352 if fields.get("version", 1) == 1 else 544
    if extension:
        fields.setdefault("vox_offset", size + len(extension))
    header = header_bytes(array, affine() if matrix is None else matrix, endian=endian, **fields)
    flag = bytes([1 if extension else 0, 0, 0, 0])
    voxels = np.asarray(array).astype(array.dtype.newbyteorder(endian)).tobytes(order="F")
    return header + flag + extension + voxels + trailing


def make_nifti(path: Path, array: NDArray[Any] | None = None, matrix: Any = None, **options: Any) -> Path:
    """Write a NIfTI file, gzipped if `path` ends in .gz; for a path ending in .hdr, write the pair."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = chest_hu() if array is None else array
    if path.suffix == ".hdr":
        endian = options.get("endian", "<")
        matrix = affine() if matrix is None else matrix
        path.write_bytes(header_bytes(stored, matrix, pair=True, **options) + b"\0\0\0\0")
        path.with_suffix(".img").write_bytes(
            stored.astype(stored.dtype.newbyteorder(endian)).tobytes(order="F")
        )
        return path
    data = nifti_bytes(stored, matrix, **options)
    path.write_bytes(gzip.compress(data, 6, mtime=0) if path.suffix == ".gz" else data)
    return path
