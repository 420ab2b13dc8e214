"""NIfTI-1, NIfTI-2 and ANALYZE volumes: `.nii`, `.nii.gz`, and `.hdr` with `.img` (either may be gzipped)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.io.bytesource import ByteSource, opened, skip
from hirescam_cli.io.fingerprint import combine
from hirescam_cli.io.gzipped import GzipError
from hirescam_cli.io.labelmaps import COMPRESSED_BYTES, FIRST_BYTES, StoredValues, pieces
from hirescam_cli.io.nifti_header import LONGEST_HEADER, NiftiHeader, parse
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.io.stored import Stored, trailing
from hirescam_cli.io.values import to_hu
from hirescam_cli.volume import Provenance, Volume

_MOST_RECHECKED = 1 << 30
_INTACT = "Get an intact copy of the file."


def read_nifti(scan: Scan, options: ReadOptions) -> Volume:
    """The scan's volume in HU, with exactly nibabel's affine (taken to mm).

    Raises ScanError that says what is wrong with a file.
    """
    header, stored = _read(scan.files, scan.name, options)
    array, doubts = to_hu(stored.values, scan.name)
    kind = "analyze" if header.version == "ANALYZE" else "nifti"
    return Volume(
        array, stored.affine_ras, Provenance(kind, stored.sha256, None, (*stored.warnings, *doubts))
    )


def read_stored(files: tuple[Path, ...], name: str, options: ReadOptions) -> Stored:
    """The numbers in a file (or a `.hdr` and its `.img`), whatever they mean. Raises ScanError."""
    return _read(files, name, options)[1]


def _read(files: tuple[Path, ...], name: str, options: ReadOptions) -> tuple[NiftiHeader, Stored]:
    digests = []
    try:
        with opened(files[0], name) as (source, capacity):
            start = source.read(LONGEST_HEADER)
            header = _header(source, start, name, options)
            if header.pair != (len(files) == 2):
                raise _incomplete(header, name)
            if not header.pair:
                raw, extra = _take(source, start, header, capacity, name)
            else:
                source.drain()
            digests.append(source.sha256())
        if header.pair:
            with opened(files[1], name) as (source, capacity):
                raw, extra = _take(source, b"", header, capacity, name)
                digests.append(source.sha256())
    except GzipError as error:
        raise ScanError(
            f"{name}: the compressed stream {error}.", hint=_INTACT, code="nifti-damaged"
        ) from error
    warnings = header.warnings + trailing(extra)
    return header, Stored(_scaled(raw, header), header.affine_ras, warnings, combine(digests))


def stored_values(files: tuple[Path, ...]) -> StoredValues:
    """The voxels as stored, piece by piece; none where they are scaled, as label maps never are.

    Raises ScanError or GzipError where the files are damaged.
    """
    name = files[0].name
    with opened(files[0], name, chunk=FIRST_BYTES, limit=COMPRESSED_BYTES) as (source, _):
        start = source.read(LONGEST_HEADER)
        header = parse(start, name, ReadOptions(prefer="sform", assume_affine=True))
        if (header.slope, header.intercept) != (1.0, 0.0) or header.pair != (len(files) == 2):
            return
        if not header.pair:
            _skip_to_voxels(source, header.offset - len(start))
            yield from pieces(source, start[header.offset :], header.data_bytes, header.dtype)
    if header.pair:
        with opened(files[1], name, chunk=FIRST_BYTES, limit=COMPRESSED_BYTES) as (source, _):
            _skip_to_voxels(source, header.offset)
            yield from pieces(source, b"", header.data_bytes, header.dtype)


def _skip_to_voxels(source: ByteSource, count: int) -> None:
    if count > COMPRESSED_BYTES:
        raise GzipError("has its voxels too far from its beginning")
    skip(source, count)


def _header(source: ByteSource, start: bytes, name: str, options: ReadOptions) -> NiftiHeader:
    """The header; where it is refused and the stream proves to be damaged, GzipError says so instead."""
    try:
        return parse(start, name, options)
    except ScanError:
        skip(source, _MOST_RECHECKED)
        raise


def _take(
    source: ByteSource, start: bytes, header: NiftiHeader, capacity: int, name: str
) -> tuple[NDArray[np.uint8], int]:
    """The bytes of the voxels, from a source of which `start` was read already, and how many bytes follow."""
    end = header.offset + header.data_bytes
    if end > capacity:
        raise ScanError(
            f"{name}: the header promises {end} bytes, but the file can hold at most {capacity}.",
            hint=_INTACT,
            code="nifti-damaged",
        )
    skip(source, header.offset - len(start))
    raw = np.empty(header.data_bytes, dtype=np.uint8)
    early = np.frombuffer(start[header.offset : end], dtype=np.uint8)
    raw[: early.size] = early
    got = early.size + source.read_into(memoryview(raw.data)[early.size :])
    extra = source.drain() + max(0, len(start) - end)
    if got < header.data_bytes:
        raise ScanError(
            f"{name} ends after {got} of the {header.data_bytes} bytes of voxels that its header promises.",
            hint=_INTACT,
            code="nifti-damaged",
        )
    return raw, extra


def _incomplete(header: NiftiHeader, name: str) -> ScanError:
    if header.pair:
        what = f"the header is that of a .hdr/.img pair, but no file of voxels (.img) lies beside {name}"
    else:
        what = "the header is that of a single file, but its name is that of a .hdr/.img pair"
    return ScanError(
        f"{name}: {what}.",
        hint="Give .hdr and .img in one folder under one name, or a .nii file.",
        code="nifti-pair",
    )


def _scaled(raw: NDArray[np.uint8], header: NiftiHeader) -> Voxels:
    """The voxels [i, j, k] after slope and intercept, which are applied in float64 and kept in float32."""
    voxels = raw.view(header.dtype).reshape(header.shape, order="F")
    if not voxels.dtype.isnative:
        voxels = voxels.astype(voxels.dtype.newbyteorder("="))
    if header.slope == 1.0 and header.intercept == 0.0:
        return voxels
    scaled = np.empty(header.shape, dtype=np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(header.shape[2]):
            scaled[..., k] = voxels[..., k].astype(np.float64) * header.slope + header.intercept
    return scaled
